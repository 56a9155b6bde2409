//! Long segments are read by several threads, ahead of the scan, and what a former life left in them is not kept.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use wal::{Batch, Entry, Error, Fill, Metadata, Options, OsIo, Start, Upkeep, Wal};

const SEGMENT_BYTES: u64 = 6 << 20;
const SECTOR: u64 = 512;

fn options() -> Options {
    Options {
        segment_bytes: SEGMENT_BYTES,
        upkeep: Upkeep::Inline,
        fill: Fill::Allocate,
        ..Options::default()
    }
}

fn entry(index: u64, bytes: usize) -> Entry {
    Entry { index, term: 1, kind: 0, data: Bytes::from(vec![index as u8 | 1; bytes]) }
}

/// A log in its fourth segment, whose file and the prepared one are recycled; the last entry is 2 MiB long.
fn recycled_log(dir: &Path) -> u64 {
    let mut wal =
        Wal::create(dir, Arc::new(OsIo::new()), Metadata::default(), Start::default(), options()).unwrap();
    let mut index = 0;
    while wal.stats().rotations < 6 {
        index += 1;
        wal.append(&Batch { entries: &[entry(index, 300 << 10)], hard_state: None }).unwrap();
        wal.release_before(index.saturating_sub(25)).unwrap();
    }
    index += 1;
    wal.append(&Batch { entries: &[entry(index, 2 << 20)], hard_state: None }).unwrap();
    index
}

fn open(dir: &Path) -> Result<(Wal, wal::Recovered), Error> {
    Wal::open(dir, Arc::new(OsIo::new()), options())
}

fn newest(dir: &Path) -> PathBuf {
    let inspection = wal::inspect(dir, Arc::new(OsIo::new())).unwrap();
    let begun = |report: &&wal::SegmentReport| matches!(report.content, wal::SegmentContent::Frames { .. });
    inspection.segments.iter().rev().find(begun).unwrap().file.clone()
}

/// Puts a former life's sectors, as far as the log can tell, into a file.
fn overwrite(file: &Path, from: u64, to: u64) {
    let file = OpenOptions::new().write(true).open(file).unwrap();
    file.write_all_at(&vec![0x5a; (to - from) as usize], from).unwrap();
}

#[test]
fn several_recycled_segments_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let last = recycled_log(dir.path());
    for _ in 0..2 {
        let (wal, recovered) = open(dir.path()).unwrap();
        assert!(wal.stats().segments > 1, "there is something to read ahead");
        assert_eq!(wal.last_index(), last);
        assert_eq!(recovered.entries.len() as u64, last - recovered.start.index);
        for found in recovered.entries {
            let bytes = if found.index == last { 2 << 20 } else { 300 << 10 };
            assert_eq!(found, entry(found.index, bytes));
        }
    }
}

/// The last frame's middle was never written: what is there instead was left out at the first reading, and is asked for.
#[test]
fn a_long_torn_frame_in_a_recycled_file_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let last = recycled_log(dir.path());
    let file = newest(dir.path());
    let end = {
        let inspection = wal::inspect_segment(&file, Arc::new(OsIo::new())).unwrap().0;
        let wal::SegmentContent::Frames { end, .. } = inspection.content else { panic!("it was begun") };
        end
    };
    let middle = (end - (1 << 20)) / 4096 * 4096;
    overwrite(&file, middle, middle + (512 << 10));
    let (wal, recovered) = open(dir.path()).unwrap();
    assert_eq!(wal.last_index(), last - 1);
    assert!(recovered.torn_tail.unwrap().bytes > 2 << 20);
    drop(wal);
    // Something that was written later: damage.
    let (mut wal, _) = open(dir.path()).unwrap();
    wal.append(&Batch { entries: &[entry(last, 10)], hard_state: None }).unwrap();
    drop(wal);
    assert_eq!(open(dir.path()).unwrap().0.last_index(), last);
}

#[test]
fn loss_in_the_middle_of_any_segment_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    recycled_log(dir.path());
    let sound = wal::inspect(dir.path(), Arc::new(OsIo::new())).unwrap();
    for report in &sound.segments {
        let wal::SegmentContent::Frames { frames, .. } = &report.content else { continue };
        if frames.len() < 2 {
            continue;
        }
        let from = (frames[0].offset / SECTOR + 3) * SECTOR;
        let before = std::fs::read(&report.file).unwrap();
        overwrite(&report.file, from, from + (128 << 10));
        let error = open(dir.path()).map(|_| ()).unwrap_err();
        let words = error.to_string();
        assert!(words.contains(report.file.to_str().unwrap()), "{words}");
        std::fs::write(&report.file, before).unwrap();
    }
    open(dir.path()).unwrap();
}

/// A verdict that needs the bytes of sectors that are left out at first: the frame holds, and stamps in it do not.
#[test]
fn lost_stamps_under_a_sound_frame_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    recycled_log(dir.path());
    let sound = wal::inspect(dir.path(), Arc::new(OsIo::new())).unwrap();
    let closed = sound.segments.iter().find_map(|report| match &report.content {
        wal::SegmentContent::Frames { frames, .. } => Some((&report.file, frames[0].offset)),
        _ => None,
    });
    let (path, offset) = closed.unwrap();
    let file = OpenOptions::new().write(true).open(path).unwrap();
    for sector in offset / SECTOR + 3..offset / SECTOR + 259 {
        file.write_all_at(&[0x5a; 8], sector * SECTOR + SECTOR - 8).unwrap();
    }
    let words = open(dir.path()).map(|_| ()).unwrap_err().to_string();
    assert!(words.contains("under a sound frame"), "{words}");
}
