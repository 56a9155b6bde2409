//! The puts beside snapshots.

use std::sync::atomic::Ordering;

use super::super::workload::{Asked, Expected, Put, Right, Source, Workload, Wrong};
use super::{PUT_ALONE, PUT_BESIDE, SnapshotLoad};

/// Puts that know whether a snapshot was under way when they were sent.
pub(in crate::load) struct Beside {
    put: Put,
    load: SnapshotLoad,
}

impl Beside {
    pub(in crate::load) fn new(source: Source, load: SnapshotLoad) -> Beside {
        Beside { put: Put::new(source), load }
    }
}

impl Workload for Beside {
    fn kinds(&self) -> &'static [&'static str] {
        self.load.kinds()
    }

    fn next(&mut self, message: &mut Vec<u8>, key: &mut Vec<u8>) -> Asked {
        // It only names a row; nothing else depends on when it is seen.
        let is_alone = self.load.running.load(Ordering::Relaxed) == 0;
        Asked { kind: if is_alone { PUT_ALONE } else { PUT_BESIDE }, ..self.put.next(message, key) }
    }

    fn check(&self, expected: Expected<'_>, answer: &[u8]) -> Result<Right, Wrong> {
        self.put.check(expected, answer)
    }
}
