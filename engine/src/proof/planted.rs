//! Every fault that was ever planted, and the programme that must find it. A programme that finds none of them proves
//! nothing. The mistakes between log and store are in the tests of the whole store.

use crate::btree::Planted;
use crate::btree::tests::{crash as tree_crash, faults as tree_faults, model as tree_model, readers, swap};
use crate::mvcc::canaries;
use crate::planted::{Fault, replant};

use super::{crash, damage, faults, restart};

/// Runs part of a programme on what is planted in this thread; an error says that something was found.
type Programme = fn() -> Result<(), String>;

const CRASH: Programme = || crash::programme(60).map(drop);
const RESTART: Programme = || restart::programme(30).map(drop);
const FAULTS: Programme = || faults::programme().map(drop);
const DAMAGE: Programme = || damage::programme(20_000).map(drop);
const MODEL: Programme = canaries::model;
const TREE_CRASH: Programme = || tree_crash::programme(planted(), 100).map(drop);
const TREE_MODEL: Programme = tree_model::programme;
const READERS: Programme = || (1..9).try_for_each(|seed| readers::run(seed, 250, planted()));
const SWAP: Programme = || (0..20).try_for_each(|seed| swap::run(seed, 12, 400, planted()).map(drop));
const FULL_DISK: Programme = || {
    let mut cases = (0..3).flat_map(|seed| (1..8).map(move |number| (seed, number)));
    cases.try_for_each(|(seed, number)| tree_faults::full_script(seed, number, planted()).map(drop))
};

fn planted() -> Planted {
    match crate::planted::here() {
        Some(Fault::Tree(planted)) => planted,
        _ => Planted::Nothing,
    }
}

/// Which programme finds what.
const TABLE: &[(Fault, &str, Programme)] = &[
    (Fault::Tree(Planted::MetaBeforeData), "power cuts of the tree", TREE_CRASH),
    (Fault::Tree(Planted::ReuseBeforeDurable), "power cuts of the tree", TREE_CRASH),
    (Fault::Tree(Planted::MetaBeforeData), "power cuts of the store", CRASH),
    (Fault::Tree(Planted::ReuseBeforeDurable), "power cuts of the store", CRASH),
    (Fault::NoMetaSync, "power cuts of the store", CRASH),
    (Fault::MapForgets, "power cuts of the store", CRASH),
    (Fault::OpensUnsynced, "restarts, then power cuts", RESTART),
    (Fault::OpensFromCache, "restarts, then power cuts", RESTART),
    (Fault::PoisonForgotten, "failing disks", FAULTS),
    (Fault::ChecksumUnchecked, "damage", DAMAGE),
    (Fault::StaleAccepted, "damage", DAMAGE),
    (Fault::Tree(Planted::ReuseUnderReader), "readers beside a writer", READERS),
    (Fault::Tree(Planted::SwapSkips), "checkpoints taken over in slices", SWAP),
    (Fault::Tree(Planted::LeakWithoutSpace), "full disks", FULL_DISK),
    (Fault::StaleWay, "the model of the tree", TREE_MODEL),
    (Fault::CountDrifts, "the model", MODEL),
    (Fault::TombstoneAtCompact, "the model", MODEL),
    (Fault::SparedTombstones, "the model", MODEL),
    (Fault::WalkTooFar, "the model", MODEL),
    (Fault::LeaseNotDetached, "the model", MODEL),
    (Fault::TailNotInCheckpoint, "the model", MODEL),
    (Fault::BitmapLost, "the model", MODEL),
    (Fault::RepackLosesRecord, "the model", MODEL),
    (Fault::PackedAsAppended, "the model", MODEL),
    (Fault::ContinuedAsAppended, "the model", MODEL),
    (Fault::SearchOffByOne, "the model", MODEL),
    (Fault::TailGrowsInView, "the model", MODEL),
];

#[test]
fn every_planted_fault_is_found() {
    for (fault, name, programme) in TABLE {
        replant(Some(*fault));
        // A fault may end in a panic of the engine, whose assertions stay on in production: that is finding it.
        let found = std::panic::catch_unwind(programme);
        replant(None);
        match found {
            Ok(Ok(())) => panic!("{fault:?} was not found by {name}"),
            Ok(Err(finding)) => println!("{fault:?}: {name}: {}", finding.lines().next().unwrap_or_default()),
            Err(_) => println!("{fault:?}: {name}: the engine stopped"),
        }
    }
}
