//! Single puts.

use super::super::answer;
use super::{Asked, Expected, GARBLED, Right, Source, Workload, Wrong, encode, written};
use crate::client::Method;

/// One put after the other.
pub(crate) struct Put {
    source: Source,
    name: Vec<u8>,
}

impl Put {
    pub(crate) fn new(source: Source) -> Put {
        Put { source, name: Vec::new() }
    }
}

impl Workload for Put {
    fn kinds(&self) -> &'static [&'static str] {
        &["put"]
    }

    fn next(&mut self, message: &mut Vec<u8>, _: &mut Vec<u8>) -> Asked {
        let Source { random, keys, values } = &mut self.source;
        keys.write(keys.number(random), &mut self.name);
        encode::put(&self.name, values.next(random), message);
        Asked { method: Method::Put, kind: 0 }
    }

    fn check(&self, expected: Expected<'_>, answer: &[u8]) -> Result<Right, Wrong> {
        written(answer::revision(answer).map_err(|_| GARBLED)?, expected.seen).map(Right::of)
    }
}
