//! Single puts and single reads, mixed at random.

use rand::RngExt;

use super::super::answer;
use super::range::What;
use super::{Asked, Expected, GARBLED, Right, Source, Workload, Wrong, encode, written};
use crate::client::Method;

/// Reads and writes.
pub(crate) struct Mixed {
    source: Source,
    /// 0 to 1.
    reads: f64,
    what: What,
    name: Vec<u8>,
}

const READ: usize = 0;
const WRITE: usize = 1;

impl Mixed {
    pub(crate) fn new(source: Source, reads: f64, what: What) -> Mixed {
        Mixed { source, reads, what, name: Vec::new() }
    }
}

impl Workload for Mixed {
    fn kinds(&self) -> &'static [&'static str] {
        &["range", "put"]
    }

    fn next(&mut self, message: &mut Vec<u8>, key: &mut Vec<u8>) -> Asked {
        if self.source.random.random::<f64>() < self.reads {
            self.what.encode(&mut self.source, key, message);
            return Asked { method: Method::Range, kind: READ };
        }
        let Source { random, keys, values } = &mut self.source;
        keys.write(keys.number(random), &mut self.name);
        encode::put(&self.name, values.next(random), message);
        Asked { method: Method::Put, kind: WRITE }
    }

    fn check(&self, expected: Expected<'_>, answer: &[u8]) -> Result<Right, Wrong> {
        match expected.kind {
            READ => self.what.check(expected, answer),
            _ => written(answer::revision(answer).map_err(|_| GARBLED)?, expected.seen).map(Right::of),
        }
    }
}
