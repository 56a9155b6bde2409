//! `snapshot`: whole ones count, damaged ones are found, and puts go on beside them.

use super::fake::snapshot::{Fault as SnapshotFault, SNAPSHOT_BYTES};
use super::fake::{Fake, Faults};
use super::{command, failures, load, measured, text};

#[test]
fn snapshots_are_read_to_the_end_and_counted() {
    let fake = Fake::start(Faults::default());
    for client in ["lean", "tonic"] {
        let arguments = ["snapshot", "--streams", "3", "--total", "20", "--client", client];
        let (document, output) = measured(load(&fake, &arguments), 0);
        assert_eq!((&document["results"]["requests"], failures(&document)), (&20.into(), Vec::new()));
        let bytes = 20 * (SNAPSHOT_BYTES as u64 + 32);
        assert_eq!(document["results"]["streamed"]["bytes"], bytes);
        let shown = text(&output.stdout);
        for words in
            ["| snapshot", "| first byte of one", "streamed: ", "of CPU a snapshot", "failures: none"]
        {
            assert!(shown.contains(words), "{words} is not in\n{shown}");
        }
    }
}

#[test]
fn puts_are_told_alone_and_beside_snapshots() {
    let fake = Fake::start(Faults::default());
    let arguments = ["snapshot", "--puts", "2000", "--alone", "300ms", "--duration", "700ms"];
    let (document, _) = measured(load(&fake, &arguments), 0);
    let kinds = document["results"]["kinds"].as_array().unwrap();
    let names: Vec<&str> = kinds.iter().map(|kind| kind["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["snapshot", "first byte of one", "put alone", "put beside snapshots"]);
    let count = |at: usize| {
        let intervals = kinds[at]["timeline"]["intervals"].as_array().unwrap();
        intervals.iter().map(|one| one["count"].as_u64().unwrap()).sum::<u64>()
    };
    // About 600 are due before the first snapshot, and 800 from then on; a busy machine may be late.
    assert!((1200..1600).contains(&(count(2) + count(3))));
    assert!(count(2) >= 300 && count(3) >= 300, "{} and {}", count(2), count(3));
    assert_eq!(document["results"]["requests"], count(0), "throughput is that of the snapshots");
}

#[test]
fn damaged_snapshots_are_found() {
    for (fault, words) in [
        (SnapshotFault::Flip, "its SHA-256 is not that of the bytes that came"),
        (SnapshotFault::Gap, "remaining_bytes does not go with the bytes that came"),
        (SnapshotFault::NoHash, "it ended without the SHA-256"),
    ] {
        let fake = Fake::start(Faults { snapshot: Some(fault), ..Faults::default() });
        let (document, output) = measured(load(&fake, &["snapshot", "--total", "10"]), 1);
        let found = failures(&document);
        assert!(found.len() == 1 && found[0].0.contains(words), "{fault:?}: {found:?}");
        assert_eq!((&document["results"]["wrong"], &document["results"]["requests"]), (&5.into(), &5.into()));
        assert!(text(&output.stderr).contains("5 answers were wrong"));
    }
}

#[test]
fn a_server_without_snapshots_is_told_at_once() {
    let fake = Fake::start(Faults { snapshot: Some(SnapshotFault::Unknown), ..Faults::default() });
    let output = command(&["snapshot", "--endpoints", &fake.address.to_string()]).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.lines().count() == 1 && said.contains("it streams no snapshots"), "{said}");
}
