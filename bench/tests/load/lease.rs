//! `lease`: grants, keep-alives and revokes, what is found wrong with them, and that nothing stays behind.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use super::fake::lease::Fault as LeaseFault;
use super::fake::{Fake, Faults};
use super::{failures, load, measured, text};

#[test]
fn leases_are_granted_kept_alive_and_revoked() {
    let fake = Fake::start(Faults::default());
    for client in ["lean", "tonic"] {
        let arguments =
            ["lease", "--keep-alives", "5", "--keys-per-lease", "2", "--clients", "20", "--connections", "3"];
        let arguments = [&arguments[..], &["--total", "2005", "--client", client]].concat();
        let (document, output) = measured(load(&fake, &arguments), 0);
        assert_eq!(document["results"]["requests"], 2005);
        assert_eq!(failures(&document), []);
        // A grant, two puts, five keep-alives and a revoke each.
        let kinds = document["results"]["kinds"].as_array().unwrap();
        let count = |at: usize| {
            let intervals = kinds[at]["timeline"]["intervals"].as_array().unwrap();
            intervals.iter().map(|one| one["count"].as_u64().unwrap()).sum::<u64>()
        };
        let names: Vec<&str> = kinds.iter().map(|kind| kind["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["grant", "keep-alive", "revoke", "put"]);
        let [grants, keep_alives, revokes, puts] = [0, 1, 2, 3].map(count);
        assert_eq!(grants + keep_alives + revokes + puts, 2005);
        assert!((223..=243).contains(&grants) && (203..=223).contains(&revokes), "{grants} {revokes}");
        assert!(keep_alives.abs_diff(5 * grants) <= 100 && puts.abs_diff(2 * grants) <= 40);
        let shown = text(&output.stdout);
        for words in
            ["for 60 s, kept alive 5 times, 2 keys with each", "leases revoked when the load was over"]
        {
            assert!(shown.contains(words), "{words} is not in\n{shown}");
        }
        let (left, granted) = fake.leases();
        assert!(left == 0 && granted >= grants, "{left} of {granted} leases are left");
        assert_eq!(fake.keys().len(), 0, "keys go with their leases");
    }
}

#[test]
fn an_open_loop_has_leases_too() {
    let fake = Fake::start(Faults::default());
    let arguments = ["lease", "--rate", "2000", "--total", "1000", "--connections", "2", "--ttl", "5"];
    let (document, _) = measured(load(&fake, &arguments), 0);
    assert_eq!((&document["results"]["requests"], failures(&document)), (&1000.into(), Vec::new()));
    assert_eq!(fake.leases().0, 0);
}

#[test]
fn wrong_answers_about_leases_are_found() {
    let cases = [
        (LeaseFault::OtherId, "a lease with another ID than was asked for"),
        (LeaseFault::ShortGrant, "a lease was granted for less time"),
        (LeaseFault::OtherTtl, "is kept alive for another time than it was granted for"),
        (LeaseFault::Stranger, "a lease is kept alive that was not asked for"),
        (LeaseFault::Expired, "a lease was gone before its time"),
    ];
    for (fault, words) in cases {
        // Odd, so that it meets now a grant and now something else.
        let fake = Fake::start(Faults { lease: Some((fault, 7)), ..Faults::default() });
        let arguments = ["lease", "--keep-alives", "3", "--clients", "8", "--connections", "2"];
        let arguments = [&arguments[..], &["--total", "1000"]].concat();
        let (document, output) = measured(load(&fake, &arguments), 1);
        let wrong = document["results"]["wrong"].as_u64().unwrap();
        let found = failures(&document);
        assert!(wrong >= 5 && found.len() == 1 && found[0].0.contains(words), "{fault:?}: {found:?}");
        assert_eq!(found[0].1, wrong);
        let said = text(&output.stderr);
        assert!(said.contains(&format!("{wrong} answers were wrong")), "{said}");
        assert_eq!(fake.leases().0, 0, "{fault:?}");
    }
}

#[test]
fn a_stream_that_ends_is_opened_again() {
    let fake = Fake::start(Faults { lease: Some((LeaseFault::StreamEnds, 50)), ..Faults::default() });
    let arguments = ["lease", "--clients", "4", "--connections", "2", "--total", "1000"];
    let (document, _) = measured(load(&fake, &arguments), 0);
    let found = failures(&document);
    assert!(found.len() == 1 && found[0].0.contains("ended the stream of keep-alives"), "{found:?}");
    let requests = document["results"]["requests"].as_u64().unwrap();
    assert!(requests + found[0].1 == 1000 && found[0].1 < 100, "{requests} and {found:?}");
    assert_eq!(fake.leases().0, 0);
}

/// What was granted is revoked though nobody waits for the load's end.
#[test]
fn ctrl_c_leaves_no_lease_behind() {
    let fake = Fake::start(Faults::default());
    let mut child = load(
        &fake,
        &["lease", "--duration", "10m", "--clients", "60", "--connections", "3", "--keep-alives", "1000000"],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    let mut first = String::new();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    errors.read_line(&mut first).unwrap();
    assert_eq!(first, "lease\n");
    while fake.leases().0 < 60 {
        std::thread::yield_now();
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let mut last = String::new();
    errors.read_to_string(&mut last).unwrap();
    assert_eq!(output.status.code(), Some(130), "{last}");
    let shown = text(&output.stdout);
    assert_eq!(fake.leases(), (0, 60), "{last}{shown}");
    assert!(shown.contains("counted: 60 leases revoked when the load was over"), "{shown}");
}
