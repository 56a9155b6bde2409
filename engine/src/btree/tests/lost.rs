//! Writes that the device acknowledges and never stores are found before anything relies on them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::disk::{holding, memory_file};
use super::{Model, assert_whole, change, checkpoint, dump, open, random, small_options, user_meta};
use crate::btree::Tree;
use crate::error::Error;
use crate::file::{File, OsFile};
use crate::mmap::Map;
use crate::schema;

/// A disk that loses one write.
struct Losing {
    file: OsFile,
    writes: AtomicUsize,
    loses: AtomicUsize,
}

impl File for Losing {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.writes.fetch_add(1, Ordering::Relaxed) == self.loses.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.file.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn map(&self, reserve: u64) -> io::Result<Map> {
        self.file.map(reserve)
    }
}

fn bytes_of(file: &dyn File) -> Vec<u8> {
    let len = file.len().unwrap();
    file.map(len).unwrap().bytes(0, usize::try_from(len).unwrap()).to_vec()
}

/// Whether the checkpoint noticed that the disk lost its `number`th write; None when it has no such write.
fn loses(number: usize) -> Option<bool> {
    let file = Arc::new(Losing {
        file: memory_file(),
        writes: AtomicUsize::new(0),
        loses: AtomicUsize::new(usize::MAX),
    });
    let mut tree = Tree::open(Arc::clone(&file) as Arc<dyn File>, small_options()).unwrap();
    let (mut model, random) = (Model::new(), &mut random(1));
    for state in 1..3 {
        for _ in 0..300 {
            change(random, &mut tree, &mut model, 200).unwrap();
        }
        tree.set_meta(user_meta(state));
        tree.publish();
        checkpoint(&mut tree).unwrap();
    }
    let stored = model.clone();
    for _ in 0..300 {
        change(random, &mut tree, &mut model, 200).unwrap();
    }
    tree.set_meta(user_meta(3));
    let txn = tree.publish();
    let before = file.writes.load(Ordering::Relaxed);
    file.loses.store(before + number, Ordering::Relaxed);
    match checkpoint(&mut tree) {
        Ok(()) if file.writes.load(Ordering::Relaxed) <= before + number => return None,
        Ok(()) => return Some(false),
        Err(e) => assert!(matches!(e, Error::Damaged { .. }), "{e}"),
    }
    assert_eq!(dump(&txn).unwrap(), model, "readers go on");
    assert!(matches!(tree.delete(schema::KEYS, b"k"), Err(Error::Poisoned)));
    drop((txn, tree));
    let left = holding(&bytes_of(&file.file));
    let mut tree = open(&left).unwrap();
    assert_eq!(dump(&tree.publish()).unwrap(), stored, "the checkpoint before is whole");
    assert_whole(&*left);
    Some(true)
}

#[test]
fn a_lost_write_is_noticed_by_the_checkpoint_that_made_it() {
    let mut lost = 0;
    while let Some(noticed) = loses(lost) {
        assert!(noticed, "write {lost}");
        lost += 1;
    }
    println!("{lost} writes");
    assert!(lost > 3);
}
