//! `txn`: comparisons, then requests for when they hold and for when they do not, a line each. An empty line ends
//! each of the three parts.
//!
//! ```text
//! mod("k") > "0"
//!
//! put k "again"
//!
//! put k "first"
//!
//! ```

use super::super::client::Repeat;
use super::super::exit::{Code, Exit};
use super::super::flags::{Flag, FlagError, Kind};
use super::super::go::{parse_int, quote, unquote};
use super::super::help::usage;
use super::super::print::{Answer, write_err, write_out};
use super::super::session::Session;
use super::super::tree::{Action, Command, Group, Invocation, Path};
use super::super::words::split;
use super::input::Lines;
use super::{del, get, put};
use api::etcdserverpb as pb;
use api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::request_op::Request;

pub(super) static TXN: Command = Command {
    usage: "txn [options]",
    short: "Txn processes all the requests in one transaction",
    long:
        "Txn reads multiple etcd requests from standard input and applies them as a single atomic transaction.

A transaction consists of three components:
1) a list of conditions,
2) a list of requests to apply if all the conditions are true,
3) a list of requests to apply if any condition is false.

Example interactive stdin usage:

---
{ctl} txn -i
# compares:
mod(\"key1\") > \"0\"

# success requests (get, put, delete):
put key1 \"overwrote-key1\"

# failure requests (get, put, delete):
put key1 \"created-key1\"
put key2 \"some extra key\"
---

Refer to https://github.com/etcd-io/etcd/blob/main/etcdctl/README.md#txn-options.",
    group: Some(Group::KeyValue),
    flags: &[Flag::with_short(
        "interactive",
        'i',
        Kind::Bool(false),
        "Input transaction in interactive mode",
    )],
    action: Action::Run(run),
    ..Command::EMPTY
};

/// What a line of requests may say.
static REQUESTS: Command =
    Command { subcommands: &[&put::PUT, &get::GET, &del::DEL], action: Action::Overview, ..Command::EMPTY };

fn run(mut invocation: Invocation<'_>) -> Result<(), Exit> {
    if !invocation.args.is_empty() {
        return Err(Exit::bad_args("txn command does not accept argument"));
    }
    let interactive = invocation.flags.bool("interactive");
    let session = Session::open(&mut invocation)?;
    let prompt = |text: &str| {
        if interactive {
            write_out(text.as_bytes());
        }
    };
    let mut lines = Lines::open()?;
    prompt("compares:\n");
    let compare = section(&mut lines, parse_compare)?;
    prompt("success requests (get, put, del):\n");
    let success = section(&mut lines, parse_request)?;
    prompt("failure requests (get, put, del):\n");
    let failure = section(&mut lines, parse_request)?;
    let request = pb::TxnRequest { compare, success, failure };
    let client = &session.client;
    let reads = |op: &pb::RequestOp| matches!(op.request, Some(Request::RequestRange(_)));
    let only_reads = request.success.iter().chain(&request.failure).all(reads);
    let repeat = if only_reads { Repeat::Yes } else { Repeat::No };
    let response = client.check_size(&request).and_then(|()| {
        session.call(repeat, None, async |channel| {
            let mut kv = KvClient::new(channel).max_decoding_message_size(client.limits().1);
            kv.txn(client.request(request.clone(), None)).await
        })
    });
    session.print(&Answer::Txn(response.map_err(|failure| Exit::new(Code::Error, failure))?))
}

/// Lines up to the next empty one, each checked as it comes.
fn section<T>(lines: &mut Lines, parse: fn(&[u8]) -> Result<T, Exit>) -> Result<Vec<T>, Exit> {
    let mut parsed = Vec::new();
    loop {
        let line = lines.next().map_err(invalid)?;
        match line.trim_ascii() {
            b"" => return Ok(parsed),
            line => parsed.push(parse(line)?),
        }
    }
}

fn invalid(why: impl std::fmt::Display) -> Exit {
    Exit::new(Code::InvalidInput, why)
}

/// One line: a `put`, `get` or `del` as on the command line.
fn parse_request(line: &[u8]) -> Result<pb::RequestOp, Exit> {
    let shown = String::from_utf8_lossy(line);
    let words = split(line).ok_or_else(|| invalid("invalid syntax"))?;
    if words.len() < 2 {
        return Err(invalid(format!("invalid txn compare request: {shown}")));
    }
    let (path, rest) = Path::find("", &REQUESTS, &words);
    let refused = || invalid(format!("invalid txn request: {shown}"));
    if path.commands.len() == 1 {
        return Err(refused());
    }
    let mut flags = path.flags();
    let args = match flags.parse(&rest) {
        Ok(args) => args,
        Err(FlagError::Help) => return Err(refused()),
        Err(FlagError::Bad(_)) => {
            write_err(&(usage(&path) + "\n"));
            return Err(refused());
        }
    };
    let request = match path.command().name() {
        "put" => Request::RequestPut(put::request(&flags, &args)?),
        "get" => Request::RequestRange(get::request(&flags, &args)?),
        _ => Request::RequestDeleteRange(del::request(&flags, &args)?),
    };
    Ok(pb::RequestOp { request: Some(request) })
}

/// One line: `target("key") operator "value"`.
fn parse_compare(line: &[u8]) -> Result<pb::Compare, Exit> {
    let shown = String::from_utf8_lossy(line);
    let malformed = |more: String| invalid(format!("malformed comparison: {shown}{more}"));
    let open = line.iter().position(|&b| b == b'(').ok_or_else(|| malformed(String::new()))?;
    let target = String::from_utf8_lossy(&line[..open]).into_owned();
    let (key, operator, value, complete) = scan_compare(&line[open + 1..]);
    if !complete {
        let got = format!("; got {target}({}) {operator} {}", quote(&key), quote(&value));
        return Err(malformed(got));
    }
    let number =
        |base| parse_int(&value, base).map_err(|_| invalid(format!("invalid txn compare request: {shown}")));
    let (target, operand) = match target.as_str() {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number(10)?)),
        "c" | "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number(10)?)),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number(10)?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(value.into())),
        // etcdctl 3.7.1 crashes here; its successor takes the id in hex, like everything else that takes one.
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number(16)?)),
        _ => return Err(malformed(format!(" (unknown target {target})"))),
    };
    let result = match operator.as_str() {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        // etcdctl panics, which exits so.
        _ => return Err(Exit::new(Code::BadConnection, format!("unknown operator in comparison: {shown}"))),
    };
    Ok(pb::Compare {
        result: result.into(),
        target: target.into(),
        key: key.into(),
        target_union: Some(operand),
        range_end: bytes::Bytes::new(),
    })
}

/// Key, operator and value as far as they are there, and whether they all are.
fn scan_compare(text: &[u8]) -> (Vec<u8>, String, Vec<u8>, bool) {
    let Some((key, rest)) = unquote(text.trim_ascii_start()) else {
        return (Vec::new(), String::new(), Vec::new(), false);
    };
    let Some(rest) = rest.strip_prefix(b")") else {
        return (key, String::new(), Vec::new(), false);
    };
    if !rest.first().is_none_or(u8::is_ascii_whitespace) {
        return (key, String::new(), Vec::new(), false);
    }
    let rest = rest.trim_ascii_start();
    let (operator, rest) = rest.split_at(rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len()));
    let operator = String::from_utf8_lossy(operator).into_owned();
    match unquote(rest.trim_ascii_start()) {
        Some((value, _)) if !operator.is_empty() => (key, operator, value, true),
        _ => (key, operator, Vec::new(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(line: &str) -> Result<pb::Compare, Exit> {
        parse_compare(line.as_bytes())
    }

    #[test]
    fn comparisons() {
        for (line, target, result, operand) in [
            (r#"mod("k") > "0""#, CompareTarget::Mod, CompareResult::Greater, TargetUnion::ModRevision(0)),
            (r#"m("k") < "7" junk"#, CompareTarget::Mod, CompareResult::Less, TargetUnion::ModRevision(7)),
            (
                r#"c("k")   =  "-1""#,
                CompareTarget::Create,
                CompareResult::Equal,
                TargetUnion::CreateRevision(-1),
            ),
            (
                r#"create("k") != "1""#,
                CompareTarget::Create,
                CompareResult::NotEqual,
                TargetUnion::CreateRevision(1),
            ),
            (r#"ver("k") = "2""#, CompareTarget::Version, CompareResult::Equal, TargetUnion::Version(2)),
            (r#"version(`k`) = `2`"#, CompareTarget::Version, CompareResult::Equal, TargetUnion::Version(2)),
            (r#"lease("k") = "1f""#, CompareTarget::Lease, CompareResult::Equal, TargetUnion::Lease(31)),
            (
                r#"val("k") = "a\"\n""#,
                CompareTarget::Value,
                CompareResult::Equal,
                TargetUnion::Value(bytes::Bytes::from_static(b"a\"\n")),
            ),
        ] {
            let parsed = compare(line).unwrap();
            assert_eq!((parsed.target(), parsed.result()), (target, result), "{line}");
            assert_eq!((&parsed.key[..], parsed.target_union), (&b"k"[..], Some(operand)), "{line}");
        }
    }

    #[test]
    fn malformed_comparisons() {
        for (line, expected) in [
            ("mod", "malformed comparison: mod"),
            ("mod(k) > 1", r#"malformed comparison: mod(k) > 1; got mod("")  """#),
            (r#"mod("k") > 1"#, r#"malformed comparison: mod("k") > 1; got mod("k") > """#),
            (r#"mod("k")>"1""#, r#"malformed comparison: mod("k")>"1"; got mod("k")  """#),
            (r#"mod("k") >"1""#, r#"malformed comparison: mod("k") >"1"; got mod("k") >"1" """#),
            (r#"mod("k" > "1""#, r#"malformed comparison: mod("k" > "1"; got mod("k")  """#),
            (r#"size("k") = "1""#, r#"malformed comparison: size("k") = "1" (unknown target size)"#),
            (r#"mod("k") = "x""#, r#"invalid txn compare request: mod("k") = "x""#),
        ] {
            assert_eq!(compare(line).unwrap_err(), invalid(expected), "{line}");
        }
        assert_eq!(compare(r#"mod("k") >= "1""#).unwrap_err().code, Code::BadConnection);
    }

    #[test]
    fn requests() {
        let parse = |line: &str| parse_request(line.as_bytes());
        let op = parse(r#"put --prev-kv "a b" 'c d'"#).unwrap();
        let put = pb::PutRequest {
            key: bytes::Bytes::from_static(b"a b"),
            value: bytes::Bytes::from_static(b"c d"),
            prev_kv: true,
            ..Default::default()
        };
        assert_eq!(op.request, Some(Request::RequestPut(put)));
        assert!(
            matches!(parse("g a --prefix").unwrap().request, Some(Request::RequestRange(r)) if r.range_end == "b")
        );
        assert!(matches!(parse("del a b --range").unwrap().request, Some(Request::RequestDeleteRange(_))));
        for (line, expected) in [
            ("put", "invalid txn compare request: put"),
            ("foo a b", "invalid txn request: foo a b"),
            ("get a -w json", "invalid txn request: get a -w json"),
            ("get --help a", "invalid txn request: get --help a"),
            (r#"get "\q""#, "invalid syntax"),
        ] {
            assert_eq!(parse(line).unwrap_err(), invalid(expected), "{line}");
        }
    }
}
