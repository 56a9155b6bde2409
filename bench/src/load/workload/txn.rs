//! Transactions: of puts only, or now of puts and now of reads.

use rand::RngExt;

use super::super::answer;
use super::range::What;
use super::{Asked, Expected, GARBLED, NO_REVISION, OLD, Right, Source, Workload, Wrong, encode, written};
use crate::client::Method;

/// Transactions of as many puts each.
pub(crate) struct TxnPut {
    source: Source,
    operations: u64,
    scratch: Scratch,
}

/// Messages within messages are written here first, because their length stands before them.
#[derive(Default)]
struct Scratch {
    name: Vec<u8>,
    request: Vec<u8>,
    operation: Vec<u8>,
}

impl TxnPut {
    pub(crate) fn new(source: Source, operations: u64) -> TxnPut {
        TxnPut { source, operations, scratch: Scratch::default() }
    }
}

impl Workload for TxnPut {
    fn kinds(&self) -> &'static [&'static str] {
        &["txn put"]
    }

    fn next(&mut self, message: &mut Vec<u8>, _: &mut Vec<u8>) -> Asked {
        self.scratch.puts(&mut self.source, self.operations, message);
        Asked { method: Method::Txn, kind: 0 }
    }

    fn check(&self, expected: Expected<'_>, answer: &[u8]) -> Result<Right, Wrong> {
        written(complete(answer, self.operations)?.revision, expected.seen).map(Right::of)
    }
}

impl Scratch {
    /// A `TxnRequest` of puts. A transaction may not put a key twice, so they are neighbors.
    fn puts(&mut self, source: &mut Source, operations: u64, message: &mut Vec<u8>) {
        let Source { random, keys, values } = source;
        let first = keys.number(random);
        for number in first..first + operations {
            keys.write(number, &mut self.name);
            self.request.clear();
            encode::put(&self.name, values.next(random), &mut self.request);
            self.add(2, message);
        }
    }

    /// A `TxnRequest` of reads.
    fn ranges(&mut self, source: &mut Source, operations: u64, what: &What, message: &mut Vec<u8>) {
        for _ in 0..operations {
            self.name.clear();
            self.request.clear();
            what.encode(source, &mut self.name, &mut self.request);
            self.add(1, message);
        }
    }

    /// Appends the request as an operation of that field to the branch that is taken.
    fn add(&mut self, field: u8, message: &mut Vec<u8>) {
        self.operation.clear();
        encode::bytes(field, &self.request, &mut self.operation);
        encode::bytes(2, &self.operation, message);
    }
}

/// A `TxnResponse` that succeeded with all its operations.
fn complete(answer: &[u8], operations: u64) -> Result<answer::Txn, Wrong> {
    let txn = answer::txn(answer).map_err(|_| GARBLED)?;
    match txn {
        answer::Txn { succeeded: false, .. } => {
            Err("wrong answer: a transaction without conditions did not succeed")
        }
        answer::Txn { responses, .. } if responses != operations => {
            Err("wrong answer: a transaction has fewer or more answers than operations")
        }
        answer::Txn { revision: ..=0, .. } => Err(NO_REVISION),
        txn => Ok(txn),
    }
}

/// Transactions of puts and transactions of reads.
pub(crate) struct TxnMixed {
    source: Source,
    operations: u64,
    /// 0 to 1.
    reads: f64,
    what: What,
    scratch: Scratch,
}

const READ: usize = 0;
const WRITE: usize = 1;

impl TxnMixed {
    pub(crate) fn new(source: Source, operations: u64, reads: f64, what: What) -> TxnMixed {
        TxnMixed { source, operations, reads, what, scratch: Scratch::default() }
    }
}

impl Workload for TxnMixed {
    fn kinds(&self) -> &'static [&'static str] {
        &["txn range", "txn put"]
    }

    fn next(&mut self, message: &mut Vec<u8>, _: &mut Vec<u8>) -> Asked {
        let kind = if self.source.random.random::<f64>() < self.reads { READ } else { WRITE };
        match kind {
            READ => self.scratch.ranges(&mut self.source, self.operations, &self.what, message),
            _ => self.scratch.puts(&mut self.source, self.operations, message),
        }
        Asked { method: Method::Txn, kind }
    }

    fn check(&self, expected: Expected<'_>, answer: &[u8]) -> Result<Right, Wrong> {
        let answer::Txn { revision, has_found, .. } = complete(answer, self.operations)?;
        match expected.kind {
            WRITE => written(revision, expected.seen).map(Right::of),
            _ if !self.what.serializable && revision < expected.seen => Err(OLD),
            _ => Ok(Right { revision, is_empty: !has_found }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use api::etcdserverpb::request_op::Request;
    use api::etcdserverpb::{RequestOp, TxnRequest};
    use prost::Message;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::super::super::{
        keys::{Keys, Shape, Spread},
        values::{Sizes, Values},
    };
    use super::*;

    fn source() -> Source {
        Source {
            random: ChaCha8Rng::seed_from_u64(3),
            keys: Keys::new(Shape::Plain, 8, 5, Spread::Sequential, &Arc::default()),
            values: Values::new(Sizes { least: 3, most: 3 }, ChaCha8Rng::seed_from_u64(4)),
        }
    }

    fn decoded(message: &[u8]) -> Vec<Request> {
        let TxnRequest { compare, success, failure } = TxnRequest::decode(message).unwrap();
        assert!(compare.is_empty() && failure.is_empty());
        success.into_iter().map(|RequestOp { request }| request.unwrap()).collect()
    }

    #[test]
    fn the_generated_types_read_what_is_written() {
        let mut message = Vec::new();
        TxnPut::new(source(), 5).next(&mut message, &mut Vec::new());
        let keys: Vec<_> = decoded(&message)
            .into_iter()
            .map(|request| match request {
                Request::RequestPut(put) => (put.value.len(), String::from_utf8(put.key.to_vec()).unwrap()),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected: Vec<_> = (0..5).map(|number| (3, format!("{number:08}"))).collect();
        assert_eq!(keys, expected, "five different keys");
        let what = What { limit: 7, serializable: true, keys_only: true, ..What::default() };
        let mut mixed = TxnMixed::new(source(), 2, 1.0, what);
        message.clear();
        assert_eq!(mixed.next(&mut message, &mut Vec::new()).kind, READ);
        for request in decoded(&message) {
            let Request::RequestRange(range) = request else { panic!("{request:?}") };
            assert_eq!(
                (range.limit, range.serializable, range.keys_only, range.count_only),
                (7, true, true, false)
            );
            assert!(range.key.len() == 8 && range.range_end.is_empty());
        }
        mixed.reads = 0.0;
        message.clear();
        assert_eq!(mixed.next(&mut message, &mut Vec::new()).kind, WRITE);
        assert!(matches!(decoded(&message)[..], [Request::RequestPut(_), Request::RequestPut(_)]));
    }
}
