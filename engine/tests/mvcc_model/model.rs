//! The obvious implementation: every record in one list, every question a scan of it, or of one key's records.

use std::collections::{BTreeMap, BTreeSet};

use engine::{ChangeKind, KeyRange};

/// One change, as etcd would store it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) main: i64,
    pub(crate) sub: i64,
    pub(crate) key: Vec<u8>,
    pub(crate) kind: ChangeKind,
    pub(crate) create: i64,
    pub(crate) version: i64,
    pub(crate) value: Vec<u8>,
    pub(crate) lease: i64,
}

impl Record {
    fn is_tombstone(&self) -> bool {
        self.kind == ChangeKind::Delete
    }

    /// The stored `mvccpb.KeyValue`, written field by field as protobuf demands.
    pub(crate) fn stored(&self) -> Vec<u8> {
        if self.is_tombstone() {
            return bytes_field(1, &self.key);
        }
        let mut out = bytes_field(1, &self.key);
        out.extend(number_field(2, self.create));
        out.extend(number_field(3, self.main));
        out.extend(number_field(4, self.version));
        out.extend(bytes_field(5, &self.value));
        out.extend(number_field(6, self.lease));
        out
    }

    /// The `KeyValue` of the watch event.
    pub(crate) fn event(&self) -> Vec<u8> {
        let mut out = self.stored();
        if self.is_tombstone() {
            out.extend(number_field(3, self.main));
        }
        out
    }
}

fn number(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

fn number_field(field: u8, value: i64) -> Vec<u8> {
    if value == 0 { Vec::new() } else { [vec![field << 3], number(value as u64)].concat() }
}

fn bytes_field(field: u8, bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() {
        return Vec::new();
    }
    [vec![field << 3 | 2], number(bytes.len() as u64), bytes.to_vec()].concat()
}

/// The whole history, forgotten only where nobody asks any more ([`Model::forget`]).
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) records: Vec<Record>,
    /// Places of a key's records in the list, ascending.
    by_key: BTreeMap<Vec<u8>, Vec<usize>>,
    pub(crate) revision: i64,
    pub(crate) compact: i64,
}

impl Model {
    pub(crate) fn new() -> Model {
        Model { records: Vec::new(), by_key: BTreeMap::new(), revision: 1, compact: -1 }
    }

    /// The newest record of each key at or below a revision, tombstones included, in key order.
    pub(crate) fn newest(&self, at: i64) -> BTreeMap<&[u8], &Record> {
        self.newest_in(&KeyRange::all(), at)
    }

    fn newest_in(&self, range: &KeyRange, at: i64) -> BTreeMap<&[u8], &Record> {
        let keys = self.by_key.keys().filter(|key| range.contains(key));
        keys.filter_map(|key| Some((&key[..], self.newest_of(key, at)?))).collect()
    }

    pub(crate) fn get(&self, key: &[u8], at: i64) -> Option<&Record> {
        self.newest_of(key, at).filter(|record| !record.is_tombstone())
    }

    /// The newest record of a key at or below a revision, a tombstone too.
    fn newest_of(&self, key: &[u8], at: i64) -> Option<&Record> {
        let places = self.by_key.get(key)?;
        let newer = places.partition_point(|place| self.records[*place].main <= at);
        Some(&self.records[places[newer.checked_sub(1)?]])
    }

    /// Keeps the records that `keep` says, and what is known of where they are.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Record) -> bool) {
        self.records.retain(keep);
        self.by_key.clear();
        for (place, record) in self.records.iter().enumerate() {
            self.by_key.entry(record.key.clone()).or_default().push(place);
        }
    }

    /// Forgets what no question at or above `compact` can need.
    pub(crate) fn forget(&mut self, compact: i64) {
        let kept: BTreeSet<(i64, i64)> =
            self.kept(compact, i64::MAX).into_iter().map(|record| (record.main, record.sub)).collect();
        self.retain(|record| kept.contains(&(record.main, record.sub)));
    }

    pub(crate) fn range(&self, range: &KeyRange, at: i64) -> Vec<&Record> {
        let newest = self.newest_in(range, at).into_values();
        newest.filter(|record| !record.is_tombstone()).collect()
    }

    pub(crate) fn lease_keys(&self, lease: i64, at: i64) -> Vec<&[u8]> {
        let alive = self.range(&KeyRange::all(), at).into_iter();
        alive.filter(|record| record.lease == lease).map(|record| &record.key[..]).collect()
    }

    /// Applies one change within the write of revision `main`; false for the deletion of a missing key.
    pub(crate) fn change(&mut self, main: i64, key: &[u8], put: Option<(&[u8], i64)>) -> bool {
        let sub = self.records.iter().rev().take_while(|record| record.main == main).count() as i64;
        let before = self.get(key, main).map(|record| (record.create, record.version));
        let record = match (put, before) {
            (None, None) => return false,
            (None, Some(_)) => Record {
                main,
                sub,
                key: key.to_vec(),
                kind: ChangeKind::Delete,
                create: 0,
                version: 0,
                value: Vec::new(),
                lease: 0,
            },
            (Some((value, lease)), before) => Record {
                main,
                sub,
                key: key.to_vec(),
                kind: ChangeKind::Put,
                create: before.map_or(main, |(create, _)| create),
                version: before.map_or(1, |(_, version)| version + 1),
                value: value.to_vec(),
                lease,
            },
        };
        self.by_key.entry(record.key.clone()).or_default().push(self.records.len());
        self.records.push(record);
        self.revision = main;
        true
    }

    /// What a compaction at `compact` leaves of the history up to `revision`.
    pub(crate) fn kept(&self, compact: i64, revision: i64) -> Vec<&Record> {
        let newest = self.newest(compact);
        let keeps = |record: &Record| {
            record.main > compact
                || (newest[&record.key[..]] == record && (!record.is_tombstone() || record.main == compact))
        };
        self.records.iter().filter(|record| record.main <= revision && keeps(record)).collect()
    }

    /// etcd's `HashKV` as its source computes it, after the compaction has finished.
    pub(crate) fn hash_kv(&self, at: i64, compact: i64) -> u32 {
        self.hash(at, compact, |record| !record.is_tombstone())
    }

    /// The hash etcd computes while it compacts at `at`, when `compact` was the compact revision before.
    pub(crate) fn hash_at_compaction(&self, at: i64, compact: i64) -> u32 {
        self.hash(at, compact, |record| !record.is_tombstone() || record.main == at)
    }

    fn hash(&self, at: i64, compact: i64, keeps: impl Fn(&Record) -> bool) -> u32 {
        let keep: BTreeSet<(i64, i64)> = self
            .newest(at)
            .into_values()
            .filter(|record| keeps(record))
            .map(|record| (record.main, record.sub))
            .collect();
        let mut hash = crc32c::crc32c(b"key");
        for record in self.kept(compact, at) {
            if record.main <= compact && !keep.is_empty() && !keep.contains(&(record.main, record.sub)) {
                continue;
            }
            if record.main == compact && record.is_tombstone() {
                continue;
            }
            let mut key = [&record.main.to_be_bytes()[..], b"_", &record.sub.to_be_bytes()].concat();
            if record.is_tombstone() {
                key.push(b't');
            }
            hash = crc32c::crc32c_append(hash, &[key, record.stored()].concat());
        }
        hash
    }
}

#[test]
fn the_model_computes_the_hashes_etcd_publishes() {
    let mut model = Model::new();
    assert_eq!(model.hash_kv(1, -1), 1084519789);
    model.change(2, b"test-key", Some((b"test-value", 1)));
    assert_eq!(model.hash_kv(2, -1), 645561629);
}
