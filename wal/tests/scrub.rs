//! The scrubber finds every damage to what is durable, and nothing where there is none, also while the log goes on.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use support::{MemIo, SECTOR, append, create, dir, entry, options};
use wal::{Batch, Error, Fill, Metadata, Options, OsIo, Scrub, Start, Upkeep, Wal};

const SEGMENT: u64 = 16 << 10;

/// Several segments, recycled ones among them, open.
fn build(io: &MemIo) -> (Wal, Options) {
    let options = options(SEGMENT);
    let mut wal = create(io, &options).unwrap();
    for index in 1..=220 {
        append(&mut wal, &[entry(index, 1, (index as usize * 37) % 900)]).unwrap();
        if index == 100 {
            wal.release_before(80).unwrap();
        }
    }
    // One frame over many pieces.
    append(&mut wal, &[entry(221, 1, 13_000)]).unwrap();
    append(&mut wal, &[entry(222, 1, 300)]).unwrap();
    let stats = wal.stats();
    assert!((4..stats.rotations).contains(&stats.segments), "{stats:?}");
    (wal, options)
}

/// One round, slice by slice. Returns the bytes read.
fn round(scrub: &mut Scrub, slice: u64) -> Result<u64, Error> {
    let mut bytes = 0;
    loop {
        let progress = scrub.slice(slice)?;
        assert!(progress.bytes <= slice.max(4096) + 2 * 4096, "{progress:?}");
        bytes += progress.bytes;
        if progress.round_done {
            return Ok(bytes);
        }
    }
}

#[test]
fn every_damaged_sector_is_found_at_its_place() {
    let io = MemIo::default();
    let (wal, options) = build(&io);
    let mut scrub = Scrub::new(dir(), Arc::new(io.clone()), options.watch.clone());
    for slice in [1, 4096, 12288, 1 << 20] {
        let bytes = round(&mut scrub, slice).unwrap();
        assert!(bytes > 3 * SEGMENT, "{bytes} bytes with slices of {slice}");
    }
    let before = io.image();
    let newest = wal.stats().rotations + 1;
    let oldest = newest + 1 - wal.stats().segments;
    let mut found = 0;
    for id in oldest..=newest {
        let name = format!("{id:016x}.wal");
        let bytes = io.bytes(&name);
        // With options of its own: the watch belongs to the log that is open.
        let (_, recovered) = support::open(&io.killed(), &support::options(SEGMENT)).unwrap();
        for byte in (0..bytes.len()).step_by(61) {
            io.flip(&name, byte, (byte % 8) as u32);
            let seen = round(&mut scrub, 8192);
            let lost = support::open(&io.killed(), &support::options(SEGMENT));
            match (seen, lost) {
                (Err(error), _) => {
                    found += 1;
                    let text = error.to_string();
                    assert!(text.contains(&name), "{name} byte {byte}: {text}");
                    if let Error::Damaged(damage) = &error {
                        // The frame, or the gap before it.
                        assert!(damage.offset < (byte + SECTOR) as u64, "{name} byte {byte}: {text}");
                    }
                }
                // Nobody wrote there in this segment's life, or opening would complain.
                (Ok(_), Ok((_, again))) => assert_eq!(again.entries, recovered.entries, "{name} byte {byte}"),
                (Ok(_), Err(error)) => {
                    let Error::Damaged(damage) = &error else { panic!("{name} byte {byte}: {error}") };
                    let end = wal_end(id, &io);
                    assert!(damage.offset >= end, "{name} byte {byte}: {error}");
                }
            }
            io.flip(&name, byte, (byte % 8) as u32);
        }
    }
    assert!(found > 800, "{found} found");
    assert!(io.image() == before);
    round(&mut scrub, 4096).unwrap();
}

/// File offset after the last sound frame.
fn wal_end(id: u64, io: &MemIo) -> u64 {
    let walk = wal::inspect(dir(), Arc::new(io.killed())).unwrap();
    let segment = walk.segments.into_iter().find(|segment| segment.id == id).unwrap();
    match segment.content {
        wal::SegmentContent::Frames { end, .. } => end,
        _ => 0,
    }
}

#[test]
fn lost_files_and_lost_sectors() {
    let io = MemIo::default();
    let (wal, options) = build(&io);
    let newest = wal.stats().rotations + 1;
    let oldest = newest + 1 - wal.stats().segments;
    for id in oldest..=newest {
        let name = format!("{id:016x}.wal");
        let gone = io.killed();
        gone.delete(&name);
        let error = round(&mut Scrub::new(dir(), Arc::new(gone), options.watch.clone()), 4096).unwrap_err();
        assert!(matches!(error, Error::Damaged(_)), "{error}");
        // Not even the very last sector may be missing: the log that is open vouches for it.
        let used = wal_end(id, &io).div_ceil(SECTOR as u64) as usize;
        for sector in 0..used {
            let zeroed = io.killed();
            let mut bytes = io.bytes(&name);
            bytes[sector * SECTOR..(sector + 1) * SECTOR].fill(0);
            zeroed.set_bytes(&name, bytes);
            let mut scrub = Scrub::new(dir(), Arc::new(zeroed), options.watch.clone());
            round(&mut scrub, 4096).unwrap_err();
        }
    }
}

/// Slices between appends, rotations, releases and reuse, in every phase: no false alarm.
#[test]
fn the_log_goes_on() {
    for slice in [4096, 8192, 20480] {
        let io = MemIo::default();
        let options = options(SEGMENT);
        let mut wal = create(&io, &options).unwrap();
        let mut scrub = Scrub::new(dir(), Arc::new(io.clone()), options.watch.clone());
        let mut rounds = 0;
        for index in 1..=1500u64 {
            append(&mut wal, &[entry(index, 1, (index as usize * 131) % 1300)]).unwrap();
            if index % 17 == 0 {
                wal.release_before(index.saturating_sub(40)).unwrap();
            }
            for _ in 0..index % 3 {
                rounds += u64::from(scrub.slice(slice).unwrap().round_done);
            }
        }
        assert!(rounds > 10 && wal.stats().rotations > 50, "{rounds} rounds");
    }
}

/// The same with threads and real files, and what is released taken into use again at once.
#[test]
fn beside_a_log_on_real_files() {
    let place = tempfile::tempdir().unwrap();
    let io = Arc::new(OsIo::new());
    let options = Options {
        segment_bytes: 64 << 10,
        upkeep: Upkeep::Thread,
        fill: Fill::Zeros { pace: 0 },
        ..Options::default()
    };
    let mut wal =
        Wal::create(place.path(), io.clone(), Metadata::default(), Start::default(), options.clone())
            .unwrap();
    let mut scrub = Scrub::new(place.path(), io, options.watch.clone());
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            for index in 1..=1200 {
                let entries = [entry(index, 1, 700)];
                wal.append(&Batch { entries: &entries, hard_state: None }).unwrap();
                if index % 50 == 0 {
                    wal.release_before(index - 30).unwrap();
                }
            }
            wal
        });
        let mut rounds = 0;
        while !writer.is_finished() {
            rounds += u64::from(scrub.slice(16 << 10).unwrap().round_done);
        }
        let wal = writer.join().unwrap();
        assert!(wal.stats().rotations > 5, "{} rounds", rounds);
        while !scrub.slice(16 << 10).unwrap().round_done {}
    });
}

/// A write that was cut short stays where it was, in any of its sectors, when the log goes on in another segment.
#[test]
fn a_torn_tail_is_no_damage() {
    let io = MemIo::default();
    let options = options(SEGMENT);
    let mut wal = create(&io, &options).unwrap();
    append(&mut wal, &[entry(1, 1, 300)]).unwrap();
    let name = "0000000000000001.wal";
    let before = io.bytes(name);
    append(&mut wal, &[entry(2, 1, 2000)]).unwrap();
    let after = io.bytes(name);
    drop(wal);
    let sector = |at: usize| at * SECTOR..(at + 1) * SECTOR;
    let written: Vec<_> =
        (0..after.len() / SECTOR).filter(|at| before[sector(*at)] != after[sector(*at)]).collect();
    assert!(written.len() > 3, "{written:?}");
    for subset in 1..(1 << written.len()) - 1 {
        let mut torn = before.clone();
        let kept = written.iter().enumerate().filter(|(number, _)| subset >> number & 1 == 1);
        kept.for_each(|(_, at)| torn[sector(*at)].copy_from_slice(&after[sector(*at)]));
        let cut = io.killed();
        cut.set_bytes(name, torn);
        let options = support::options(SEGMENT);
        let (mut wal, recovered) = support::open(&cut, &options).unwrap();
        assert_eq!((recovered.entries.len(), recovered.torn_tail.is_some()), (1, true), "{subset:b}");
        append(&mut wal, &[entry(2, 1, 300)]).unwrap();
        let mut scrub = Scrub::new(dir(), Arc::new(cut.clone()), options.watch.clone());
        round(&mut scrub, 4096).unwrap_or_else(|error| panic!("sectors {subset:b}: {error}"));
    }
}

#[test]
fn after_everything_is_released_no_damage_before_it_matters() {
    let io = MemIo::default();
    let (mut wal, options) = build(&io);
    let mut scrub = Scrub::new(dir(), Arc::new(io.clone()), options.watch.clone());
    assert!(scrub.log_bytes().unwrap() >= round(&mut scrub, 8192).unwrap() / 2);
    let tail = wal.stats().rotations + 1;
    for id in [tail - 1, tail] {
        io.flip(&format!("{id:016x}.wal"), 5000, 3);
    }
    round(&mut scrub, 8192).unwrap_err();
    support::open(&io.killed(), &support::options(SEGMENT)).err().unwrap();
    wal.release_all().unwrap();
    assert_eq!((wal.first_index(), wal.last_index(), wal.stats().segments), (223, 222, 1));
    let (_, recovered) = support::open(&io.killed(), &support::options(SEGMENT)).unwrap();
    assert_eq!((recovered.start.index, recovered.entries.len()), (222, 0));
    append(&mut wal, &[entry(223, 1, 300)]).unwrap();
    round(&mut scrub, 8192).unwrap();
    let (_, recovered) = support::open(&io.killed(), &support::options(SEGMENT)).unwrap();
    assert_eq!(recovered.entries, [entry(223, 1, 300)]);
}
