//! Which term each index of the log carries, in one number per term.

use crate::batch::{Entry, Position};

/// Runs of equal terms, oldest first. The first run begins at the log's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms(Vec<Position>);

impl Terms {
    pub(crate) fn new(start: Position) -> Self {
        Self(vec![start])
    }

    /// The term at an index that is not below the oldest one remembered.
    pub(crate) fn at(&self, index: u64) -> u64 {
        let after = self.0.partition_point(|run| run.index <= index);
        self.0[after.saturating_sub(1)].term
    }

    pub(crate) fn append(&mut self, entries: &[Entry]) {
        for entry in entries {
            if self.0.last().is_none_or(|run| run.term != entry.term) {
                self.0.push(Position { index: entry.index, term: entry.term });
            }
        }
    }

    /// Forgets everything after an index.
    pub(crate) fn truncate(&mut self, index: u64) {
        let after = self.0.partition_point(|run| run.index <= index);
        self.0.truncate(after.max(1));
    }

    /// Forgets what only indexes below need.
    pub(crate) fn forget_before(&mut self, index: u64) {
        let after = self.0.partition_point(|run| run.index <= index);
        self.0.drain(..after.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn terms_follow_appends_and_truncations() {
        let entry = |index, term| Entry { index, term, kind: 0, data: Bytes::new() };
        let mut terms = Terms::new(Position { index: 4, term: 1 });
        terms.append(&[entry(5, 1), entry(6, 2), entry(7, 2), entry(8, 5)]);
        assert_eq!([4, 5, 6, 7, 8].map(|index| terms.at(index)), [1, 1, 2, 2, 5]);
        terms.truncate(6);
        terms.append(&[entry(7, 6)]);
        assert_eq!([4, 5, 6, 7].map(|index| terms.at(index)), [1, 1, 2, 6]);
        terms.forget_before(6);
        assert_eq!([6, 7].map(|index| terms.at(index)), [2, 6]);
    }
}
