//! The model test must find each of these faults, or it proves nothing.

#[path = "../../tests/mvcc_model/check.rs"]
mod check;
#[path = "../../tests/mvcc_model/model.rs"]
mod model;
#[path = "../../tests/mvcc_model/run.rs"]
mod run;

use run::{Run, Shape};

use super::planted::{Fault, plant};

const SHAPE: Shape = Shape {
    keys: 12,
    hot: 0.4,
    compact: 0.05,
    checkpoint: 0.02,
    restart: 0.002,
    look: 0.04,
    large: 0.0,
    repack: 0.02,
};
/// History long enough for skip pointers of the second level.
const DEEP: Shape = Shape {
    keys: 3,
    hot: 0.9,
    compact: 0.0,
    checkpoint: 0.0,
    restart: 0.0,
    look: 0.04,
    large: 0.0,
    repack: 0.0,
};

/// What the model test says of what is planted in this thread.
pub(crate) fn model() -> Result<(), String> {
    (1..40).try_for_each(|seed| {
        Run::new(seed, SHAPE).steps(300)?;
        if seed < 4 { Run::new(seed, DEEP).steps(400) } else { Ok(()) }
    })
}

/// What the model test says about a few seeds; about more of them when there is something to find.
fn verdict(fault: Option<Fault>, shape: Shape, steps: usize) -> Result<(), String> {
    if let Some(fault) = fault {
        plant(fault);
    }
    (1..if fault.is_some() { 40 } else { 4 }).try_for_each(|seed| Run::new(seed, shape).steps(steps))
}

#[test]
fn an_audit_finds_a_deleted_key_that_is_still_attached() {
    plant(Fault::LeaseNotDetached);
    let dir = tempfile::tempdir().unwrap();
    let file = crate::OsFile::open(&dir.path().join("db")).unwrap();
    let mut store = crate::Store::open(std::sync::Arc::new(file), crate::Options::default()).unwrap();
    let mut write = store.begin();
    write.put(b"k", b"", 7).unwrap();
    assert_eq!(write.view_current().audit().unwrap(), [""; 0]);
    write.delete(b"k").unwrap();
    assert_eq!(write.view_current().audit().unwrap(), ["1 keys are attached to leases, 0 say so"]);
    write.finish().unwrap();
}

#[test]
fn a_sound_store_passes() {
    assert_eq!(verdict(None, SHAPE, 300), Ok(()));
    assert_eq!(verdict(None, DEEP, 400), Ok(()));
}

#[test]
fn a_compaction_that_drops_a_tombstone_at_its_revision_is_found() {
    assert!(verdict(Some(Fault::TombstoneAtCompact), SHAPE, 300).unwrap_err().contains("records"));
}

#[test]
fn a_compaction_that_forgets_spared_tombstones_is_found() {
    assert!(verdict(Some(Fault::SparedTombstones), SHAPE, 300).unwrap_err().contains("records"));
}

#[test]
fn a_walk_that_goes_too_far_is_found() {
    assert!(verdict(Some(Fault::WalkTooFar), DEEP, 400).is_err());
}

#[test]
fn a_lease_that_keeps_deleted_keys_is_found() {
    assert!(verdict(Some(Fault::LeaseNotDetached), SHAPE, 300).is_err());
}

#[test]
fn a_checkpoint_without_the_open_extent_is_found() {
    let stopped = std::panic::catch_unwind(|| verdict(Some(Fault::TailNotInCheckpoint), SHAPE, 300));
    assert!(stopped.is_err(), "the tree refuses a checkpoint while a value is open");
}

#[test]
fn a_lost_bitmap_is_found() {
    let found = verdict(Some(Fault::BitmapLost), SHAPE, 300).unwrap_err();
    assert!(found.contains("records") || found.contains("audit"), "{found}");
}

#[test]
fn packing_anew_that_loses_a_record_is_found() {
    assert!(verdict(Some(Fault::RepackLosesRecord), SHAPE, 300).is_err());
}

#[test]
fn extents_that_were_packed_anew_and_do_not_say_so_are_found() {
    assert!(verdict(Some(Fault::PackedAsAppended), SHAPE, 300).is_err());
    assert!(verdict(Some(Fault::ContinuedAsAppended), SHAPE, 300).is_err());
}

#[test]
fn a_search_that_is_off_by_one_is_found() {
    assert!(verdict(Some(Fault::SearchOffByOne), SHAPE, 300).is_err());
}

#[test]
fn a_view_that_sees_more_than_was_published_is_found() {
    assert!(verdict(Some(Fault::TailGrowsInView), SHAPE, 300).is_err());
}
