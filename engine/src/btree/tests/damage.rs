//! One flipped bit anywhere in the file is found before its byte is used, or was of no use.

use std::sync::Arc;

use rand::RngExt;

use super::disk::memory_file;
use super::{Model, amount, change, checkpoint, dump, open, random, user_meta};
use crate::btree::space::read_map;
use crate::btree::{meta, shared::Shared};
use crate::error::Error;
use crate::file::File;
use crate::limits::PAGE_BYTES;
use crate::mmap::Arena;

/// What each page is for.
fn free_pages(file: &dyn File) -> Vec<bool> {
    let map = file.map(1 << 30).unwrap();
    let meta::Found::State(meta, None) = meta::find(file.len().unwrap(), |slot| *map.page(slot)).unwrap()
    else {
        panic!("two whole meta pages")
    };
    let (arena, _) = Arena::reserve(PAGE_BYTES).unwrap();
    let shared = Shared::new(map, arena, meta.pages, file.describe());
    let (space, _) = read_map(&shared, meta.free_map, meta.pages).unwrap();
    (0..file.len().unwrap() / PAGE_BYTES as u64)
        .map(|page| page >= meta.pages || space.is_free(page as u32))
        .collect()
}

#[test]
fn every_flipped_bit_is_found() {
    let random = &mut random(3);
    let file: Arc<dyn File> = Arc::new(memory_file());
    let mut tree = open(&file).unwrap();
    let mut model = Model::new();
    let mut older = Model::new();
    // Two checkpoints: both meta pages hold a state.
    for number in 1..=8 {
        older = model.clone();
        for _ in 0..60 {
            change(random, &mut tree, &mut model, 300).unwrap();
        }
        tree.set_meta(user_meta(number));
        tree.publish();
        checkpoint(&mut tree).unwrap();
    }
    drop(tree);
    let free = free_pages(&*file);
    assert!(free.iter().any(|free| *free) && free.iter().filter(|free| !**free).count() > 20);
    let newest = 0;
    let stride = amount("GRAVEN_TREE_FLIP_STRIDE", 5) as usize;
    let image = {
        let map = file.map(1 << 30).unwrap();
        map.bytes(0, file.len().unwrap() as usize).to_vec()
    };
    let (mut found, mut of_no_use) = (0, 0);
    let first = random.random_range(0..stride);
    for at in (first..image.len()).step_by(stride) {
        let page = at / PAGE_BYTES;
        // A few will do for pages that hold nothing.
        if free[page] && random.random_range(0..20) > 0 {
            continue;
        }
        let bit = 1u8 << random.random_range(0..8);
        file.write_at(at as u64, &[image[at] ^ bit]).unwrap();
        let what = format!("byte {} of page {page}, bits {bit:02x}", at % PAGE_BYTES);
        let read = open(&file).and_then(|mut tree| Ok((*tree.meta(), dump(&tree.publish())?)));
        let checked = crate::btree::check(&*file);
        match read {
            Err(Error::Damaged { page: named, reason, .. }) => {
                // A value is summed as a whole.
                let value = reason.starts_with("value in")
                    && (page.saturating_sub(5) as u64..page as u64).contains(&named);
                // An older state may be the one that is read when the newest meta page is gone.
                assert!(named == page as u64 || value || page == newest, "{what}: named page {named}");
                assert!(!checked.is_ok_and(|report| report.findings.is_empty()), "{what}: missed by check");
                found += 1;
            }
            Err(e) => panic!("{what}: {e}"),
            Ok((meta, contents)) if page == newest => {
                assert!(meta == user_meta(7) && contents == older, "{what}: neither state");
                assert!(checked.unwrap().other_meta.is_some(), "{what}: missed by check");
                found += 1;
            }
            Ok((meta, contents)) => {
                assert!(meta == user_meta(8) && contents == model, "{what}: wrong contents");
                assert!(free[page] || page == 1, "{what}: the page is in use");
                assert!(page != 1 || checked.unwrap().other_meta.is_some(), "{what}: missed by check");
                of_no_use += 1;
            }
        }
        file.write_at(at as u64, &image[at..=at]).unwrap();
    }
    println!("{found} flips found, {of_no_use} in free pages or the older meta page");
    assert!(found > of_no_use);
}
