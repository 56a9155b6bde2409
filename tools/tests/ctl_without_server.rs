//! The built program where it needs no cluster: help, refused command lines, the environment, nobody answering.

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn run(line: &str, variables: &[(&str, &str)], stdin: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gravenctl"));
    command.env_clear().envs(variables.iter().copied()).args(line.split_whitespace());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built");
    // It may have refused before it read.
    let _ = child.stdin.take().expect("a pipe").write_all(stdin.as_bytes());
    child.wait_with_output().expect("it ends")
}

/// stdout, stderr without log lines, exit code.
fn texts(output: &Output) -> (String, String, i32) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let stderr = text(&output.stderr);
    let stderr =
        stderr.lines().filter(|line| !line.starts_with("{\"level\":")).collect::<Vec<_>>().join("\n");
    (text(&output.stdout), stderr, output.status.code().unwrap_or(-1))
}

#[test]
fn refusals() {
    for (line, stderr, code) in [
        (
            "nosuch",
            "Error: unknown command \"nosuch\" for \"gravenctl\"\nRun 'gravenctl --help' for usage.",
            1,
        ),
        (
            "gett",
            "Error: unknown command \"gett\" for \"gravenctl\"\n\nDid you mean this?\n\tget\n\nRun 'gravenctl --help' for usage.",
            1,
        ),
        ("snapshot save x", "Error: \"gravenctl snapshot\" is not available yet", 1),
        ("member add x", "Error: \"gravenctl member add\" is not available yet", 1),
        ("get", "Error: get command needs one argument as key and an optional argument as range_end", 128),
        (
            "get --prefix --from-key a",
            "Error: `--prefix` and `--from-key` cannot be set at the same time, choose one",
            128,
        ),
        ("get a --order UP", "Error: bad sort order UP", 4),
        ("get a --sort-by SIZE", "Error: bad sort target SIZE", 4),
        ("get a --consistency x", "Error: unknown consistency flag \"x\"", 4),
        ("get a --min-mod-rev 5 --max-mod-rev 4", "Error: getMinModRev(=5) > getMaxModRev(=4)", 4),
        ("get a -w yaml", "Error: unsupported output format", 4),
        ("get a --endpoints=", "Error: etcdclient: no available endpoints", 2),
        ("get a --cert=", "Error: empty string is passed to --cert option", 128),
        ("put", "Error: put command needs 1 argument and input from stdin or 2 arguments", 128),
        ("put a", "Error: put command needs 1 argument and input from stdin or 2 arguments", 128),
        (
            "put a v --lease zz",
            "Error: bad lease ID (strconv.ParseInt: parsing \"zz\": invalid syntax), expecting ID in Hex",
            128,
        ),
        ("del", "Error: del command needs one argument as key and an optional argument as range_end", 128),
        ("compaction x", "Error: strconv.ParseInt: parsing \"x\": invalid syntax", 1),
        ("compaction", "Error: compaction command needs 1 argument", 128),
        ("lease grant x", "Error: bad TTL (strconv.ParseInt: parsing \"x\": invalid syntax)", 128),
        ("lease revoke", "Error: lease revoke command needs 1 argument", 128),
        ("watch", "Error: bad number of arguments", 128),
        ("watch a b --prefix", "Error: `range_end` and `--prefix` are mutually exclusive", 128),
        ("txn x", "Error: txn command does not accept argument", 128),
        ("txn", "Error: EOF", 3),
    ] {
        assert_eq!(texts(&run(line, &[], "")), (String::new(), stderr.to_owned(), code), "{line}");
    }
}

#[test]
fn bad_flags_show_the_usage_of_their_command() {
    for (line, first) in [
        ("get --nosuch", "Error: unknown flag: --nosuch"),
        ("get -z", "Error: unknown shorthand flag: 'z' in -z"),
        (
            "get a --limit x",
            "Error: invalid argument \"x\" for \"--limit\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        ("get a -w", "Error: flag needs an argument: 'w' in -w"),
    ] {
        let (stdout, stderr, code) = texts(&run(line, &[], ""));
        let mut lines = stderr.lines();
        assert_eq!((lines.next(), lines.next()), (Some(first), Some("Usage:")), "{line}");
        assert_eq!(lines.next(), Some("  gravenctl get [options] <key> [range_end] [flags]"));
        assert!(stderr.contains("      --limit int            Maximum number of results\n"), "{stderr}");
        assert_eq!((stdout.as_str(), code), ("", 1));
    }
}

#[test]
fn help_goes_to_stdout() {
    for (line, begins) in [
        (
            "",
            "A simple command line client for etcd3.\n\nUsage:\n  gravenctl [command]\n\nKey-value commands\n  compaction  ",
        ),
        ("--help", "A simple command line client for etcd3.\n"),
        ("help", "A simple command line client for etcd3.\n"),
        (
            "lease",
            "Lease related commands\n\nUsage:\n  gravenctl lease [command]\n\nAvailable Commands:\n  grant       Creates leases\n",
        ),
        ("lease nosuch", "Lease related commands\n"),
        (
            "help lease grant",
            "Creates leases\n\nUsage:\n  gravenctl lease grant <ttl> [flags]\n\nFlags:\n  -h, --help   help for grant\n",
        ),
        ("g -h", "Gets the key or a range of keys\n"),
        ("options", "The following options can be passed to any command:\n\n      --auth-jwt-token string "),
        ("version", "etcdctl version: 3.7.1\nAPI version: 3.7\n"),
    ] {
        let (stdout, stderr, code) = texts(&run(line, &[], ""));
        assert!(stdout.starts_with(begins), "{line}: {stdout}");
        assert_eq!((stderr.as_str(), code), ("", 0), "{line}");
    }
}

#[test]
fn lines_of_a_txn_are_checked_before_anything_is_sent() {
    for (stdin, stderr) in [
        ("mod\n", "Error: malformed comparison: mod"),
        ("size(\"a\") > \"1\"\n", "Error: malformed comparison: size(\"a\") > \"1\" (unknown target size)"),
        ("\nfoo a b\n", "Error: invalid txn request: foo a b"),
        ("\nput\n", "Error: invalid txn compare request: put"),
        ("mod(\"a\") > \"1\"\n", "Error: EOF"),
    ] {
        assert_eq!(texts(&run("txn", &[], stdin)), (String::new(), stderr.to_owned(), 3), "{stdin}");
    }
    let (stdout, _, code) = texts(&run("txn -i", &[], "\n\n"));
    let prompts = "compares:\nsuccess requests (get, put, del):\nfailure requests (get, put, del):\n";
    assert_eq!((stdout.as_str(), code), (prompts, 3));
}

#[test]
fn environment() {
    let (_, stderr, code) = texts(&run("get a", &[("ETCDCTL_WRITE_OUT", "yaml")], ""));
    assert_eq!((stderr.as_str(), code), ("Error: unsupported output format", 4));
    let conflict = run("get a -w json", &[("ETCDCTL_WRITE_OUT", "yaml")], "");
    let stderr = String::from_utf8_lossy(&conflict.stderr).into_owned();
    assert!(stderr.contains("\"level\":\"fatal\"") && stderr.contains("\"ETCDCTL_WRITE_OUT\""), "{stderr}");
    assert_eq!(conflict.status.code(), Some(1));
    let (_, stderr, code) = texts(&run("watch", &[("ETCDCTL_WATCH_RANGE_END", "z")], ""));
    let expected = "Error: ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END=\"z\"";
    assert_eq!((stderr.as_str(), code), (expected, 128));
}

#[test]
fn with_nobody_to_answer_it_gives_up_in_time() {
    // Nobody listens here any more.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address");
    drop(taken);
    for (line, code, expected) in [
        ("get a", 1, "Error: context deadline exceeded".to_owned()),
        ("put a b", 1, "Error: context deadline exceeded".to_owned()),
        ("lease grant 5", 1, "Error: failed to grant lease (context deadline exceeded)".to_owned()),
        (
            "endpoint status",
            1,
            format!("Failed to get the status of endpoint {address} (context deadline exceeded)"),
        ),
        (
            "endpoint health",
            1,
            format!(
                "{address} is unhealthy: failed to commit proposal: context deadline exceeded\nError: unhealthy cluster"
            ),
        ),
    ] {
        let line = format!("{line} --endpoints {address} --command-timeout 200ms");
        let output = run(&line, &[], "");
        assert_eq!(texts(&output), (String::new(), expected, code), "{line}");
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(log.contains("\"msg\":\"no answer in time\"") && log.contains("Connection refused"), "{log}");
    }
}
