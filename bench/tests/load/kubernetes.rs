//! `kubernetes`: everything it asks for, what it finds wrong, and that nothing stays behind.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use super::fake::watch::Fault as WatchFault;
use super::fake::{Fake, Faults};
use super::watch::counts;
use super::{command, failures, load, measured, text};

/// A small cluster in a great hurry.
const CLUSTER: [&str; 7] = ["kubernetes", "--nodes", "20", "--pods-per-node", "3", "--speed", "150"];

#[test]
fn a_control_plane_asks_for_all_of_it_and_leaves_nothing() {
    let fake = Fake::start(Faults::default());
    for client in ["lean", "tonic"] {
        let arguments = ["--duration", "2s", "--compact-every", "300ms", "--page", "7", "--client", client];
        let (document, output) =
            measured(load(&fake, &[&CLUSTER[..], &arguments, &["--connections", "2"]].concat()), 0);
        assert_eq!(failures(&document), []);
        let found = counts(&document);
        let count = |name: &str| found.iter().find(|(kind, _)| kind == name).unwrap().1;
        for (name, _) in &found {
            assert!(count(name) > 0, "{name}: {found:?}");
        }
        // Two renewals a second of each node, 150 times as fast.
        assert!((400..=800).contains(&count("lease renewal")), "{found:?}");
        assert!(count("list page") > count("list") && (3..=7).contains(&count("compaction")), "{found:?}");
        // A watch sees every write, of which some were made before their time counts.
        let writes =
            ["lease renewal", "node status", "pod create", "pod update", "pod delete", "event create"];
        assert_eq!(count("watch event"), writes.iter().map(|name| count(name)).sum::<u64>());
        let requests = document["results"]["requests"].as_u64().unwrap();
        let aside = count("list page") + count("lease grant") + count("watch event");
        assert_eq!(requests + aside, found.iter().map(|(_, count)| count).sum::<u64>());
        let shown = text(&output.stdout);
        assert!(shown.contains("20 nodes, 60 pods, speed 150") && shown.contains("| all"), "{shown}");
        assert!(fake.keys().is_empty(), "{} keys are left", fake.keys().len());
        let (left, granted) = fake.leases();
        assert!(left == 0 && granted > 0 && fake.compacted() > 0);
    }
}

#[test]
fn what_a_server_tells_wrongly_is_found() {
    let watch = |fault| Faults { watch: Some((fault, 60)), ..Faults::default() };
    let cases = [
        (watch(WatchFault::Dropped), "an event did not come"),
        (watch(WatchFault::Twice), "a watch told of an event twice"),
        (watch(WatchFault::Late), "or after a later one"),
        (watch(WatchFault::OtherRevision), "is beyond the revision of its response"),
        (watch(WatchFault::NoPrevKv), "brings something else than what was there before"),
        (Faults { hides_key: true, ..Faults::default() }, "found more or fewer objects than were written"),
        (Faults { false_conflict_each: Some(350), ..Faults::default() }, "found another mod_revision"),
        (Faults { old_revision_each: Some(300), ..Faults::default() }, "older than one that was answered"),
    ];
    for (faults, words) in cases {
        let fake = Fake::start(faults);
        let arguments = [&CLUSTER[..], &["--duration", "1s"]].concat();
        let (document, _) = measured(load(&fake, &arguments), 1);
        let found = failures(&document);
        assert!(found.iter().any(|(what, _)| what.contains(words)), "{faults:?}: {found:?}");
        assert!(document["results"]["wrong"].as_u64().unwrap() > 0);
        assert!(fake.keys().len() <= usize::from(faults.hides_key), "{:?}", fake.keys());
    }
}

#[test]
fn refusals_are_counted_and_the_load_goes_on() {
    let fake = Fake::start(Faults { refuse_each: Some(50), ..Faults::default() });
    // What is there before the load begins may not be refused.
    let output = load(&fake, &[&CLUSTER[..], &["--duration", "1s"]].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("can't be created: ResourceExhausted"), "{}", text(&output.stderr));
    let arguments =
        ["kubernetes", "--nodes", "5", "--pods-per-node", "1", "--speed", "200", "--duration", "1s"];
    let (document, _) = measured(load(&fake, &arguments), 0);
    let found = failures(&document);
    assert!(found.len() == 1 && found[0].0.starts_with("ResourceExhausted"), "{found:?}");
    assert_eq!(document["results"]["wrong"], 0);
}

#[test]
fn what_is_there_already_is_not_touched() {
    let fake = Fake::start(Faults::default());
    measured(load(&fake, &["put", "--keys", "kubernetes", "--total", "50"]), 0);
    let keys = fake.keys();
    let output = load(&fake, &CLUSTER).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("--prefix /registry: ") && said.contains("keys are there already"), "{said}");
    assert_eq!(fake.keys(), keys);
    let elsewhere = ["--prefix", "/elsewhere", "--duration", "300ms"];
    measured(load(&fake, &[&CLUSTER[..], &elsewhere].concat()), 0);
    assert_eq!(fake.keys(), keys);
}

#[test]
fn a_server_that_dies_is_told() {
    let fake = Fake::start(Faults { die_after: Some(600), ..Faults::default() });
    let (document, output) = measured(load(&fake, &[&CLUSTER[..], &["--duration", "60s"]].concat()), 2);
    assert!(document["ending"]["lost"].as_str().unwrap().starts_with("connection lost"));
    assert!(text(&output.stderr).contains("the load ended early: connection lost"));
}

#[test]
fn ctrl_c_leaves_nothing_behind() {
    let fake = Fake::start(Faults::default());
    let mut child = load(&fake, &[&CLUSTER[..], &["--duration", "10m"]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    errors.read_line(&mut first).unwrap();
    assert_eq!(first, "kubernetes\n");
    while fake.leases().0 == 0 {
        std::thread::yield_now();
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let mut last = String::new();
    errors.read_to_string(&mut last).unwrap();
    assert_eq!(output.status.code(), Some(130), "{last}");
    assert!(fake.keys().is_empty() && fake.leases().0 == 0, "{:?} {:?}", fake.keys(), fake.leases());
    assert!(text(&output.stdout).contains("lease renewal"));
}

#[test]
fn contradictions_are_pointed_out() {
    let cases: &[(&[&str], &str)] = &[
        (&["kubernetes", "--rate", "5"], "give --speed"),
        (&["kubernetes", "--threads", "2", "--connections", "2"], "--threads does not go with kubernetes"),
        (&["kubernetes", "--key-space", "5"], "give --nodes"),
        (&["kubernetes", "--prefix", "registry/"], "wants something like /registry"),
        (&["watch", "--streams", "5", "--watchers", "4", "--watched-keys", "1"], "some would carry nothing"),
        (&["watch", "--watchers", "20", "--watched-keys", "30"], "nobody would see some of them"),
        (
            &["watch", "--threads", "3", "--connections", "3", "--watched-keys", "2"],
            "each thread has its own",
        ),
        (&["watch", "--value-size", "8"], "can't tell puts apart"),
        (&["watch-latency", "--key-space", "8"], "give --watched-keys"),
    ];
    for (arguments, words) in cases {
        let output = command(arguments).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(words) && said.lines().count() == 1, "{arguments:?}: {said}");
    }
}
