//! etcd's checks: their lines, their exit codes, and that they leave no key behind.

use std::process::{Command, Output, Stdio};

use crate::fake::{Fake, Faults};
use crate::graven::Member;
use crate::text;

fn bench(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graven-bench"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn lines(output: &Output) -> Vec<String> {
    text(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn perf_and_datascale_say_what_etcd_says_and_clean_up() {
    let member = Member::start();
    let endpoint = member.endpoint();
    // Twice: a prefix that still had keys would be refused.
    for _ in 0..2 {
        let arguments =
            ["perf", "--endpoints", &endpoint, "--duration", "1", "--auto-compact", "--auto-defrag"];
        let output = bench(&arguments).output().unwrap();
        let lines = lines(&output);
        let noted = text(&output.stderr);
        assert!(noted.contains("p99") && noted.contains("from when they were due"), "{noted}");
        let begins = ["Compacting with ", "Compacted with ", "Defragmenting ", "Defragmented "];
        assert_eq!(lines.len(), begins.len() + 4, "{lines:?}");
        assert!(lines.iter().zip(begins).all(|(line, begin)| line.starts_with(begin)), "{lines:?}");
        // A busy machine may fail it; the words and the code have to agree.
        let passed = lines[4..7].iter().all(|line| line.starts_with("PASS: "));
        assert_eq!(lines[7], if passed { "PASS" } else { "FAIL" }, "{lines:?}");
        assert_eq!(output.status.code(), Some(i32::from(!passed)), "{noted}");

        let output = bench(&["datascale", "--endpoints", &endpoint, "--keys", "500"]).output().unwrap();
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
        assert!(
            said.contains("[500 key-value pairs, 1024 bytes per key-value, 50 concurrent clients]"),
            "{said}"
        );
        assert!(
            said.contains("PASS: Approximate system memory used : ") && said.ends_with(" MB.\n"),
            "{said}"
        );
    }
}

/// What was printed stands in the file, and is printed again from there.
#[test]
fn checks_leave_documents() {
    let member = Member::start();
    let endpoint = member.endpoint();
    let dir = tempfile::tempdir().unwrap();
    let [json, html] = ["check.json", "check.html"].map(|name| dir.path().join(name));
    let [json, html] = [&json, &html].map(|path| path.to_str().unwrap());
    let files = ["--json", json, "--html", html, "--endpoints", &endpoint];
    for arguments in [&["perf", "--duration", "1"][..], &["datascale", "--keys", "200"]] {
        let output = bench(&[arguments, &files].concat()).output().unwrap();
        let document: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
        assert_eq!(
            (&document["format"], &document["version"], &document["kind"]),
            (&"graven-bench".into(), &1.into(), &arguments[0].into())
        );
        assert_eq!(document["passed"], output.status.success());
        let said = document["lines"].as_array().unwrap();
        let printed = lines(&output);
        assert!(said.iter().all(|line| printed.iter().any(|one| line == one)), "{said:?} {printed:?}");
        assert!(document["results"]["latency"]["count"].as_u64().unwrap() >= 100);
        assert_eq!(document["results"]["memory_bytes"].is_number(), arguments[0] == "datascale");
        assert!(std::fs::read_to_string(html).unwrap().contains("<svg"));
        let again = bench(&["report", json]).output().unwrap();
        let shown = lines(&again);
        assert!(again.status.success() && said.iter().all(|line| shown.iter().any(|one| line == one)));
    }
}

#[test]
fn a_stall_fails_the_check() {
    // Behind the look at the prefix, in the middle of 150 puts a second.
    let fake = Fake::start(Faults { stall_after: Some(50), ..Faults::default() });
    let endpoint = fake.address.to_string();
    let output = bench(&["perf", "--endpoints", &endpoint, "--duration", "3"]).output().unwrap();
    let lines = lines(&output);
    assert_eq!(output.status.code(), Some(1), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("Slowest request took too long: ")), "{lines:?}");
    assert_eq!(lines.last().map(String::as_str), Some("FAIL"));
}

#[test]
fn a_server_that_dies_is_told_in_one_line() {
    let fake = Fake::start(Faults { die_after: Some(50), ..Faults::default() });
    let endpoint = fake.address.to_string();
    let output = bench(&["perf", "--endpoints", &endpoint, "--duration", "30"]).output().unwrap();
    let noted = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{noted}");
    let last = noted.lines().last().unwrap();
    assert!(last.starts_with("graven-bench: the server was lost after "), "{noted}");
    assert!(text(&output.stdout).contains("FAIL: Throughput too low"), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("FAIL: ERROR(connection lost: "), "{}", text(&output.stdout));
}

#[test]
fn errors_fail_the_check_and_are_counted_by_their_words() {
    let fake = Fake::start(Faults { refuse_each: Some(10), ..Faults::default() });
    let endpoint = fake.address.to_string();
    let output = bench(&["perf", "--endpoints", &endpoint, "--duration", "1"]).output().unwrap();
    let lines = lines(&output);
    assert_eq!(output.status.code(), Some(1), "{lines:?}");
    assert_eq!(lines[0], "FAIL: too many errors");
    assert!(
        lines[1].starts_with("FAIL: ERROR(ResourceExhausted: etcdserver: too many requests) -> "),
        "{lines:?}"
    );
}

#[test]
fn what_can_not_be_checked_is_refused_in_one_line() {
    let refused = |arguments: &[&str], expected: &str| {
        let output = bench(arguments).output().unwrap();
        let noted = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{noted}");
        assert!(noted.starts_with("graven-bench: ") && noted.contains(expected), "{noted}");
        assert_eq!(noted.lines().count(), 1, "{noted}");
    };
    refused(&["perf", "--endpoints", "127.0.0.1:1"], "cannot reach");
    refused(&["perf", "--endpoints", "127.0.0.1"], "is no endpoint");
    refused(&["perf", "--prefix", ""], "--prefix is empty");
    refused(&["datascale", "--user", "nobody"], "--user wants NAME:PASSWORD");
    let fake = Fake::start(Faults::default());
    let endpoint = fake.address.to_string();
    let output =
        bench(&["put", "--endpoints", &endpoint, "--total", "5", "--warm-up", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let hint = format!("gravenctl --endpoints http://{endpoint} del --prefix key-");
    refused(&["perf", "--endpoints", &endpoint, "--prefix", "key-"], &hint);
    // Without metrics there is nothing to say about memory.
    let output = bench(&["datascale", "--endpoints", &endpoint, "--prefix", "/x/"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).starts_with("FAIL: Could not read process_resident_memory_bytes before"));
}
