//! `del`

use super::super::client::Repeat;
use super::super::exit::{Code, Exit};
use super::super::flags::{Flag, Flags, Kind};
use super::super::go::quote;
use super::super::print::{Answer, write_err};
use super::super::range::{Extent, bounds};
use super::super::session::Session;
use super::super::tree::{Action, Command, Group, Invocation};
use api::etcdserverpb as pb;
use api::etcdserverpb::kv_client::KvClient;
use std::time::Duration;

/// How long the user may think again.
const GRACE: Duration = Duration::from_secs(2);

pub(super) static DEL: Command = Command {
    usage: "del [options] <key> [range_end]",
    short: "Removes the specified key or range of keys [key, range_end)",
    group: Some(Group::KeyValue),
    flags: &[
        Flag::new("prefix", Kind::Bool(false), "delete keys with matching prefix"),
        Flag::new("prev-kv", Kind::Bool(false), "return deleted key-value pairs"),
        Flag::new(
            "from-key",
            Kind::Bool(false),
            "delete keys that are greater than or equal to the given key using byte compare",
        ),
        Flag::new("range", Kind::Bool(false), "delete range of keys"),
    ],
    action: Action::Run(run),
    ..Command::EMPTY
};

fn run(mut invocation: Invocation<'_>) -> Result<(), Exit> {
    let request = request(&invocation.flags, &invocation.args)?;
    let session = Session::open(&mut invocation)?;
    let (client, deadline) = (&session.client, session.deadline());
    let response = client.check_size(&request).and_then(|()| {
        session.call(Repeat::No, deadline, async |channel| {
            let mut kv = KvClient::new(channel).max_decoding_message_size(client.limits().1);
            kv.delete_range(client.request(request.clone(), deadline)).await
        })
    });
    session.print(&Answer::Del(response.map_err(|failure| Exit::new(Code::Error, failure))?))
}

/// Also for the `del` of a txn. Waits before a range goes that was not announced with `--range`.
pub(super) fn request(flags: &Flags, args: &[Vec<u8>]) -> Result<pb::DeleteRangeRequest, Exit> {
    let (key, end) = match args {
        [key] => (key, None),
        [key, end] => (key, Some(end)),
        _ => {
            let message = "del command needs one argument as key and an optional argument as range_end";
            return Err(Exit::bad_args(message));
        }
    };
    let (prefix, from_key) = (flags.bool("prefix"), flags.bool("from-key"));
    if prefix && from_key {
        let message = "`--prefix` and `--from-key` cannot be set at the same time, choose one";
        return Err(Exit::bad_args(message));
    }
    if end.is_some() && (prefix || from_key) {
        let message = "too many arguments, only accept one argument when `--prefix` or `--from-key` is set";
        return Err(Exit::bad_args(message));
    }
    let extent = match end {
        Some(end) => Extent::Until(end),
        None if prefix => Extent::Prefix,
        None if from_key => Extent::From,
        None => Extent::One,
    };
    if let Extent::Until(end) = extent
        && !flags.bool("range")
    {
        write_err(&format!(
            "Warning: Keys between {} and {} will be deleted. Please interrupt the command within next 2 seconds \
             to cancel. You can provide `--range` flag to avoid the delay.\n",
            quote(key),
            quote(end)
        ));
        std::thread::sleep(GRACE);
    }
    let (key, range_end) = bounds(key, extent);
    Ok(pb::DeleteRangeRequest { key, range_end, prev_kv: flags.bool("prev-kv") })
}
