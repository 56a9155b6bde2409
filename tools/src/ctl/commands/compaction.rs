//! `compaction`

use super::super::client::Repeat;
use super::super::exit::{Code, Exit};
use super::super::flags::{Flag, Kind};
use super::super::go::parse_int;
use super::super::print::write_out;
use super::super::session::Session;
use super::super::tree::{Action, Command, Group, Invocation};
use api::etcdserverpb as pb;
use api::etcdserverpb::kv_client::KvClient;

pub(super) static COMPACTION: Command = Command {
    usage: "compaction [options] <revision>",
    short: "Compacts the event history in etcd",
    group: Some(Group::KeyValue),
    flags: &[Flag::new(
        "physical",
        Kind::Bool(false),
        "'true' to wait for compaction to physically remove all old revisions",
    )],
    action: Action::Run(run),
    ..Command::EMPTY
};

fn run(mut invocation: Invocation<'_>) -> Result<(), Exit> {
    let [revision] = invocation.args.as_slice() else {
        return Err(Exit::bad_args("compaction command needs 1 argument"));
    };
    let revision = parse_int(revision, 10).map_err(|why| Exit::new(Code::Error, why))?;
    let request = pb::CompactionRequest { revision, physical: invocation.flags.bool("physical") };
    let session = Session::open(&mut invocation)?;
    let (client, deadline) = (&session.client, session.deadline());
    session
        .call(Repeat::No, deadline, async |channel| {
            KvClient::new(channel).compact(client.request(request, deadline)).await
        })
        .map_err(|failure| Exit::new(Code::Error, failure))?;
    write_out(format!("compacted revision {revision}\n").as_bytes());
    Ok(())
}
