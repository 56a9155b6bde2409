//! The scrub visits everything, from whatever view it goes on in, and finds what others have verified long ago.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rand::RngExt;

use super::{Model, change, checkpoint, dump, open, random, user_meta};
use crate::btree::{ReadTxn, ScrubCursor, Tree};
use crate::error::Error;
use crate::file::{File, OsFile};
use crate::limits::PAGE_BYTES;

fn round(txn: &ReadTxn, cursor: &mut ScrubCursor, max_bytes: usize) -> Result<u64, Error> {
    let mut pages = 0;
    for _ in 0..100_000 {
        let progress = txn.scrub_slice(cursor, max_bytes)?;
        assert_eq!(progress.bytes, progress.pages * PAGE_BYTES as u64);
        pages += progress.pages;
        if progress.done {
            return Ok(pages);
        }
    }
    panic!("a round ends");
}

fn filled(file: &Arc<dyn File>) -> (Tree, Model) {
    let random = &mut random(8);
    let (mut tree, mut model) = (open(file).unwrap(), Model::new());
    for number in 1..=4 {
        for _ in 0..300 {
            change(random, &mut tree, &mut model, 1500).unwrap();
        }
        tree.set_meta(user_meta(number));
        tree.publish();
        checkpoint(&mut tree).unwrap();
    }
    (tree, model)
}

#[test]
fn every_page_in_use_is_read_again() {
    let random = &mut random(9);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let os = OsFile::open(&path).unwrap();
    println!("direct: {}", os.is_direct());
    let file: Arc<dyn File> = Arc::new(os);
    let (mut tree, model) = filled(&file);
    let txn = tree.publish();
    assert_eq!(dump(&txn).unwrap(), model);
    let whole = round(&txn, &mut ScrubCursor::default(), 1 << 30).unwrap();
    let report = crate::btree::check(&*file).unwrap();
    let in_trees: u64 = report.buckets.values().map(|bucket| bucket.pages).sum();
    assert_eq!(whole, in_trees + 2, "the trees and the meta pages");
    // In small pieces it comes by the pages on the way again.
    assert!(round(&txn, &mut ScrubCursor::default(), 1).unwrap() > whole);
    // Somebody else's handle: the map's pages have been verified, and the tree does not hear of it.
    let behind = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let (mut found, mut of_no_use) = (0, 0);
    for page in 0..bytes.len() / PAGE_BYTES {
        let at = page * PAGE_BYTES + random.random_range(0..PAGE_BYTES);
        behind.write_all_at(&[bytes[at] ^ 1 << random.random_range(0..8)], at as u64).unwrap();
        match round(&txn, &mut ScrubCursor::default(), 1 << 30) {
            Err(Error::Damaged { page: named, reason, file }) => {
                assert!(file.ends_with("/db"), "{file}");
                let value = reason.starts_with("value in") && named <= page as u64;
                assert!(named == page as u64 || value, "page {page}: {named}, {reason}");
                found += 1;
            }
            Ok(pages) => {
                assert_eq!(pages, whole);
                of_no_use += 1;
            }
            Err(e) => panic!("page {page}: {e}"),
        }
        behind.write_all_at(&bytes[at..=at], at as u64).unwrap();
    }
    println!("{found} found, {of_no_use} in pages that hold nothing");
    // What the free map is kept in is in nobody's view; it is verified when the file is opened.
    assert_eq!(found, whole);
}

/// A file on a device that can't give one page back.
struct Unreadable {
    file: crate::file::OsFile,
    page: u64,
}

impl File for Unreadable {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
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

    fn map(&self, reserve: u64) -> io::Result<crate::mmap::Map> {
        self.file.map(reserve)
    }

    fn read_device_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let first = offset / PAGE_BYTES as u64;
        if (first..first + (bytes.len() / PAGE_BYTES) as u64).contains(&self.page) {
            return Err(rustix::io::Errno::IO.into());
        }
        self.file.read_device_at(offset, bytes)
    }
}

#[test]
fn a_failed_read_names_the_page() {
    let memory = |page| Unreadable { file: super::disk::memory_file(), page };
    // The topmost page of the largest tree, by its number in a file that can be read.
    let file: Arc<dyn File> = Arc::new(memory(u64::MAX));
    let (mut tree, _) = filled(&file);
    let view = tree.publish().view;
    let in_file = view.roots.iter().filter(|root| !root.page.is_none() && root.page.slot().is_none());
    let root = in_file.map(|root| root.page.0).max().unwrap();
    let file: Arc<dyn File> = Arc::new(memory(root.into()));
    let (mut tree, _) = filled(&file);
    let error = round(&tree.publish(), &mut ScrubCursor::default(), 1 << 30).unwrap_err();
    assert!(matches!(error, Error::Io { operation: "read", .. }), "{error}");
    assert!(error.to_string().contains(&format!("(page {root})")), "{error}");
}

#[test]
fn a_round_goes_on_in_other_views() {
    let random = &mut random(10);
    let file: Arc<dyn File> = Arc::new(super::disk::memory_file());
    let (mut tree, mut model) = filled(&file);
    let mut cursor = ScrubCursor::default();
    let (mut rounds, mut slices) = (0, 0);
    while rounds < 5 {
        for _ in 0..20 {
            change(random, &mut tree, &mut model, 1500).unwrap();
        }
        let txn = tree.publish();
        if slices % 3 == 0 {
            checkpoint(&mut tree).unwrap();
        }
        slices += 1;
        assert!(slices < 5000, "rounds end");
        rounds += u64::from(txn.scrub_slice(&mut cursor, 32 << 10).unwrap().done);
    }
    println!("{slices} slices");
}
