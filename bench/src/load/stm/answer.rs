//! Answers with values in them, read without copying.

use super::super::answer::{Field, Fields, Garbled};
use super::super::workload::{GARBLED, NO_REVISION, Wrong};

/// What was read of one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found<'b> {
    /// 0 where there is no such key.
    pub(super) mod_revision: i64,
    pub(super) value: &'b [u8],
}

/// A `RangeResponse` of one key: the revision in its header, and the key.
pub(super) fn read<'b>(answer: &'b [u8], key: &[u8]) -> Result<(i64, Found<'b>), Wrong> {
    let (revision, found) = range(answer, key)?;
    if revision <= 0 { Err(NO_REVISION) } else { Ok((revision, found)) }
}

fn range<'b>(answer: &'b [u8], key: &[u8]) -> Result<(i64, Found<'b>), Wrong> {
    let (mut revision, mut found, mut kvs) = (0, Found::default(), 0);
    let mut fields = Fields(answer);
    while let Some(field) = fields.next().map_err(garbled)? {
        match field {
            (1, Field::Bytes(header)) => revision = header_revision(header)?,
            (2, Field::Bytes(kv)) => {
                let named;
                (named, found) = key_value(kv)?;
                kvs += 1;
                if named != key || kvs > 1 {
                    return Err("wrong answer: it is about another key");
                }
            }
            _ => {}
        }
    }
    Ok((revision, found))
}

fn header_revision(header: &[u8]) -> Result<i64, Wrong> {
    let mut fields = Fields(header);
    let mut revision = 0;
    while let Some(field) = fields.next().map_err(garbled)? {
        if let (3, Field::Number(number)) = field {
            revision = number.cast_signed();
        }
    }
    Ok(revision)
}

fn key_value(kv: &[u8]) -> Result<(&[u8], Found<'_>), Wrong> {
    let (mut key, mut found) = (&[][..], Found::default());
    let mut fields = Fields(kv);
    while let Some(field) = fields.next().map_err(garbled)? {
        match field {
            (1, Field::Bytes(bytes)) => key = bytes,
            (3, Field::Number(number)) => found.mod_revision = number.cast_signed(),
            (5, Field::Bytes(bytes)) => found.value = bytes,
            _ => {}
        }
    }
    Ok((key, found))
}

fn garbled(Garbled: Garbled) -> Wrong {
    GARBLED
}

/// The `TxnResponse` of a transaction's writes.
pub(super) struct Commit<'b> {
    pub(super) revision: i64,
    pub(super) succeeded: bool,
    pub(super) responses: usize,
    /// On conflict what was asked for in that case: the keys as they are.
    pub(super) reads: Vec<Found<'b>>,
}

/// Reads it; `keys` are those of the transaction, in its order.
pub(super) fn commit<'b>(answer: &'b [u8], keys: &[Vec<u8>]) -> Result<Commit<'b>, Wrong> {
    let mut commit = Commit { revision: 0, succeeded: false, responses: 0, reads: Vec::new() };
    let mut fields = Fields(answer);
    while let Some(field) = fields.next().map_err(garbled)? {
        match field {
            (1, Field::Bytes(header)) => commit.revision = header_revision(header)?,
            (2, Field::Number(succeeded)) => commit.succeeded = succeeded != 0,
            (3, Field::Bytes(response)) => {
                let key = keys.get(commit.responses);
                commit.responses += 1;
                if let (Some((1, Field::Bytes(answer))), Some(key)) =
                    (Fields(response).next().map_err(garbled)?, key)
                {
                    commit.reads.push(range(answer, key)?.1);
                }
            }
            _ => {}
        }
    }
    if commit.revision <= 0 { Err(NO_REVISION) } else { Ok(commit) }
}
