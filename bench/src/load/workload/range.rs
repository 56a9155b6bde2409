//! Reads of one key or of many.

use super::super::answer;
use super::{Asked, Expected, GARBLED, NO_REVISION, OLD, Right, Source, Workload, Wrong, encode};
use crate::client::Method;

/// What is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct What {
    /// Always these; without, single keys out of the key space.
    pub(crate) fixed: Option<(Vec<u8>, Vec<u8>)>,
    /// At most so many keys; 0 is no limit.
    pub(crate) limit: u64,
    /// Without asking the other members.
    pub(crate) serializable: bool,
    /// Only how many there are.
    pub(crate) count_only: bool,
    /// Without values.
    pub(crate) keys_only: bool,
}

impl What {
    /// Appends a `RangeRequest`, and to `name` what [`What::check`] is to be told.
    pub(super) fn encode(&self, source: &mut Source, name: &mut Vec<u8>, message: &mut Vec<u8>) {
        let (key, end) = match &self.fixed {
            Some((key, end)) => {
                name.extend_from_slice(key);
                (&key[..], &end[..])
            }
            None => {
                let number = source.keys.number(&mut source.random);
                source.keys.write(number, name);
                (&name[..], &[][..])
            }
        };
        encode::bytes(1, key, message);
        if !end.is_empty() {
            encode::bytes(2, end, message);
        }
        encode::number(3, self.limit, message);
        encode::number(7, self.serializable.into(), message);
        encode::number(8, self.keys_only.into(), message);
        encode::number(9, self.count_only.into(), message);
    }

    /// Whether a `RangeResponse` can be an answer to what was asked.
    pub(super) fn check(&self, expected: Expected<'_>, answer: &[u8]) -> Result<Right, Wrong> {
        let range = answer::range(answer).map_err(|_| GARBLED)?;
        let many = self.fixed.as_ref().is_some_and(|(_, end)| !end.is_empty());
        let kvs = range.kvs.cast_signed();
        if range.revision <= 0 {
            return Err(NO_REVISION);
        }
        // A serializable read may be answered by a member that lags behind.
        if !self.serializable && range.revision < expected.seen {
            return Err(OLD);
        }
        if !range.is_sorted || kvs > 0 && range.first < expected.key {
            return Err("wrong answer: its keys are not the ones asked for, in order");
        }
        if !many && kvs > 0 && range.first != expected.key || !many && range.count > 1 {
            return Err("wrong answer: it is about another key");
        }
        if self.limit > 0 && range.kvs > self.limit {
            return Err("wrong answer: more keys than the limit");
        }
        let right = match () {
            () if self.count_only => kvs == 0 && !range.more,
            () if range.more => self.limit > 0 && range.kvs == self.limit && kvs < range.count,
            () => kvs == range.count,
        };
        if right {
            Ok(Right { revision: range.revision, is_empty: range.count == 0 })
        } else {
            Err("wrong answer: keys, count and `more` contradict each other")
        }
    }
}

/// One read after the other.
pub(crate) struct Range {
    source: Source,
    what: What,
}

impl Range {
    pub(crate) fn new(source: Source, what: What) -> Range {
        Range { source, what }
    }
}

impl Workload for Range {
    fn kinds(&self) -> &'static [&'static str] {
        &["range"]
    }

    fn next(&mut self, message: &mut Vec<u8>, key: &mut Vec<u8>) -> Asked {
        self.what.encode(&mut self.source, key, message);
        Asked { method: Method::Range, kind: 0 }
    }

    fn check(&self, expected: Expected<'_>, answer: &[u8]) -> Result<Right, Wrong> {
        self.what.check(expected, answer)
    }
}

#[cfg(test)]
mod tests {
    use api::etcdserverpb::{RangeResponse, ResponseHeader};
    use api::mvccpb::KeyValue;
    use prost::Message;

    use super::*;

    fn answer(revision: i64, keys: &[&'static str], count: i64, more: bool) -> Vec<u8> {
        let kvs = keys.iter().map(|key| KeyValue { key: (*key).into(), ..KeyValue::default() }).collect();
        let header = Some(ResponseHeader { revision, ..ResponseHeader::default() });
        RangeResponse { header, kvs, more, count }.encode_to_vec()
    }

    #[test]
    fn every_lie_is_found() {
        let one = What::default();
        let many = What { fixed: Some((b"b".to_vec(), b"z".to_vec())), limit: 2, ..What::default() };
        let count = What { count_only: true, ..many.clone() };
        let check = |what: &What, answer: &[u8]| what.check(Expected { kind: 0, key: b"b", seen: 5 }, answer);
        let said = |what: &What, answer: &[u8]| check(what, answer).map(|right| right.revision);
        let is_empty = |answer: &[u8]| check(&one, answer).unwrap().is_empty;
        assert!(is_empty(&answer(5, &[], 0, false)) && !is_empty(&answer(5, &["b"], 1, false)));
        assert_eq!(said(&one, &answer(5, &["b"], 1, false)), Ok(5));
        assert_eq!(said(&one, &answer(5, &[], 0, false)), Ok(5));
        assert_eq!(said(&many, &answer(6, &["b", "c"], 3, true)), Ok(6));
        assert_eq!(said(&count, &answer(6, &[], 3, false)), Ok(6));
        let lies: &[(&What, Vec<u8>, &str)] = &[
            (&one, answer(0, &["b"], 1, false), "no revision"),
            (&one, answer(4, &["b"], 1, false), "older"),
            (&one, answer(5, &["c"], 1, false), "another key"),
            (&one, answer(5, &["b"], 2, false), "another key"),
            (&one, answer(5, &[], 1, false), "contradict"),
            (&many, answer(5, &["a"], 1, false), "not the ones"),
            (&many, answer(5, &["d", "c"], 2, false), "not the ones"),
            (&many, answer(5, &["b", "c", "d"], 3, false), "limit"),
            (&many, answer(5, &["b"], 3, true), "contradict"),
            (&many, answer(5, &["b", "c"], 2, true), "contradict"),
            (&count, answer(5, &["b"], 1, false), "contradict"),
            (&one, vec![0xff], "not the message"),
        ];
        for (what, lie, why) in lies {
            assert!(said(what, lie).is_err_and(|words| words.contains(why)), "{why}: {:?}", said(what, lie));
        }
        let lagging = What { serializable: true, ..What::default() };
        assert_eq!(said(&lagging, &answer(4, &["b"], 1, false)), Ok(4));
    }
}
