//! What is shown of a log while it is being opened is what comes back in the end, and following changes nothing about
//! what is refused, and why.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use support::{MemIo, append, create, dir, entry, options};
use wal::{
    Entry, Error, Fill, HardState, Io, Metadata, Options, OsIo, Passage, Recovered, Start, Upkeep, Wal,
};

/// What was shown, as a log.
#[derive(Default)]
struct Shown {
    entries: Vec<Entry>,
    hard_state: Option<HardState>,
    passages: usize,
}

impl Shown {
    fn take(&mut self, passage: Passage) {
        self.passages += 1;
        if let Some(first) = passage.entries.first() {
            assert_eq!(passage.before.index + 1, first.index);
            self.entries.retain(|entry| entry.index < first.index);
            assert!(self.entries.last().is_none_or(|last| last.index == passage.before.index), "a gap");
            self.entries.extend(passage.entries);
        }
        self.hard_state = passage.hard_state.or(self.hard_state);
    }
}

fn follow(
    dir: &Path,
    io: Arc<dyn Io>,
    options: &Options,
    after: u64,
) -> (Shown, Result<(Wal, Recovered), Error>) {
    let mut shown = Shown::default();
    let opened = Wal::open_following(dir, io, options.clone(), after, &mut |passage| shown.take(passage));
    (shown, opened)
}

/// Six entries an append; now and then some are replaced by a later term.
fn fill(wal: &mut Wal, appends: u64, bytes: usize) {
    for number in 1..=appends {
        let back = if number.is_multiple_of(10) { 4.min(wal.last_index()) } else { 0 };
        let first = wal.last_index() + 1 - back;
        let term = 1 + number / 10;
        let entries: Vec<Entry> = (first..first + 6).map(|index| entry(index, term, bytes)).collect();
        append(wal, &entries).unwrap();
    }
}

fn small() -> (MemIo, Options) {
    let io = MemIo::default();
    let options = options(16 << 10);
    let mut wal = create(&io, &options).unwrap();
    fill(&mut wal, 73, 100);
    drop(wal);
    (io, options)
}

/// Segments so large that they are read by several threads.
fn large() -> (tempfile::TempDir, Options) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        segment_bytes: 6 << 20,
        upkeep: Upkeep::Inline,
        fill: Fill::Allocate,
        ..Options::default()
    };
    let io = Arc::new(OsIo::new());
    let mut wal =
        Wal::create(dir.path(), io, Metadata::default(), Start::default(), options.clone()).unwrap();
    fill(&mut wal, 73, 40 << 10);
    (dir, options)
}

fn all_but_the_last_append(open: impl Fn(u64) -> (Shown, Result<(Wal, Recovered), Error>)) {
    for after in [0, 1, 5, 6, 150, 300, 390, 1000] {
        let (shown, opened) = open(after);
        let (wal, recovered) = opened.unwrap();
        let missing = &recovered.entries[recovered.entries.len() - 6..];
        let Some(first) = shown.entries.first() else {
            assert!(after >= missing[0].index - 1, "after {after} nothing was shown");
            continue;
        };
        assert!(
            first.index <= after + 1 || after >= missing[0].index - 1,
            "after {after}: from {}",
            first.index
        );
        let expected = recovered.entries.iter().filter(|entry| entry.index >= first.index);
        let expected: Vec<_> = expected.filter(|entry| entry.index < missing[0].index).cloned().collect();
        assert!(shown.entries == expected, "after {after}");
        assert_eq!(wal.last_index(), recovered.entries.last().unwrap().index);
    }
    let (all, some) = (open(0).0.passages, open(300).0.passages);
    assert!(all == 72 && some < all, "what was needed no more was passed over: {some} of {all}");
}

#[test]
fn everything_is_shown_but_the_last_append() {
    let (io, options) = small();
    all_but_the_last_append(|after| follow(dir(), Arc::new(io.killed()), &options, after));
    let (dir, options) = large();
    all_but_the_last_append(|after| follow(dir.path(), Arc::new(OsIo::new()), &options, after));
}

fn outcome(opened: Result<(Wal, Recovered), Error>) -> String {
    match opened {
        Ok((_, recovered)) => format!("{:?} {:?}", recovered.entries, recovered.torn_tail),
        Err(error) => error.to_string(),
    }
}

/// Every hundredth byte or so of every file, and every file that is missing or cut.
#[test]
fn damage_is_judged_as_without_following() {
    let (io, options) = small();
    let (mut refused, mut shown_before) = (0, 0);
    let mut compare = |damaged: &MemIo, what: &str| {
        let plain = outcome(Wal::open(dir(), Arc::new(damaged.killed()), options.clone()));
        for after in [0, 200] {
            let followed = damaged.killed();
            let before = followed.image();
            let (shown, opened) = follow(dir(), Arc::new(followed.clone()), &options, after);
            if opened.is_err() {
                refused += 1;
                shown_before += usize::from(shown.passages > 0);
                assert!(followed.image() == before, "{what}: a refused log was changed");
            }
            assert_eq!(outcome(opened), plain, "{what}, after {after}");
        }
    };
    for name in io.names() {
        let bytes = io.bytes(&name);
        for at in (0..bytes.len()).step_by(97) {
            let damaged = io.killed();
            damaged.flip(&name, at, at as u32 % 8);
            compare(&damaged, &format!("{name}, byte {at}"));
        }
        for sector in (0..bytes.len()).step_by(2048) {
            let damaged = io.killed();
            let mut without = bytes.clone();
            without[sector..sector + 512].fill(0);
            damaged.set_bytes(&name, without);
            compare(&damaged, &format!("{name}, no sector at {sector}"));
        }
        let damaged = io.killed();
        damaged.set_bytes(&name, bytes[..bytes.len() / 2].to_vec());
        compare(&damaged, &format!("{name} cut"));
        let damaged = io.killed();
        damaged.delete(&name);
        compare(&damaged, &format!("{name} missing"));
    }
    assert!(
        refused > 500 && shown_before > 300,
        "{refused} refused, {shown_before} after something was shown"
    );
}

#[test]
fn damage_that_is_read_by_several_threads_is_judged_as_without_following() {
    let (dir, options) = large();
    let io = || Arc::new(OsIo::new());
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path()).collect();
    let mut shown_before = 0;
    for name in names {
        for offset in [0, 1 << 20, 3 << 20, (5 << 20) + 777] {
            let file = OpenOptions::new().read(true).write(true).open(&name).unwrap();
            let mut old = [0; 3000];
            file.read_exact_at(&mut old, offset).unwrap();
            file.write_all_at(&[0x5a; 3000], offset).unwrap();
            let plain = Wal::open(dir.path(), io(), options.clone());
            let (shown, followed) = follow(dir.path(), io(), &options, 0);
            shown_before += usize::from(followed.is_err() && shown.passages > 0);
            assert_eq!(outcome(followed), outcome(plain), "{} at {offset}", name.display());
            file.write_all_at(&old, offset).unwrap();
        }
    }
    assert!(shown_before > 0);
}
