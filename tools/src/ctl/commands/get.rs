//! `get`

use super::super::client::{Deadline, Failure, Repeat};
use super::super::exit::{Code, Exit};
use super::super::flags::{Flag, Flags, Kind};
use super::super::go::quote;
use super::super::print::{Answer, Format};
use super::super::range::{Extent, bounds};
use super::super::session::Session;
use super::super::tree::{Action, Command, Group, Invocation};
use api::etcdserverpb as pb;
use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::range_request::{SortOrder, SortTarget};

pub(super) static GET: Command = Command {
    usage: "get [options] <key> [range_end]",
    short: "Gets the key or a range of keys",
    group: Some(Group::KeyValue),
    flags: &[
        Flag::new("consistency", Kind::Text("l"), "Linearizable(l) or Serializable(s)"),
        Flag::new("order", Kind::Text(""), "Order of results; ASCEND or DESCEND (ASCEND by default)"),
        Flag::new("sort-by", Kind::Text(""), "Sort target; CREATE, KEY, MODIFY, VALUE, or VERSION"),
        Flag::new("limit", Kind::Int(0), "Maximum number of results"),
        Flag::new("prefix", Kind::Bool(false), "Get keys with matching prefix"),
        Flag::new(
            "from-key",
            Kind::Bool(false),
            "Get keys that are greater than or equal to the given key using byte compare",
        ),
        Flag::new("rev", Kind::Int(0), "Specify the kv revision"),
        Flag::new("keys-only", Kind::Bool(false), "Get only the keys"),
        Flag::new("count-only", Kind::Bool(false), "Get only the count"),
        Flag::new(
            "print-value-only",
            Kind::Bool(false),
            "Only write values when using the \"simple\" output format",
        ),
        Flag::new("min-create-rev", Kind::Int(0), "Minimum create revision"),
        Flag::new("max-create-rev", Kind::Int(0), "Maximum create revision"),
        Flag::new("min-mod-rev", Kind::Int(0), "Minimum modification revision"),
        Flag::new("max-mod-rev", Kind::Int(0), "Maximum modification revision"),
        Flag::new("stream", Kind::Bool(false), "Use the RangeStream RPC"),
    ],
    action: Action::Run(run),
    ..Command::EMPTY
};

fn run(mut invocation: Invocation<'_>) -> Result<(), Exit> {
    let request = request(&invocation.flags, &invocation.args)?;
    let mut session = Session::open(&mut invocation)?;
    let deadline = session.deadline();
    let flags = &invocation.flags;
    let response = if flags.bool("stream") {
        stream(&session, request, deadline)
    } else {
        let client = &session.client;
        let limit = client.limits().1;
        client.check_size(&request).and_then(|()| {
            session.call(Repeat::Yes, deadline, async |channel| {
                let mut kv = KvClient::new(channel).max_decoding_message_size(limit);
                kv.range(client.request(request.clone(), deadline)).await
            })
        })
    };
    let response = response.map_err(|failure| Exit::new(Code::Error, failure))?;
    if flags.bool("count-only") && session.style.format != Format::Fields {
        return Err(Exit::bad_args("--count-only is only for `--write-out=fields`"));
    }
    if flags.bool("print-value-only") {
        if session.style.format != Format::Simple {
            return Err(Exit::bad_args("print-value-only is only for `--write-out=simple`"));
        }
        session.style.values_only = true;
    }
    session.print(&Answer::Get(response))
}

/// The chunks of a RangeStream put together.
fn stream(
    session: &Session,
    request: pb::RangeRequest,
    deadline: Deadline,
) -> Result<pb::RangeResponse, Failure> {
    let client = &session.client;
    session.call(Repeat::No, deadline, async |channel| {
        let mut kv = KvClient::new(channel).max_decoding_message_size(client.limits().1);
        let mut chunks = kv.range_stream(client.request(request.clone(), deadline)).await?.into_inner();
        let mut whole = pb::RangeResponse::default();
        while let Some(chunk) = chunks.message().await? {
            let Some(mut part) = chunk.range_response else {
                continue;
            };
            whole.kvs.append(&mut part.kvs);
            whole.header = part.header.or(whole.header);
            whole.more |= part.more;
            whole.count = whole.count.max(part.count);
        }
        Ok(tonic::Response::new(whole))
    })
}

/// Also for the `get` of a txn.
pub(super) fn request(flags: &Flags, args: &[Vec<u8>]) -> Result<pb::RangeRequest, Exit> {
    let (key, end) = match args {
        [] => {
            let message = "get command needs one argument as key and an optional argument as range_end";
            return Err(Exit::bad_args(message));
        }
        [key] => (key, None),
        [key, end, ..] => (key, Some(end)),
    };
    let (prefix, from_key) = (flags.bool("prefix"), flags.bool("from-key"));
    if prefix && from_key {
        let message = "`--prefix` and `--from-key` cannot be set at the same time, choose one";
        return Err(Exit::bad_args(message));
    }
    if flags.bool("keys-only") && flags.bool("count-only") {
        let message = "`--keys-only` and `--count-only` cannot be set at the same time, choose one";
        return Err(Exit::bad_args(message));
    }
    let serializable = is_serializable(flags.text("consistency"))?;
    if end.is_some() && (prefix || from_key) {
        let message = "too many arguments, only accept one argument when `--prefix` or `--from-key` is set";
        return Err(Exit::bad_args(message));
    }
    let order = sort_order(flags.text("order"))?;
    let target = sort_target(flags.text("sort-by"))?;
    // Keys come in ascending order anyhow; asked for, the order would cost the server a sort of the whole range.
    let order = if target == SortTarget::Key && order == SortOrder::Ascend { SortOrder::None } else { order };
    let extent = match end {
        Some(end) => Extent::Until(end),
        None if prefix => Extent::Prefix,
        None if from_key => Extent::From,
        None => Extent::One,
    };
    let (key, range_end) = bounds(key, extent);
    let bound = |name| flags.int(name).max(0);
    for (min, max, shown) in [
        ("min-create-rev", "max-create-rev", ("getMinCreateRev", "getMaxCreateRev")),
        ("min-mod-rev", "max-mod-rev", ("getMinModRev", "getMaxModRev")),
    ] {
        let (low, high) = (flags.int(min), flags.int(max));
        if high > 0 && low > high {
            return Err(Exit::new(Code::BadFeature, format!("{}(={low}) > {}(={high})", shown.0, shown.1)));
        }
    }
    Ok(pb::RangeRequest {
        key,
        range_end,
        limit: flags.int("limit"),
        revision: bound("rev"),
        sort_order: order.into(),
        sort_target: target.into(),
        serializable,
        keys_only: flags.bool("keys-only"),
        count_only: flags.bool("count-only"),
        min_create_revision: bound("min-create-rev"),
        max_create_revision: bound("max-create-rev"),
        min_mod_revision: bound("min-mod-rev"),
        max_mod_revision: bound("max-mod-rev"),
    })
}

pub(super) fn is_serializable(consistency: &str) -> Result<bool, Exit> {
    match consistency {
        "l" => Ok(false),
        "s" => Ok(true),
        _ => {
            let shown = quote(consistency.as_bytes());
            Err(Exit::new(Code::BadFeature, format!("unknown consistency flag {shown}")))
        }
    }
}

fn sort_order(name: &str) -> Result<SortOrder, Exit> {
    match name.to_uppercase().as_str() {
        "" => Ok(SortOrder::None),
        "ASCEND" => Ok(SortOrder::Ascend),
        "DESCEND" => Ok(SortOrder::Descend),
        _ => Err(Exit::new(Code::BadFeature, format!("bad sort order {name}"))),
    }
}

fn sort_target(name: &str) -> Result<SortTarget, Exit> {
    match name.to_uppercase().as_str() {
        "" | "KEY" => Ok(SortTarget::Key),
        "CREATE" => Ok(SortTarget::Create),
        "MODIFY" => Ok(SortTarget::Mod),
        "VALUE" => Ok(SortTarget::Value),
        "VERSION" => Ok(SortTarget::Version),
        _ => Err(Exit::new(Code::BadFeature, format!("bad sort target {name}"))),
    }
}
