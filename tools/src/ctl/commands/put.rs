//! `put`

use super::super::client::Repeat;
use super::super::exit::{Code, Exit};
use super::super::flags::{Flag, Flags, Kind};
use super::super::go::parse_int;
use super::super::print::Answer;
use super::super::session::Session;
use super::super::tree::{Action, Command, Group, Invocation};
use super::input;
use api::etcdserverpb as pb;
use api::etcdserverpb::kv_client::KvClient;

pub(super) static PUT: Command = Command {
    usage: "put [options] <key> <value> (<value> can also be given from stdin)",
    short: "Puts the given key into the store",
    long: "
Puts the given key into the store.

When <value> begins with '-', <value> is interpreted as a flag.
Insert '--' for workaround:

$ put <key> -- <value>
$ put -- <key> <value>

If <value> isn't given as a command line argument and '--ignore-value' is not specified,
this command tries to read the value from standard input.

If <lease> isn't given as a command line argument and '--ignore-lease' is not specified,
this command tries to read the value from standard input.

For example,
$ cat file | put <key>
will store the content of the file to <key>.
",
    group: Some(Group::KeyValue),
    flags: &[
        Flag::new("lease", Kind::Text("0"), "lease ID (in hexadecimal) to attach to the key"),
        Flag::new("prev-kv", Kind::Bool(false), "return the previous key-value pair before modification"),
        Flag::new("ignore-value", Kind::Bool(false), "updates the key using its current value"),
        Flag::new("ignore-lease", Kind::Bool(false), "updates the key using its current lease"),
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
            kv.put(client.request(request.clone(), deadline)).await
        })
    });
    session.print(&Answer::Put(response.map_err(|failure| Exit::new(Code::Error, failure))?))
}

/// Also for the `put` of a txn.
pub(super) fn request(flags: &Flags, args: &[Vec<u8>]) -> Result<pb::PutRequest, Exit> {
    let needs = || Exit::bad_args("put command needs 1 argument and input from stdin or 2 arguments");
    let key = args.first().ok_or_else(needs)?;
    let ignore_value = flags.bool("ignore-value");
    if ignore_value && args.len() > 1 {
        return Err(Exit::bad_args("put command needs only 1 argument when 'ignore-value' is set"));
    }
    let value = match args.get(1) {
        _ if ignore_value => Vec::new(),
        Some(value) => value.clone(),
        None => input::rest().ok().filter(|value| !value.is_empty()).ok_or_else(needs)?,
    };
    let lease = parse_int(flags.text("lease").as_bytes(), 16)
        .map_err(|why| Exit::bad_args(format!("bad lease ID ({why}), expecting ID in Hex")))?;
    Ok(pb::PutRequest {
        key: key.clone().into(),
        value: value.into(),
        lease,
        prev_kv: flags.bool("prev-kv"),
        ignore_value,
        ignore_lease: flags.bool("ignore-lease"),
    })
}
