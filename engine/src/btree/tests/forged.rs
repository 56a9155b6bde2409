//! Pages that are wrong and yet carry the right checksums, up to the meta page: nothing panics, nothing hangs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::disk::{holding, memory_file};
use super::{Model, amount, change, checkpoint, dump, open, random, user_meta};
use crate::btree::edit::put_u32;
use crate::btree::page::{Page, checksum, hint, u16_at};
use crate::btree::{Weight, meta};
use crate::error::Error;
use crate::file::File;
use crate::limits::PAGE_BYTES;
use crate::mmap::PageBytes;
use crate::schema::{self, Bucket};

/// The pages from a bucket's root to some leaf, with the child taken at each.
struct Path(Vec<(u32, usize)>);

fn page(image: &[u8], number: u32) -> &PageBytes {
    image[number as usize * PAGE_BYTES..].first_chunk().unwrap()
}

fn newest(image: &[u8]) -> meta::Meta {
    match meta::find(image.len() as u64, |slot| *page(image, slot)).unwrap() {
        meta::Found::State(meta, _) => *meta,
        meta::Found::New => panic!("there is a state"),
    }
}

fn random_path(random: &mut ChaCha8Rng, image: &[u8], bucket: Bucket) -> Path {
    let mut path = Vec::new();
    let mut number = newest(image).roots[usize::from(bucket.0)].page.0;
    loop {
        let here = Page::new(page(image, number));
        let index = random.random_range(0..here.len());
        path.push((number, index));
        if here.is_leaf() {
            return Path(path);
        }
        number = here.child(index).page.0;
    }
}

/// Repairs every checksum from the end of the path up to the meta page.
fn seal(image: &mut [u8], path: &Path, depth: usize, bucket: Bucket) {
    let mut meta = newest(image);
    let mut below = 0;
    for (at, (number, index)) in path.0.iter().enumerate().take(depth + 1).rev() {
        let start = *number as usize * PAGE_BYTES;
        if at < depth {
            let cell = Page::new(page(image, *number)).cell_at(*index);
            put_u32(image, start + cell + 6, below);
        }
        below = checksum(page(image, *number), *number);
        put_u32(image, start, below);
    }
    meta.roots[usize::from(bucket.0)].checksum = below;
    let at = meta.slot() as usize * PAGE_BYTES;
    image[at..at + PAGE_BYTES].copy_from_slice(&meta.encode());
}

/// Everything a user may do with a file, whatever it holds.
fn use_it(image: &[u8]) -> Result<(), Error> {
    let file = holding(image);
    let checked = crate::btree::check(&*file)?;
    let mut tree = open(&file)?;
    let read = dump_some(&tree.publish());
    if read.is_err() {
        assert!(!checked.findings.is_empty(), "check says what a reader says");
    }
    read?;
    for number in 0..40u64 {
        tree.put(
            schema::KEYS,
            format!("/registry/pods/namespace-1/pod-{number}").as_bytes(),
            b"x",
            Weight::Live,
        )?;
        tree.delete(schema::KEYS, format!("/registry/pods/namespace-2/pod-{number}").as_bytes())?;
    }
    Ok(())
}

fn dump_some(txn: &crate::btree::ReadTxn) -> Result<(), Error> {
    // Keys may repeat in a forged tree: walk without collecting.
    let mut cursor = txn.cursor(schema::KEYS);
    let mut more = cursor.first()?;
    let mut entries = 0;
    while more {
        cursor.value()?;
        entries += 1;
        assert!(entries < 1_000_000, "the walk ends");
        more = cursor.next()?;
    }
    more = cursor.last()?;
    while more {
        more = cursor.prev_live()?;
    }
    Ok(())
}

fn image(random: &mut ChaCha8Rng) -> Vec<u8> {
    let file: Arc<dyn File> = Arc::new(memory_file());
    let mut tree = open(&file).unwrap();
    let mut model = Model::new();
    for number in 1..=3 {
        for _ in 0..1500 {
            change(random, &mut tree, &mut model, 3000).unwrap();
        }
        tree.set_meta(user_meta(number));
        tree.publish();
        checkpoint(&mut tree).unwrap();
    }
    assert_eq!(dump(&tree.publish()).unwrap(), model);
    let map = file.map(1 << 30).unwrap();
    map.bytes(0, file.len().unwrap() as usize).to_vec()
}

#[test]
fn forged_pages_are_errors_or_harmless() {
    let random = &mut random(11);
    let whole = image(random);
    let bucket = schema::KEYS;
    let (mut refused, mut harmless) = (0, 0);
    for round in 0..amount("GRAVEN_TREE_FORGED", 3000) {
        let mut image = whole.clone();
        let path = random_path(random, &image, bucket);
        let depth = random.random_range(0..path.0.len());
        let (number, index) = path.0[depth];
        let start = number as usize * PAGE_BYTES;
        let here = Page::new(page(&whole, number));
        let at = match random.random_range(0..4) {
            0 => random.random_range(4..24),
            1 => 24 + random.random_range(0..here.slots_end() - 24),
            2 => here.cell_at(index) + random.random_range(0..here.cell_len(index).min(24)),
            _ => random.random_range(4..PAGE_BYTES),
        };
        let other = *whole.get(random.random_range(0..whole.len())).unwrap();
        image[start + at] = if random.random_range(0..2) == 0 {
            other
        } else {
            image[start + at] ^ 1 << random.random_range(0..8)
        };
        seal(&mut image, &path, depth, bucket);
        let result = catch_unwind(AssertUnwindSafe(|| use_it(&image)));
        match result
            .unwrap_or_else(|_| panic!("round {round}: byte {at} of page {number}, level {}", here.level()))
        {
            Ok(()) => harmless += 1,
            Err(Error::Damaged { .. }) => refused += 1,
            Err(e) => panic!("round {round}: {e}"),
        }
    }
    println!("{refused} refused, {harmless} harmless");
    assert!(refused > 100);
}

/// Changes and checkpoints on a file whose free map is forged, and what came of it.
fn live_with(image: &[u8]) -> Result<(), Error> {
    let random = &mut random(14);
    let file = holding(image);
    let mut tree = open(&file)?;
    for number in 0..6 {
        for index in 0..60u64 {
            let key = format!("/registry/pods/namespace-{}/pod-{}", index % 5, random.random_range(0..3000));
            tree.put(schema::KEYS, key.as_bytes(), &[number; 40], Weight::Live)?;
            tree.delete(schema::REVISIONS, key.as_bytes())?;
        }
        tree.publish();
        checkpoint(&mut tree)?;
        dump_some(&tree.publish())?;
    }
    Ok(())
}

#[test]
fn a_forged_free_map_is_an_error_or_harmless() {
    let random = &mut random(13);
    let whole = image(random);
    let map = newest(&whole).free_map;
    assert_eq!(map.level, 0, "the map is one page");
    let (mut refused, mut harmless) = (0, 0);
    for round in 0..amount("GRAVEN_TREE_FORGED_MAPS", 300) {
        let mut image = whole.clone();
        let mut meta = newest(&image);
        let start = map.page as usize * PAGE_BYTES;
        let body = (meta.pages as usize).div_ceil(8);
        for _ in 0..random.random_range(1..20) {
            // Pages in use are free, or free ones are in use; sometimes the header is another.
            let at = if random.random_range(0..8) == 0 {
                random.random_range(4..24)
            } else {
                24 + random.random_range(0..body)
            };
            image[start + at] ^= 1 << random.random_range(0..8);
        }
        let sum = checksum(page(&image, map.page), map.page);
        put_u32(&mut image, start, sum);
        meta.free_map.checksum = sum;
        let at = meta.slot() as usize * PAGE_BYTES;
        image[at..at + PAGE_BYTES].copy_from_slice(&meta.encode());
        let result = catch_unwind(AssertUnwindSafe(|| live_with(&image)));
        match result.unwrap_or_else(|_| panic!("round {round}")) {
            Ok(()) => harmless += 1,
            Err(Error::Damaged { .. }) => refused += 1,
            Err(e) => panic!("round {round}: {e}"),
        }
    }
    println!("{refused} refused, {harmless} harmless");
    assert!(refused > 100);
}

#[test]
fn a_cycle_is_an_error() {
    let random = &mut random(12);
    let mut image = image(random);
    let bucket = schema::KEYS;
    let path = random_path(random, &image, bucket);
    assert!(path.0.len() > 1, "there is a branch");
    // A child of the root is the root.
    let (root, index) = path.0[0];
    let cell = Page::new(page(&image, root)).cell_at(index);
    put_u32(&mut image, root as usize * PAGE_BYTES + cell + 2, root);
    seal(&mut image, &path, 0, bucket);
    let file = holding(&image);
    let mut tree = open(&file).unwrap();
    assert!(matches!(dump(&tree.publish()), Err(Error::Damaged { page, .. }) if page == u64::from(root)));
    assert!(!crate::btree::check(&*file).unwrap().findings.is_empty());
}

#[test]
fn the_example_of_the_essay_is_true() {
    let both = [(b"a", b"1".as_slice(), 1u16), (b"b", b"22".as_slice(), 2u16)];
    let fixed = both.map(|(_, _, word)| word.to_le_bytes());
    let entries = [0, 1].map(|i| crate::btree::edit::Entry {
        prefix: b"pod-",
        suffix: both[i].0,
        fixed: &fixed[i],
        value: both[i].1,
    });
    let mut bytes = [0; PAGE_BYTES];
    assert!(crate::btree::edit::build(&mut bytes, crate::btree::edit::Shape::at(0, 0), &entries, 0));
    assert_eq!(bytes[16..24], [2, 0, 4, 0, 0xf3, 0x0f, 0, 0]);
    assert_eq!(&bytes[24..28], b"pod-");
    assert_eq!(bytes[28..40], [0xfa, 0x0f, 0, 0, 0, b'a', 0xf3, 0x0f, 0, 0, 0, b'b']);
    assert_eq!(bytes[4083..4090], [1, 0, 2, 0, b'b', b'2', b'2']);
    assert_eq!(bytes[4090..], [1, 0, 1, 0, b'a', b'1']);
    assert_eq!((u16_at(&bytes, 20), hint(b"a")), (4083, 0x6100_0000));
}
