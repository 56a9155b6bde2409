//! `watch`, `watch-latency` and `watch-get`: what is counted, and what is found wrong with events.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::fake::watch::Fault as WatchFault;
use super::fake::{Fake, Faults};
use super::{failures, load, measured, text};

/// How often each kind succeeded.
pub(crate) fn counts(document: &Value) -> Vec<(String, u64)> {
    let kinds = document["results"]["kinds"].as_array().unwrap();
    let count = |kind: &Value| {
        let intervals = kind["timeline"]["intervals"].as_array().unwrap();
        intervals.iter().map(|one| one["count"].as_u64().unwrap()).sum()
    };
    kinds.iter().map(|kind| (kind["name"].as_str().unwrap().to_owned(), count(kind))).collect()
}

fn expect_counts(document: &Value, expected: &[(&str, u64)]) {
    let found = counts(document);
    let found: Vec<(&str, u64)> = found.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(found, expected);
}

fn faulty(fault: WatchFault, often: u64) -> Fake {
    Fake::start(Faults { watch: Some((fault, often)), ..Faults::default() })
}

#[test]
fn every_watch_sees_every_event_of_its_key() {
    let fake = Fake::start(Faults::default());
    let shape = ["--streams", "3", "--watchers", "24", "--watched-keys", "6", "--connections", "2"];
    let cases: &[&[&str]] = &[
        &["--clients", "8"],
        &["--clients", "8", "--prev-kv", "--distribution", "zipf"],
        &["--rate", "3000", "--keys", "kubernetes"],
        &["--clients", "8", "--threads", "2", "--value-size", "16-5000"],
    ];
    for client in ["lean", "tonic"] {
        for case in cases {
            let arguments = [&["watch", "--total", "500", "--client", client], &shape[..], case].concat();
            let (document, output) = measured(load(&fake, &arguments), 0);
            // Four watches have each key.
            expect_counts(&document, &[("put", 500), ("event", 2000), ("watch", 24)]);
            assert_eq!((failures(&document), &document["results"]["requests"]), (Vec::new(), &2000.into()));
            let shown = text(&output.stdout);
            let words = "24 watchers on 3 streams, 6 watched keys";
            assert!(shown.contains(words) && shown.contains("| event"), "{words} is not in\n{shown}");
        }
    }
}

#[test]
fn events_that_are_wrong_are_found() {
    let cases = [
        (WatchFault::Dropped, "an event did not come at a watch"),
        (WatchFault::Twice, "an event came twice"),
        (WatchFault::Late, "an event came after a later one"),
        (WatchFault::OtherRevision, "is beyond the revision of its response"),
        (WatchFault::NoPrevKv, "does not bring what the key held before"),
    ];
    for (fault, words) in cases {
        // With 1,000 events, seven of which are wrong; none of the last ones, after which nothing would come.
        let fake = faulty(fault, 130);
        let arguments = ["watch", "--total", "100", "--watchers", "10", "--watched-keys", "1", "--prev-kv"];
        let (document, output) = measured(load(&fake, &arguments), 1);
        let found = failures(&document);
        assert!(
            found.iter().any(|(what, count)| what.contains(words) && *count >= 7),
            "{fault:?}: {found:?}"
        );
        let wrong = document["results"]["wrong"].as_u64().unwrap();
        assert!((7..30).contains(&wrong), "{fault:?}: {found:?}");
        let said = text(&output.stderr);
        assert!(said.contains(&format!("{wrong} answers were wrong")), "{said}");
        assert_eq!(document["ending"], "complete");
    }
}

#[test]
fn a_watch_that_ends_ends_the_load() {
    let cases = [
        (WatchFault::Canceled, "a watch was canceled: what it has not seen yet was compacted at revision"),
        (WatchFault::StreamEnds, "the server ended a watch stream"),
    ];
    for (fault, words) in cases {
        for load_of in [&["watch", "--watchers", "20"][..], &["watch-latency", "--rate", "2000"]] {
            let fake = faulty(fault, 100);
            let arguments = [load_of, &["--duration", "60s"]].concat();
            let (document, output) = measured(load(&fake, &arguments), 2);
            let said = text(&output.stderr);
            assert!(said.contains("the load ended early: ") && said.contains(words), "{said}");
            assert!(document["ending"]["lost"].as_str().unwrap().contains(words));
            assert!(document["results"]["requests"].as_u64().unwrap() >= 90);
        }
    }
}

#[test]
fn a_server_that_dies_is_told_with_what_was_measured() {
    for load_of in [&["watch"][..], &["watch-latency", "--rate", "2000"], &["watch-get", "--history", "20"]] {
        let fake = Fake::start(Faults { die_after: Some(1000), ..Faults::default() });
        let (document, output) =
            measured(load(&fake, &[load_of, &["--duration", "60s", "--connections", "2"]].concat()), 2);
        assert!(document["ending"]["lost"].as_str().unwrap().starts_with("connection lost"));
        let said = text(&output.stderr);
        assert!(said.contains("the load ended early: connection lost"), "{said}");
        assert!(document["results"]["requests"].as_u64().unwrap() > 500, "{document}");
    }
}

#[test]
fn who_does_not_let_watch_is_told_so() {
    let fake = Fake::start(Faults { die_after: Some(5), ..Faults::default() });
    let output = load(&fake, &["watch-get", "--history", "10"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("--history: the events could not be put: connection lost"), "{said}");
}

#[test]
fn latency_is_told_from_the_put_and_from_its_answer() {
    let fake = Fake::start(Faults::default());
    let arguments = ["watch-latency", "--total", "60", "--watchers", "2", "--watched-keys", "2", "--fixed"];
    let arguments = [&arguments[..], &["--rate", "500", "--prev-kv"]].concat();
    let (document, output) = measured(load(&fake, &arguments), 0);
    expect_counts(&document, &[("put", 60), ("event", 60), ("event after answer", 60), ("watch", 2)]);
    assert!(text(&output.stdout).contains("event after answer"));
    let (document, _) = measured(load(&fake, &["watch-latency", "--total", "20"]), 0);
    assert_eq!(document["load"]["rate"], 100.0, "slowly, if nothing else is asked for");
}

/// A stall of a second holds back the events of all puts that were due meanwhile.
#[test]
fn a_stall_shows_in_the_events() {
    let fake = Fake::start(Faults { stall_after: Some(300), ..Faults::default() });
    let (document, _) =
        measured(load(&fake, &["watch-latency", "--rate", "500", "--fixed", "--total", "1000"]), 0);
    let p90 = document["results"]["latency"]["p90_us"].as_f64().unwrap();
    assert!(p90 > 500_000.0, "{p90}");
}

#[test]
fn reads_go_on_while_watches_idle_or_catch_up() {
    let fake = Fake::start(Faults::default());
    for client in ["lean", "tonic"] {
        let shared =
            ["watch-get", "--client", client, "--total", "400", "--watchers", "12", "--streams", "4"];
        let shared = [&shared[..], &["--clients", "4", "--connections", "2"]].concat();
        let reads = ["--serializable", "--fill", "--key-space", "50"];
        let (document, _) = measured(load(&fake, &[&shared[..], &reads].concat()), 0);
        expect_counts(&document, &[("range", 400), ("watch", 12)]);
        assert_eq!(document["results"]["requests"], 400);
        let (document, output) =
            measured(load(&fake, &[&shared[..], &["--history", "250", "--watched-keys", "3"]].concat()), 0);
        let found = counts(&document);
        assert_eq!((found[0].1, found[1].0.as_str(), found[2].1), (400, "catch up", 12));
        assert!(text(&output.stdout).contains("250 events behind"), "{}", text(&output.stdout));
        assert_eq!(failures(&document), []);
    }
}

#[test]
fn a_past_that_is_told_wrongly_is_found() {
    let cases = [
        (WatchFault::Dropped, "skipped an event"),
        (WatchFault::Twice, "told of an event twice"),
        (WatchFault::Late, "told of an event twice, or after a later one"),
        (WatchFault::OtherRevision, "of a put that was not made here"),
    ];
    for (fault, words) in cases {
        let fake = faulty(fault, 49);
        let arguments = ["watch-get", "--history", "120", "--watchers", "2", "--watched-keys", "2"];
        let (document, _) =
            measured(load(&fake, &[&arguments[..], &["--total", "200", "--streams", "2"]].concat()), 1);
        let found = failures(&document);
        assert!(found.iter().any(|(what, _)| what.contains(words)), "{fault:?}: {found:?}");
    }
}

#[test]
fn ctrl_c_ends_with_what_was_measured() {
    let fake = Fake::start(Faults::default());
    for load_of in ["watch", "watch-latency", "watch-get"] {
        let before = fake.asked();
        let mut child = load(&fake, &[load_of, "--duration", "10m"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        errors.read_line(&mut first).unwrap();
        assert_eq!(first, format!("{load_of}\n"));
        while fake.asked() < before + 20 {
            std::thread::yield_now();
        }
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let mut last = String::new();
        errors.read_to_string(&mut last).unwrap();
        assert_eq!(output.status.code(), Some(130), "{last}");
        assert!(text(&output.stdout).contains("failures: none"), "{}", text(&output.stdout));
    }
}
