//! One transaction: what it has read so far, and its messages.

use std::io::Write;

use super::super::workload::{OLD, Source, Wrong, encode};
use super::answer::{self, Commit, Found};
use super::arguments::Isolation;

/// Digits of a counter, which never change in number.
const DIGITS: usize = 20;
/// Fields of `Compare`, and values of its enumerations.
const EQUAL: u64 = 0;
const LESS: u64 = 2;
const MOD: u64 = 2;

/// A transaction of one client.
#[derive(Default)]
pub(super) struct Attempt {
    pub(super) keys: Vec<Vec<u8>>,
    /// Of as many of the keys, in their order.
    reads: Vec<Read>,
    /// The writes are on their way: if no answer comes, their fate is unknown.
    pub(super) is_committing: bool,
    /// The highest revision that was answered to anybody when the last call was sent.
    pub(super) seen: i64,
    scratch: Scratch,
}

/// What was read of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Read {
    /// In the answer's header.
    revision: i64,
    mod_revision: i64,
    counter: u64,
}

/// Messages within messages are written here first, because their length stands before them.
#[derive(Default)]
struct Scratch {
    outer: Vec<u8>,
    inner: Vec<u8>,
    value: Vec<u8>,
}

/// What is written.
pub(super) enum Writes<'a> {
    /// One more than was read.
    Increments,
    /// Whatever comes next.
    Values(&'a mut Source),
}

impl Attempt {
    /// Nothing read yet.
    pub(super) fn begin(&mut self) {
        self.reads.clear();
        self.is_committing = false;
    }

    pub(super) fn has_read_all(&self) -> bool {
        self.reads.len() == self.keys.len()
    }

    /// The revision that all further reads are of, if so.
    fn base(&self, isolation: Isolation) -> Option<i64> {
        self.reads.first().filter(|_| isolation.has_one_revision()).map(|first| first.revision)
    }

    /// Appends the `RangeRequest` of the next key.
    pub(super) fn encode_read(&self, isolation: Isolation, message: &mut Vec<u8>) {
        let base = self.base(isolation);
        encode::bytes(1, &self.keys[self.reads.len()], message);
        encode::number(4, base.unwrap_or(0).cast_unsigned(), message);
        let serializable = base.is_some() || !isolation.has_one_revision();
        encode::number(7, serializable.into(), message);
    }

    /// Takes in its answer, and returns the revision in the header.
    pub(super) fn take_read(
        &mut self,
        isolation: Isolation,
        is_counter: bool,
        answer: &[u8],
    ) -> Result<i64, Wrong> {
        let base = self.base(isolation);
        let (revision, found) = answer::read(answer, &self.keys[self.reads.len()])?;
        if isolation.has_one_revision() && base.is_none() && revision < self.seen {
            return Err(OLD);
        }
        if found.mod_revision > base.unwrap_or(revision) {
            return Err("wrong answer: it shows what was written after the revision it is of");
        }
        self.reads.push(Read::of(revision, found, is_counter)?);
        Ok(revision)
    }

    /// Appends the `TxnRequest` that writes all keys if nothing it relies on has changed.
    pub(super) fn encode_commit(
        &mut self,
        isolation: Isolation,
        mut writes: Writes<'_>,
        message: &mut Vec<u8>,
    ) {
        let Attempt { keys, reads, scratch, .. } = self;
        let first = reads.iter().map(|read| read.revision).min().unwrap_or(0);
        if isolation != Isolation::ReadCommitted {
            for (key, read) in keys.iter().zip(&*reads) {
                scratch.compare(key, EQUAL, read.mod_revision, message);
            }
        }
        if isolation == Isolation::SerializableSnapshots {
            for key in &*keys {
                scratch.compare(key, LESS, first + 1, message);
            }
        }
        for (key, read) in keys.iter().zip(&*reads) {
            scratch.inner.clear();
            match &mut writes {
                Writes::Increments => {
                    write_counter(read.counter + 1, &mut scratch.value);
                    encode::put(key, &scratch.value, &mut scratch.inner);
                }
                Writes::Values(Source { random, values, .. }) => {
                    encode::put(key, values.next(random), &mut scratch.inner);
                }
            }
            scratch.operation(2, 2, message);
        }
        if isolation.has_one_revision() {
            for key in &*keys {
                scratch.inner.clear();
                encode::bytes(1, key, &mut scratch.inner);
                scratch.operation(3, 1, message);
            }
        }
    }

    /// Takes in a conflict: the next attempt begins with what came with it, or from the beginning.
    pub(super) fn conflict(
        &mut self,
        isolation: Isolation,
        is_counter: bool,
        commit: Commit<'_>,
    ) -> Result<(), Wrong> {
        if !isolation.has_one_revision() {
            self.begin();
            return Ok(());
        }
        if commit.reads.len() != self.keys.len() || commit.responses != self.keys.len() {
            return Err("wrong answer: a transaction has fewer or more answers than operations");
        }
        let before = self.reads.iter().map(|read| read.mod_revision);
        if before.eq(commit.reads.iter().map(|found| found.mod_revision)) {
            return Err("wrong answer: a conflict, but nothing that the transaction relies on has changed");
        }
        self.reads.clear();
        for found in commit.reads {
            self.reads.push(Read::of(commit.revision, found, is_counter)?);
        }
        Ok(())
    }
}

impl Read {
    fn of(revision: i64, found: Found<'_>, is_counter: bool) -> Result<Read, Wrong> {
        let counter = if is_counter { counter(found.value)? } else { 0 };
        Ok(Read { revision, mod_revision: found.mod_revision, counter })
    }
}

impl Scratch {
    /// Appends a `Compare` of a key's mod revision.
    fn compare(&mut self, key: &[u8], result: u64, revision: i64, message: &mut Vec<u8>) {
        self.inner.clear();
        encode::number(1, result, &mut self.inner);
        encode::number(2, MOD, &mut self.inner);
        encode::bytes(3, key, &mut self.inner);
        encode::choice(6, revision.cast_unsigned(), &mut self.inner);
        encode::bytes(1, &self.inner, message);
    }

    /// Appends the inner message as an operation of that field to a branch of the transaction.
    fn operation(&mut self, branch: u8, field: u8, message: &mut Vec<u8>) {
        self.outer.clear();
        encode::bytes(field, &self.inner, &mut self.outer);
        encode::bytes(branch, &self.outer, message);
    }
}

/// Writes a counter's value in place of what was there.
pub(super) fn write_counter(counter: u64, into: &mut Vec<u8>) {
    into.clear();
    write!(into, "{counter:0DIGITS$}").expect("memory takes everything");
}

/// Reads a counter's value; a key that is not there counts as 0.
pub(super) fn counter(value: &[u8]) -> Result<u64, Wrong> {
    if value.is_empty() {
        return Ok(0);
    }
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number.ok_or("wrong answer: a counter holds what no transaction has written")
}

#[cfg(test)]
mod tests {
    use api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
    use api::etcdserverpb::request_op::Request;
    use api::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader, TxnRequest};
    use api::mvccpb::KeyValue;
    use prost::Message;

    use super::*;

    fn read(key: &'static str, header: i64, mod_revision: i64, value: &'static str) -> Vec<u8> {
        let header = Some(ResponseHeader { revision: header, ..ResponseHeader::default() });
        let kv = KeyValue { key: key.into(), mod_revision, value: value.into(), ..KeyValue::default() };
        RangeResponse { header, kvs: vec![kv], more: false, count: 1 }.encode_to_vec()
    }

    fn attempt(isolation: Isolation) -> Attempt {
        let mut attempt = Attempt { keys: vec![b"a".to_vec(), b"b".to_vec()], ..Attempt::default() };
        let answers = [("a", 7, 3, "41"), ("b", 9, 5, "")];
        for (key, header, mod_revision, value) in answers {
            let mut message = Vec::new();
            attempt.encode_read(isolation, &mut message);
            let request = RangeRequest::decode(&message[..]).unwrap();
            let is_first = key == "a";
            assert_eq!(request.key, key);
            let base = if isolation.has_one_revision() && !is_first { 7 } else { 0 };
            assert_eq!(request.revision, base, "{isolation:?}");
            assert_eq!(request.serializable, !(isolation.has_one_revision() && is_first));
            let answer = read(key, header, mod_revision, value);
            assert_eq!(attempt.take_read(isolation, true, &answer), Ok(header));
        }
        assert!(attempt.has_read_all());
        attempt
    }

    #[test]
    fn writes_have_the_conditions_of_etcds_client() {
        let mod_is = |revision| Some(TargetUnion::ModRevision(revision));
        for isolation in [
            Isolation::SerializableSnapshots,
            Isolation::Serializable,
            Isolation::RepeatableReads,
            Isolation::ReadCommitted,
        ] {
            let mut message = Vec::new();
            attempt(isolation).encode_commit(isolation, Writes::Increments, &mut message);
            let TxnRequest { compare, success, failure } = TxnRequest::decode(&message[..]).unwrap();
            let found: Vec<_> = compare
                .iter()
                .map(|one| {
                    assert_eq!(one.target(), CompareTarget::Mod);
                    (&one.key[..], one.result(), one.target_union.clone())
                })
                .collect();
            let mut expected = Vec::new();
            if isolation != Isolation::ReadCommitted {
                expected.push((&b"a"[..], CompareResult::Equal, mod_is(3)));
                expected.push((&b"b"[..], CompareResult::Equal, mod_is(5)));
            }
            if isolation == Isolation::SerializableSnapshots {
                // One after the lowest revision that was read at.
                expected.push((&b"a"[..], CompareResult::Less, mod_is(8)));
                expected.push((&b"b"[..], CompareResult::Less, mod_is(8)));
            }
            assert_eq!(found, expected, "{isolation:?}");
            let puts: Vec<_> = success
                .iter()
                .map(|operation| match &operation.request {
                    Some(Request::RequestPut(put)) => (&put.key[..], counter(&put.value).unwrap()),
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(puts, [(&b"a"[..], 42), (&b"b"[..], 1)]);
            assert_eq!(failure.len(), if isolation.has_one_revision() { 2 } else { 0 });
        }
    }

    #[test]
    fn reads_that_cannot_be_are_wrong() {
        let fresh = || Attempt { keys: vec![b"a".to_vec()], seen: 5, ..Attempt::default() };
        let take = |isolation, answer: &[u8]| fresh().take_read(isolation, true, answer).unwrap_err();
        assert_eq!(take(Isolation::Serializable, &read("a", 4, 1, "1")), OLD);
        assert!(fresh().take_read(Isolation::RepeatableReads, true, &read("a", 4, 1, "1")).is_ok());
        let words = take(Isolation::Serializable, &read("a", 6, 7, "1"));
        assert!(words.contains("after the revision"), "{words}");
        let words = take(Isolation::Serializable, &read("b", 6, 6, "1"));
        assert!(words.contains("another key"), "{words}");
        let words = take(Isolation::Serializable, &read("a", 6, 6, "x"));
        assert!(words.contains("no transaction has written"), "{words}");
    }
}
