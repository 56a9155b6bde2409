//! `stm`: transactions commit, meet, and lose nothing; a server that loses something is found out.

use super::fake::{Fake, Faults};
use super::{failures, load, measured, text};

const ISOLATIONS: [&str; 3] = ["serializable-snapshots", "serializable", "repeatable-reads"];

fn count(document: &serde_json::Value, words: &str) -> u64 {
    let counts = document["results"]["counts"].as_array().unwrap();
    let found = counts.iter().find(|one| one["what"].as_str().unwrap().starts_with(words));
    found.map_or(0, |one| one["count"].as_u64().unwrap())
}

#[test]
fn transactions_meet_and_every_increment_is_there() {
    let fake = Fake::start(Faults::default());
    for (isolation, client) in ISOLATIONS.into_iter().zip(["lean", "tonic", "lean"]) {
        let arguments = ["stm", "--verify", "--isolation", isolation, "--client", client, "--total", "500"];
        let few = ["--keys-per-txn", "3", "--txn-keyspace", "6", "--clients", "10", "--connections", "2"];
        let (document, output) = measured(load(&fake, &[arguments, few].concat()), 0);
        assert_eq!(document["results"]["requests"], 500);
        assert_eq!(failures(&document), []);
        assert!(count(&document, "conflicts") > 50, "{isolation}");
        assert_eq!(count(&document, "transactions committed"), 500);
        let verified = &document["results"]["verified"];
        assert_eq!((&verified["committed"], &verified["found"]), (&1500.into(), &1500.into()));
        let shown = text(&output.stdout);
        for words in [isolation, "3 keys each, verified", "the counters hold 1,500", "of CPU a transaction"] {
            assert!(shown.contains(words), "{words} is not in\n{shown}");
        }
    }
}

/// Without conditions nobody is refused, and updates get lost: that is what the others are for.
#[test]
fn read_committed_never_conflicts() {
    let fake = Fake::start(Faults::default());
    let arguments = ["stm", "--isolation", "c", "--txn-keyspace", "2", "--total", "300", "--clients", "10"];
    let (document, _) = measured(load(&fake, &[&arguments[..], &["--rate", "3000"]].concat()), 0);
    assert_eq!(document["results"]["requests"], 300);
    assert_eq!((count(&document, "conflicts"), count(&document, "transactions committed")), (0, 300));
    assert!(document["results"]["verified"].is_null());
}

#[test]
fn lost_updates_are_found() {
    for isolation in ISOLATIONS {
        let fake = Fake::start(Faults { blind_txn_each: Some(5), ..Faults::default() });
        let arguments =
            ["stm", "--verify", "--isolation", isolation, "--txn-keyspace", "1", "--total", "500"];
        let (document, output) = measured(load(&fake, &[&arguments[..], &["--clients", "20"]].concat()), 1);
        let verified = &document["results"]["verified"];
        assert_eq!(verified["committed"], 500);
        assert!(verified["found"].as_u64().unwrap() < 500, "{verified}");
        let said = text(&output.stderr);
        assert!(
            said.contains("updates were lost") && said.contains("500 increments were committed"),
            "{said}"
        );
    }
}

#[test]
fn conflicts_without_a_reason_are_found() {
    let fake = Fake::start(Faults { false_conflict_each: Some(10), ..Faults::default() });
    let (document, _) = measured(load(&fake, &["stm", "--total", "200"]), 1);
    let found = failures(&document);
    assert!(found.len() == 1 && found[0].0.contains("nothing that the transaction relies on has changed"));
    assert!(document["results"]["wrong"].as_u64().unwrap() > 10);
}

/// A transaction whose fate nobody knows is held against nobody.
#[test]
fn refusals_are_no_lost_updates() {
    let fake = Fake::start(Faults { refuse_each: Some(13), ..Faults::default() });
    // Its counters are put and read by single requests, none of which may be refused: there are fewer of them.
    let arguments = ["stm", "--verify", "--txn-keyspace", "1", "--total", "300", "--clients", "5"];
    let (document, _) = measured(load(&fake, &arguments), 0);
    let verified = &document["results"]["verified"];
    let number = |which: &str| verified[which].as_u64().unwrap();
    let (committed, unknown, found) = (number("committed"), number("unknown"), number("found"));
    assert!(unknown > 0 && (committed..=committed + unknown).contains(&found), "{verified}");
}
