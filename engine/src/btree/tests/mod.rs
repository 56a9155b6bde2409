//! Tests of the tree as a whole: against a model, beside readers, under faults, after power cuts, over damage.

pub(crate) mod crash;
mod damage;
mod defragment;
mod disk;
pub(crate) mod faults;
mod forged;
mod lost;
pub(crate) mod model;
mod numbers;
pub(crate) mod readers;
mod scrub;
pub(crate) mod swap;

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Tree, TreeOptions, UserMeta, Weight};
use crate::error::Error;
use crate::file::File;
use crate::limits::USER_META_BYTES;
use crate::schema::Bucket;

type Model = BTreeMap<(u8, Vec<u8>), (Vec<u8>, bool)>;

/// Size of a heavy test: the environment's word, or the default.
fn amount(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn random(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

fn small_options() -> TreeOptions {
    TreeOptions {
        reserve_bytes: 1 << 30,
        grow_bytes: 16 << 10,
        memory_bytes: 1 << 30,
        ..TreeOptions::default()
    }
}

fn user_meta(number: u64) -> UserMeta {
    let mut meta = [0; USER_META_BYTES];
    meta[..8].copy_from_slice(&number.to_le_bytes());
    meta
}

fn weight(live: bool) -> Weight {
    if live { Weight::Live } else { Weight::Dead }
}

fn random_key(random: &mut ChaCha8Rng, keys: u64) -> Vec<u8> {
    let number = random.random_range(0..keys);
    match number % 16 {
        // Keys of one bucket share long prefixes, short ones, or none.
        0 => number.to_be_bytes().to_vec(),
        1 => format!("x{}", "y".repeat((number * 7 % 1799) as usize)).into_bytes(),
        2 => vec![(number % 251) as u8; (number % 7) as usize],
        _ => format!("/registry/pods/namespace-{}/pod-{number}", number % 5).into_bytes(),
    }
}

fn random_value(random: &mut ChaCha8Rng) -> Vec<u8> {
    let len = match random.random_range(0..100) {
        0 => random.random_range(4000..20_000),
        1..8 => random.random_range(1000..2500),
        8..30 => 0,
        _ => random.random_range(1..200),
    };
    let byte: u8 = random.random();
    (0..len).map(|at| (at as u8).wrapping_mul(7) ^ byte).collect()
}

/// One random change to the tree and its model.
fn change(random: &mut ChaCha8Rng, tree: &mut Tree, model: &mut Model, keys: u64) -> Result<(), Error> {
    let bucket = Bucket(random.random_range(0..3));
    let key = random_key(random, keys);
    if random.random_range(0..10) < 3 {
        let was = tree.delete(bucket, &key)?;
        assert_eq!(was, model.remove(&(bucket.0, key)).is_some());
    } else {
        let (value, live) = (random_value(random), random.random_range(0..4) > 0);
        tree.put(bucket, &key, &value, weight(live))?;
        model.insert((bucket.0, key), (value, live));
    }
    Ok(())
}

/// The whole contents, through a cursor.
fn dump(txn: &super::ReadTxn) -> Result<Model, Error> {
    let mut model = Model::new();
    for bucket in 0..3 {
        let mut cursor = txn.cursor(Bucket(bucket));
        let mut more = cursor.first()?;
        while more {
            let entry = (cursor.value()?.to_vec(), cursor.weight() == Weight::Live);
            assert!(model.insert((bucket, cursor.key().to_vec()), entry).is_none(), "a key twice");
            more = cursor.next()?;
        }
    }
    Ok(model)
}

fn assert_whole(file: &dyn File) {
    let report = super::check(file).expect("the file can be looked into");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

fn checkpoint(tree: &mut Tree) -> Result<(), Error> {
    if let Some(checkpoint) = tree.begin_checkpoint() {
        let done = checkpoint.run(&mut |_| ())?;
        tree.end_checkpoint(done)?;
    }
    Ok(())
}

fn open(file: &Arc<dyn File>) -> Result<Tree, Error> {
    Tree::open(Arc::clone(file), small_options())
}
