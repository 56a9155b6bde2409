//! Loads as people run them, against a server of the test's own: what is counted, what is found, and what is refused in one line.
//! How fast anything is, is not asserted.

#![expect(clippy::unwrap_used, reason = "helpers of tests may stop at once")]

mod fake;
mod golden;
mod input;
mod kubernetes;
mod lease;
mod report;
mod snapshot;
mod stm;
mod watch;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use fake::{Fake, Faults};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graven-bench"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A load of a fake, without warm-up.
fn load(fake: &Fake, arguments: &[&str]) -> Command {
    let mut command = command(arguments);
    let scheme = if fake.cacert.is_some() { "https" } else { "http" };
    command.args(["--warm-up", "0", "--endpoints", &format!("{scheme}://{}", fake.address)]);
    if let Some(cacert) = &fake.cacert {
        command.arg("--cacert").arg(cacert);
    }
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Runs a load that ends with the exit code, and returns its document.
fn measured(mut command: Command, code: i32) -> (Value, Output) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("load.json");
    let output = command.arg("--json").arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}{}", text(&output.stdout), text(&output.stderr));
    (json(&path), output)
}

fn failures(document: &Value) -> Vec<(String, u64)> {
    let list = document["results"]["failures"].as_array().unwrap();
    list.iter()
        .map(|one| (one["what"].as_str().unwrap().to_owned(), one["count"].as_u64().unwrap()))
        .collect()
}

fn micros(document: &Value, which: &str) -> f64 {
    document["results"]["latency"][which].as_f64().unwrap()
}

#[test]
fn every_load_asks_for_what_it_should_and_counts_it() {
    let fake = Fake::start(Faults::default());
    let cases: &[(&[&str], &[&str])] = &[
        (&["put", "--key-space", "500", "--distribution", "sequential"], &["put"]),
        (&["put", "--keys", "kubernetes", "--distribution", "zipf", "--value-size", "0-3000"], &["put"]),
        (&["range", "--key-space", "500", "--serializable"], &["range"]),
        (&["range", "key-", "--prefix", "--limit", "7"], &["range"]),
        (&["range", "", "--prefix", "--count-only"], &["range"]),
        (&["range", "key-", "key-000000000100", "--keys-only"], &["range"]),
        (&["txn-put", "--operations", "5"], &["txn put"]),
        (&["txn-mixed", "--reads", "30", "--operations", "3"], &["txn range", "txn put"]),
        (&["mixed", "--reads", "80"], &["range", "put"]),
    ];
    for (arguments, kinds) in cases {
        for client in ["lean", "tonic"] {
            let before = fake.asked();
            let shared = ["--total", "600", "--connections", "3", "--clients", "20", "--client", client];
            let (document, output) = measured(load(&fake, &[*arguments, &shared].concat()), 0);
            assert_eq!(fake.asked() - before, 600, "{arguments:?}");
            assert_eq!(document["results"]["requests"], 600, "{arguments:?}");
            assert_eq!(failures(&document), []);
            let named = document["results"]["kinds"].as_array().unwrap();
            let named: Vec<&str> = named.iter().map(|kind| kind["name"].as_str().unwrap()).collect();
            assert_eq!(named, *kinds);
            let shown = text(&output.stdout);
            for words in [kinds[0], "failures: none", "of CPU a request", "3.7.1-fake", "p99.99"] {
                assert!(shown.contains(words), "{words} is not in\n{shown}");
            }
        }
    }
    let keys = fake.keys();
    let begin = |prefix: &str| keys.iter().filter(|key| key.starts_with(prefix.as_bytes())).count();
    assert!(begin("/registry/pods/namespace-") > 50 && begin("key-0") >= 500);
    assert!(keys.iter().any(|key| &key[..] == b"key-000000000499"));
}

/// A server that has none of the keys is fast at finding nothing.
#[test]
fn reads_of_nothing_are_told() {
    let fake = Fake::start(Faults::default());
    let loads: [&[&str]; 4] = [
        &["range", "--key-space", "777"],
        &["mixed", "--reads", "100"],
        &["txn-mixed", "--reads", "100", "--operations", "2"],
        &["watch-get", "--watchers", "2", "--watched-keys", "2", "--streams", "1"],
    ];
    for load_of in loads {
        let (document, output) = measured(load(&fake, &[load_of, &["--total", "50"]].concat()), 0);
        let shown = text(&output.stdout);
        assert!(shown.contains("counted: 50 of the reads found no key: --fill puts"), "{load_of:?}: {shown}");
        assert_eq!(document["results"]["counts"][0]["count"], 50, "{load_of:?}");
    }
    let (_, output) = measured(load(&fake, &["range", "--fill", "--key-space", "50", "--total", "50"]), 0);
    assert!(!text(&output.stdout).contains("found no key"), "{}", text(&output.stdout));
}

#[test]
fn threads_share_the_work_and_keys_are_filled_before_they_are_read() {
    let fake = Fake::start(Faults::default());
    let arguments =
        ["range", "--fill", "--key-space", "300", "--threads", "3", "--connections", "4", "--clients", "7"];
    let (document, _) = measured(load(&fake, &[&arguments[..], &["--total", "1000"]].concat()), 0);
    assert_eq!(document["results"]["requests"], 1000);
    assert_eq!((fake.keys().len(), fake.asked()), (300, 1300));
}

#[test]
fn files_hold_the_same_in_every_form() {
    let fake = Fake::start(Faults::default());
    let dir = tempfile::tempdir().unwrap();
    let [html, hdr] = ["load.html", "load.hdr"].map(|name| dir.path().join(name));
    let pid = std::process::id().to_string();
    let mut command = load(&fake, &["mixed", "--total", "2000", "--clients", "8", "--pid", &pid]);
    command.arg("--html").arg(&html).arg("--hdr").arg(&hdr);
    let (document, _) = measured(command, 0);
    assert_eq!(
        (&document["format"], &document["version"], &document["kind"]),
        (&"graven-bench".into(), &1.into(), &"load".into())
    );
    assert_eq!(document["ending"], "complete");
    let process = &document["results"]["process"];
    // All of them come within the first moment, which without a warm-up counts; the process is this test's own.
    assert!(process["rss_anon_bytes"].as_u64().unwrap() > 100_000, "{process}");
    assert!(process["cpu_us"].as_f64().unwrap() > 0.0, "{process}");
    assert!(document["results"]["client_cpu_us"].as_f64().unwrap() > 0.0);
    let page = std::fs::read_to_string(html).unwrap();
    assert!(page.contains("<svg") && page.contains("3.7.1-fake") && !page.contains("<script"));
    let log = measure::hdr_log::read(&std::fs::read(hdr).unwrap()).unwrap();
    let counted: u64 = log.iter().map(|interval| interval.latencies.count()).sum();
    assert_eq!(counted, 2000);
    let tags: std::collections::BTreeSet<_> = log.iter().map(|interval| interval.tag.clone()).collect();
    assert_eq!(tags.len(), 2);
}

/// A thousand requests fall into the second in which nobody is answered. They wait half a second on average, and an open loop
/// says so; in a closed loop four of three thousand do.
#[test]
fn a_stall_shows_in_an_open_loop_and_hides_in_a_closed_one() {
    let stalled = Faults { stall_after: Some(1000), ..Faults::default() };
    for pace in [&["--fixed"][..], &["--seed", "7"]] {
        let fake = Fake::start(stalled);
        let arguments = ["put", "--rate", "1000", "--total", "3000", "--connections", "4"];
        let command = load(&fake, &[&arguments[..], pace].concat());
        let (document, _) = measured(command, 0);
        assert_eq!(document["results"]["requests"], 3000);
        let (p90, p99, max) =
            (micros(&document, "p90_us"), micros(&document, "p99_us"), micros(&document, "max_us"));
        assert!(p99 > 850_000.0 && max > 950_000.0, "{pace:?}: p99 {p99}, max {max}");
        // A third of all came within the second; the last tenth of all had to wait for more than half of it.
        assert!(p90 > 500_000.0, "{pace:?}: p90 {p90}");
    }
    let fake = Fake::start(stalled);
    let (document, _) = measured(load(&fake, &["put", "--total", "3000", "--connections", "4"]), 0);
    let (p99, max) = (micros(&document, "p99_us"), micros(&document, "max_us"));
    assert!(p99 < 500_000.0 && max > 950_000.0, "closed loop: p99 {p99}, max {max}");
}

/// No more than --clients are outstanding; the others wait on this side, and their waiting counts.
#[test]
fn an_open_loop_counts_waiting_for_a_free_client() {
    let fake = Fake::start(Faults { stall_after: Some(500), ..Faults::default() });
    let arguments =
        ["put", "--rate", "1000", "--fixed", "--duration", "2s", "--clients", "10", "--connections", "2"];
    let (document, _) = measured(load(&fake, &arguments), 0);
    assert_eq!(document["results"]["requests"], 2000);
    assert!(micros(&document, "p90_us") > 500_000.0, "{}", micros(&document, "p90_us"));
}

#[test]
fn failures_are_counted_by_their_words() {
    let fake = Fake::start(Faults { refuse_each: Some(10), ..Faults::default() });
    for client in ["lean", "tonic"] {
        let (document, output) =
            measured(load(&fake, &["put", "--total", "500", "--clients", "5", "--client", client]), 0);
        assert_eq!(
            failures(&document),
            [("ResourceExhausted: etcdserver: too many requests".to_owned(), 50)]
        );
        assert_eq!(document["results"]["requests"], 450);
        assert!(text(&output.stdout).contains("50 x ResourceExhausted"));
    }
    let fake = Fake::start(Faults { refuse_each: Some(1), ..Faults::default() });
    let (_, output) = measured(load(&fake, &["put", "--total", "20"]), 1);
    assert!(text(&output.stderr).contains("no request succeeded; most often: ResourceExhausted"));
}

#[test]
fn wrong_answers_are_found() {
    let fake = Fake::start(Faults { old_revision_each: Some(100), ..Faults::default() });
    for load_of in [&["put"][..], &["txn-put"], &["mixed", "--reads", "0"]] {
        let (document, output) =
            measured(load(&fake, &[load_of, &["--total", "1000", "--clients", "4"]].concat()), 1);
        assert_eq!(document["results"]["wrong"], 10);
        assert!(failures(&document)[0].0.starts_with("wrong answer: its revision is older"));
        assert!(text(&output.stderr).contains("10 answers were wrong"), "{}", text(&output.stderr));
    }
}

#[test]
fn a_server_that_dies_is_told_with_what_was_measured() {
    for (client, pace) in
        [("lean", &["--clients", "16"][..]), ("lean", &["--rate", "5000"]), ("tonic", &["--clients", "16"])]
    {
        let fake = Fake::start(Faults { die_after: Some(3000), ..Faults::default() });
        let arguments = ["put", "--duration", "60s", "--connections", "4", "--client", client];
        let (document, output) = measured(load(&fake, &[&arguments[..], pace].concat()), 2);
        let requests = document["results"]["requests"].as_u64().unwrap();
        // It answers a few more while it dies.
        assert!((2900..=3200).contains(&requests), "{client} {pace:?}: {requests}");
        let lost: u64 = failures(&document)
            .iter()
            .map(|(what, count)| {
                assert!(what.starts_with("connection lost: "), "{what}");
                *count
            })
            .sum();
        assert!(lost >= 1, "{client} {pace:?}");
        assert!(document["ending"]["lost"].as_str().unwrap().starts_with("connection lost"));
        let said = text(&output.stderr);
        assert!(
            said.contains("the load ended early: connection lost") && said.contains("measured until then"),
            "{said}"
        );
        assert!(text(&output.stdout).contains("| put |"));
    }
}

/// One of two servers goes: the rest of the load goes on, and nobody is told that it was what was asked for.
#[test]
fn one_of_two_servers_that_dies_is_not_passed_over() {
    for pace in [&["--clients", "4"][..], &["--rate", "2000"]] {
        let stays = Fake::start(Faults::default());
        let goes = stays.beside(Faults { die_after: Some(200), ..Faults::default() });
        let both = format!("{},{}", stays.address, goes.address);
        let arguments =
            ["put", "--warm-up", "0", "--connections", "4", "--total", "2000", "--endpoints", &both];
        let (document, output) = measured(command(&[&arguments[..], pace].concat()), 2);
        assert_eq!(document["ending"], "complete");
        assert!(
            stays.asked() > 1000 && (200..1000).contains(&goes.asked()),
            "{} {}",
            stays.asked(),
            goes.asked()
        );
        let said = text(&output.stderr);
        assert_eq!(document["results"]["lost_connections"], 2);
        assert!(said.contains("2 of 4 connections were lost"), "{said}");
    }
}

#[test]
fn tls_and_passwords_open_doors() {
    let fake = Fake::start(Faults { wants_token: true, tls: true, ..Faults::default() });
    let arguments =
        ["mixed", "--user", "root:right:one", "--total", "1000", "--connections", "2", "--clients", "8"];
    let endpoint = fake.address.to_string();
    for client in ["lean", "tonic"] {
        let large = ["--value-size", "20000", "--client", client];
        let (document, _) = measured(load(&fake, &[&arguments[..], &large].concat()), 0);
        assert_eq!(
            (&document["results"]["requests"], &document["server"]["tls"]),
            (&1000.into(), &true.into())
        );
        assert_eq!(document["load"]["client"], client);
        let streams = ["lease", "--user", "root:right:one", "--total", "200", "--client", client];
        measured(load(&fake, &streams), 0);
        let skip =
            ["--endpoints", &endpoint, "--insecure-skip-tls-verify", "--warm-up", "0", "--client", client];
        let output = command(&[&arguments[..], &skip].concat()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let plain = Fake::start(Faults { wants_token: true, ..Faults::default() });
    let (document, _) = measured(load(&plain, &[&arguments[..], &["--client", "tonic"]].concat()), 0);
    assert_eq!(document["results"]["requests"], 1000);
}

#[test]
fn ctrl_c_ends_with_what_was_measured() {
    let fake = Fake::start(Faults::default());
    let mut child = load(&fake, &["put", "--duration", "10m"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Its first word is that the load begins.
    let mut first = String::new();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    errors.read_line(&mut first).unwrap();
    assert_eq!(first, "put\n");
    while fake.asked() < 100 {
        std::thread::yield_now();
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let mut last = String::new();
    errors.read_to_string(&mut last).unwrap();
    assert!(last.ends_with("graven-bench: interrupted; shown is what was measured until then\n"), "{last}");
    let shown = text(&output.stdout);
    assert!(shown.contains("| put |") && shown.contains("CAUTION: the load was interrupted"), "{shown}");
}
