//! Compares what a view shows with what the model knows. Every difference is an `Err`: a check must be able
//! to fail, and the canaries see to it that it does.

use std::collections::BTreeSet;

use engine::{ChangeKind, Contents, End, Head, KeyRange, View};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::check;
use super::model::{Model, Record};

pub(crate) type Check = Result<(), String>;

/// `Err` unless both sides are equal.
macro_rules! agree {
    ($actual:expr, $expected:expr, $($context:tt)+) => {{
        let (actual, expected) = ($actual, $expected);
        if actual != expected {
            let texts = [format!("{actual:?}"), format!("{expected:?}")];
            return Err(check::difference(&format!($($context)+), texts));
        }
    }};
}
pub(crate) use agree;

/// Two long texts cut down to where they differ.
pub(crate) fn difference(context: &str, texts: [String; 2]) -> String {
    let same = texts[0].bytes().zip(texts[1].bytes()).take_while(|(one, other)| one == other).count();
    let [actual, expected] = texts.map(|text| {
        let around = same.saturating_sub(200).min(text.len())..(same + 200).min(text.len());
        String::from_utf8_lossy(&text.as_bytes()[around]).into_owned()
    });
    format!("{context}: store says {actual}, model says {expected}")
}

/// What is compared of a key at a revision.
type Seen = (Vec<u8>, Head, Vec<u8>);

fn expected(record: &Record) -> Seen {
    let head = Head {
        create: record.create,
        modified: record.main,
        sub: record.sub,
        version: record.version,
        lease: record.lease,
    };
    (record.key.clone(), head, record.stored())
}

pub(crate) fn seen(contents: &Contents<'_>, range: &KeyRange, at: i64) -> Result<Vec<Seen>, String> {
    let mut keys = contents.range(range, at);
    let mut all = Vec::new();
    while let Some(item) = keys.try_next().map_err(|error| error.to_string())? {
        let record = item.record().map_err(|error| error.to_string())?;
        all.push((item.key.to_vec(), item.head, record.to_vec()));
    }
    Ok(all)
}

/// Everything a client could ask at one revision, about one random range and one random key. `state` is the
/// revision and the compact revision that the contents are of.
pub(crate) fn check_reads(
    contents: &Contents<'_>,
    model: &Model,
    at: i64,
    keys: &[Vec<u8>],
    rng: &mut ChaCha8Rng,
) -> Check {
    let effective = contents.check(at).map_err(|error| format!("{at} is readable: {error}"))?;
    let range = random_range(keys, rng);
    let expected: Vec<_> = model.range(&range, effective).into_iter().map(expected).collect();
    agree!(seen(contents, &range, at)?, expected.clone(), "range {range:?} at {at}");
    let count = contents.count(&range, at).map_err(|error| error.to_string())?;
    agree!(count, expected.len() as u64, "count of {range:?} at {at}");
    if let Some((last, _, _)) = expected.first() {
        let mut start = last.clone();
        start.push(0);
        let rest = KeyRange { start: start.into(), end: range.end.clone() };
        if range.end != End::Single {
            agree!(seen(contents, &rest, at)?, expected[1..].to_vec(), "rest of {range:?} at {at}");
        }
    }
    let key = &keys[rng.random_range(0..keys.len())];
    let item = contents.get(key, at).map_err(|error| error.to_string())?;
    let found = match &item {
        Some(item) => Some((item.head, item.value().map_err(|error| error.to_string())?.to_vec())),
        None => None,
    };
    let record = model.get(key, effective);
    agree!(
        found,
        record.map(|record| (self::expected(record).1, record.value.clone())),
        "get {} at {at}",
        key.escape_ascii()
    );
    Ok(())
}

/// What only a published view answers: hashes, history, leases.
pub(crate) fn check_view(view: &View, model: &Model, pending: bool, rng: &mut ChaCha8Rng) -> Check {
    let (revision, compact) = (view.revision(), view.compact_revision());
    let at = rng.random_range(compact.max(1)..=revision);
    let hash = view.hash_kv(at).map_err(|error| error.to_string())?;
    agree!(hash.hash, model.hash_kv(at, compact), "hash at {at}, compacted at {compact}");
    let hash = view.hash_at_compaction(at).map_err(|error| error.to_string())?;
    let expected = model.hash_at_compaction(at, compact);
    agree!(hash.hash, expected, "hash of a compaction at {at} after one at {compact}");

    let kept = model.kept(compact, revision);
    let mut stored = Vec::new();
    for change in view.changes(0) {
        let change = change.map_err(|error| error.to_string())?;
        stored.push((change.revision.main, change.revision.sub, change.kind, change.record.to_vec()));
    }
    // While the compaction is under way, what it has not visited yet is still there.
    let from = if pending { compact + 1 } else { 0 };
    let after = |main: &i64| *main >= from;
    let expected: Vec<_> = kept
        .iter()
        .filter(|record| after(&record.main))
        .map(|record| (record.main, record.sub, record.kind, record.event()))
        .collect();
    let actual: Vec<_> = stored.iter().filter(|stored| after(&stored.0)).cloned().collect();
    agree!(actual, expected, "records from {from} on, compacted at {compact}");
    let stored: BTreeSet<_> = stored.iter().map(|stored| (stored.0, stored.1)).collect();
    for record in kept {
        let there = stored.contains(&(record.main, record.sub));
        agree!(there, true, "record {}.{} is kept", record.main, record.sub);
    }

    for lease in 0..4 {
        let keys = view.lease_keys(lease).map_err(|error| error.to_string())?;
        let expected = if lease == 0 { Vec::new() } else { model.lease_keys(lease, revision) };
        agree!(keys.iter().map(|key| &key[..]).collect::<Vec<_>>(), expected, "keys of lease {lease}");
    }
    Ok(())
}

pub(crate) fn random_range(keys: &[Vec<u8>], rng: &mut ChaCha8Rng) -> KeyRange {
    let key = |rng: &mut ChaCha8Rng| keys[rng.random_range(0..keys.len())].clone();
    match rng.random_range(0..6) {
        0 => KeyRange::single(key(rng)),
        1 => KeyRange::all(),
        2 => KeyRange { start: key(rng).into(), end: End::Unbounded },
        3 => KeyRange::prefix(&key(rng)[..1]),
        _ => KeyRange::from_etcd(key(rng).into(), key(rng).into()),
    }
}

/// A change as the finished write reports it, for comparison with the model's records.
pub(crate) fn change_of(record: &Record) -> (i64, i64, ChangeKind, Vec<u8>, Vec<u8>, i64) {
    (record.main, record.sub, record.kind, record.key.clone(), record.event(), record.lease)
}
