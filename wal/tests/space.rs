//! Space is foreseen: what can be appended for sure is told, a refused append leaves the log as it was, what could not be
//! prepared is tried again by itself, and nothing that nobody needs stays behind.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

mod support;

use support::{Fault, MemIo, Model, append, create, dir, entry, open, options};
use wal::{Error, Fill, Method, NextSegment, Options, Upkeep, Wal};

const SEGMENT: u64 = 16 << 10;
/// Data of an entry; with its framing and what is left behind at the end of a segment it needs less than twice that.
const DATA: usize = 700;

fn put(wal: &mut Wal, model: &mut Model) -> Result<(), Error> {
    let entries = [entry(wal.last_index() + 1, 1, DATA)];
    append(wal, &entries)?;
    model.append(&entries, None);
    Ok(())
}

/// Waits until the segment after the one in use has its name, without asking for it; and then until the log has it.
fn await_next(io: &MemIo, wal: &mut Wal) {
    // The first segment is 1.
    io.await_name(&format!("{:016x}.wal", wal.stats().rotations + 2));
    wal.await_segment().unwrap();
    assert_eq!(wal.stats().next_segment, NextSegment::Ready);
}

#[test]
fn headroom_is_a_promise() {
    for upkeep in [Upkeep::Inline, Upkeep::Thread] {
        let io = MemIo::default();
        let options = Options { upkeep, ..options(SEGMENT) };
        let mut wal = create(&io, &options).unwrap();
        let mut model = Model::default();
        await_next(&io, &mut wal);
        io.set_full(true);
        let mut before = wal.headroom();
        assert!(before > SEGMENT * 19 / 10 && before < SEGMENT * 2, "{before} bytes");
        while wal.headroom() >= 2 * DATA as u64 {
            put(&mut wal, &mut model).unwrap();
            // A rotation leaves a rest behind; nothing else takes more than the frame.
            assert!(before - wal.headroom() < 2 * DATA as u64, "{before} to {}", wal.headroom());
            before = wal.headroom();
        }
        let error = loop {
            if let Err(error) = put(&mut wal, &mut model) {
                break error;
            }
        };
        assert!(
            matches!(&error, Error::NoSegment { source, .. } if source.raw_os_error() == Some(28)),
            "{error}"
        );
        let NextSegment::Refused { errno: Some(28), reason } = wal.stats().next_segment else {
            panic!("{:?}", wal.stats().next_segment)
        };
        assert!(reason.contains("allocate /log/0000000000000003.new"), "{reason}");
        assert!(
            !io.names().iter().any(|name| name.ends_with(".new")),
            "its space went back: {:?}",
            io.names()
        );
        // What fits still goes.
        let small = [entry(wal.last_index() + 1, 1, 1)];
        if wal.headroom() > 200 {
            append(&mut wal, &small).unwrap();
            model.append(&small, None);
        }
        let left = io.image();
        put(&mut wal, &mut model).unwrap_err();
        assert!(io.image() == left, "a refusal writes nothing");

        io.set_full(false);
        if upkeep == Upkeep::Thread {
            // Nobody asks: the thread tries by itself.
            await_next(&io, &mut wal);
            assert!(wal.headroom() > SEGMENT * 9 / 10);
            let waits = wal.stats().waits;
            put(&mut wal, &mut model).unwrap();
            assert_eq!(wal.stats().waits, waits, "no append waited for it");
        }
        put(&mut wal, &mut model).unwrap();
        drop(wal);
        let (_, recovered) = open(&io, &options).unwrap();
        model.agrees(&recovered, 0).unwrap();
    }
}

/// A disk that stays full: what is released is enough to go on.
#[test]
fn released_segments_help_at_once() {
    for upkeep in [Upkeep::Inline, Upkeep::Thread] {
        let io = MemIo::default();
        let options = Options { upkeep, ..options(SEGMENT) };
        let mut wal = create(&io, &options).unwrap();
        let mut model = Model::default();
        while wal.stats().rotations < 3 {
            put(&mut wal, &mut model).unwrap();
        }
        io.set_full(true);
        while put(&mut wal, &mut model).is_ok() {}
        let released_before = wal.last_index() - 5;
        for _ in 0..2 {
            wal.release_before(released_before).unwrap();
            // The release is recorded by a small frame that still fits.
            wal.seal().unwrap();
        }
        await_next(&io, &mut wal);
        for _ in 0..20 {
            put(&mut wal, &mut model).unwrap();
        }
        drop(wal);
        let (_, recovered) = open(&io, &options).unwrap();
        model.agrees(&recovered, released_before).unwrap();
    }
}

#[test]
fn files_that_nobody_needs_go_away() {
    let io = MemIo::default();
    let options = options(SEGMENT);
    let mut wal = create(&io, &options).unwrap();
    let mut model = Model::default();
    while wal.stats().rotations < 2 {
        put(&mut wal, &mut model).unwrap();
    }
    drop(wal);
    let written = io.clone();
    // A first write into the prepared file that was cut short: its header did not make it.
    let (mut wal, _) = open(&io, &options).unwrap();
    let io = loop {
        let before = io.killed();
        put(&mut wal, &mut model.clone()).unwrap();
        if wal.stats().rotations > 0 {
            break before;
        }
        model.append(&[entry(wal.last_index(), 1, DATA)], None);
    };
    drop(wal);
    let mut torn = io.bytes("0000000000000004.wal");
    torn[512..].copy_from_slice(&written.bytes("0000000000000004.wal")[512..]);
    io.set_bytes("0000000000000004.wal", torn);
    // Processes that ended while they made segments ready.
    io.set_bytes("0000000000000005.new", vec![0; 5000]);
    io.set_bytes("0000000000000009.new", vec![0; 16384]);

    let (mut wal, recovered) = open(&io, &options).unwrap();
    model.agrees(&recovered, 0).unwrap();
    assert!(io.bytes("0000000000000004.wal").iter().all(|&byte| byte == 0), "made anew");
    wal.release_before(10).unwrap();
    put(&mut wal, &mut model).unwrap();
    drop(wal);
    let names = io.names();
    assert!(names.iter().all(|name| name.ends_with(".wal") || name.ends_with(".spare")), "{names:?}");
    assert!(!names.contains(&"0000000000000004.spare".to_owned()), "{names:?}");
}

/// A log with spares, on which an operation fails while it goes on for three segments; how that ended, and what was done since.
fn go_on_with(number: u64, fault: Fault) -> (Result<(), Error>, Wal, Vec<String>) {
    let io = MemIo::default();
    let mut wal = create(&io, &options(SEGMENT)).unwrap();
    let mut model = Model::default();
    while wal.stats().rotations < 3 {
        put(&mut wal, &mut model).unwrap();
    }
    wal.release_before(wal.last_index() - 2).unwrap();
    io.fail_at(number, fault, 0);
    let mut result = Ok(());
    while wal.stats().rotations < 6 && result.is_ok() {
        result = put(&mut wal, &mut model);
    }
    (result, wal, io.trace())
}

/// A spare that fails is given up, and the segment is built instead. What stops the log is a failed append or sync.
#[test]
fn a_spare_that_cannot_be_used_is_passed_over() {
    let (mut given_up, mut passed_over, mut stopped) = (0, 0, 0);
    for number in 1.. {
        let (result, wal, trace) = go_on_with(number, Fault::Eio);
        let Some(failed) = trace.get(number as usize - 1) else { break };
        if let (true, Err(error)) = (failed.starts_with("write durably"), &result) {
            let of_append = matches!(error, Error::Io { operation: "write", path, .. } if path.extension().is_some_and(|name| name == "wal"));
            assert!(of_append, "{failed}: {error}");
            stopped += 1;
            continue;
        }
        if failed.starts_with("sync ") {
            // At the end of the script nothing was needed any more.
            let failed_next = matches!(wal.stats().next_segment, NextSegment::Failed { errno: Some(5), .. });
            assert!(failed_next && result.err().is_none_or(|error| error.is_fatal()), "{failed}");
            stopped += 1;
            continue;
        }
        result.unwrap_or_else(|error| panic!("{failed} was made good before it was needed: {error}"));
        passed_over += 1;
        if let Some((_, spare)) = failed.rsplit_once(' ').filter(|(_, name)| name.ends_with(".spare")) {
            // Once is enough: it is not tried for every segment from now on.
            let removed = trace.contains(&format!("remove {spare}"));
            assert!(removed || failed.starts_with("remove"), "{failed}: {trace:?}");
            given_up += u64::from(removed);
        }
    }
    assert!(given_up >= 2 && passed_over >= 5 && stopped >= 5, "{given_up}, {passed_over}, {stopped}");
}

/// What the directory holds after a sync that failed is unknown, and another sync would not tell.
#[test]
fn a_failed_sync_of_the_directory_is_not_repeated() {
    let (mut met, mut stopped) = (0, 0);
    for number in 1.. {
        let (result, wal, trace) = go_on_with(number, Fault::Eio);
        let Some(failed) = trace.get(number as usize - 1) else { break };
        if failed != "sync log" {
            continue;
        }
        met += 1;
        assert!(!trace[number as usize..].contains(failed), "{trace:?}");
        assert!(matches!(wal.stats().next_segment, NextSegment::Failed { errno: Some(5), .. }));
        // At the end of the script nothing was needed any more.
        let Err(error) = result else { continue };
        assert!(matches!(&error, Error::Io { operation: "sync", path, .. } if path == dir()), "{error}");
        stopped += 1;
    }
    assert!(met >= 4 && stopped >= 3, "{met}, {stopped}");
}

/// Running out of file descriptors is waited out as a lack of space is.
#[test]
fn descriptors_may_run_out() {
    let mut met = 0;
    for number in 1.. {
        let (result, _, trace) = go_on_with(number, Fault::Emfile);
        let Some(failed) = trace.get(number as usize - 1) else { break };
        met += u64::from(failed.starts_with("open ") || failed == "sync log");
        result.unwrap_or_else(|error| panic!("{failed}: {error}"));
    }
    assert!(met >= 5, "{met}");
}

/// The name of the segment that was prepared may not be durable when it is adopted: whoever gave it was killed right after.
#[test]
fn an_adopted_segment_keeps_its_name() {
    let io = MemIo::default();
    let options = options(SEGMENT);
    let mut wal = create(&io, &options).unwrap();
    put(&mut wal, &mut Model::default()).unwrap();
    drop(wal);
    let prepared = "0000000000000002.wal";
    io.forget_sync_of_directory();
    assert!((0..20).any(|seed| !io.power_cut(seed).names().contains(&prepared.to_owned())));
    let (wal, _) = open(&io, &options).unwrap();
    assert_eq!(wal.stats().next_segment, NextSegment::Ready);
    for seed in 0..20 {
        assert!(io.power_cut(seed).names().contains(&prepared.to_owned()), "seed {seed}");
    }
}

/// However appends are made durable: a page cache full of zeros would come down on the device, and on them, all at once.
#[test]
fn files_are_filled_directly() {
    for method in [Method::Auto, Method::Ring, Method::DirectDsync, Method::Dsync, Method::Fdatasync] {
        let io = MemIo::default();
        let options = Options { method, fill: Fill::Zeros { pace: 0 }, ..options(SEGMENT) };
        drop(create(&io, &options).unwrap());
        assert_eq!(io.created_with(), [Method::DirectDsync; 2], "{method:?}");
    }
}

/// Segments that are begun while the disk is full, `fault` being an operation that fails for want of space and no more
/// than once; `None` when the log met it itself and stopped. And how many operations there were.
fn rotations_on_a_full_disk(fault: Option<u64>) -> Option<(u64, u64)> {
    let io = MemIo::default();
    let options = options(SEGMENT);
    let mut wal = create(&io, &options).unwrap();
    let mut model = Model::default();
    while wal.stats().rotations < 6 {
        put(&mut wal, &mut model).unwrap();
    }
    let released_before = wal.last_index() - 2;
    wal.release_before(released_before).unwrap();
    put(&mut wal, &mut model).unwrap();
    io.set_full(true);
    io.restart_count();
    if let Some(number) = fault {
        io.fail_at(number, Fault::Enospc, 0);
    }
    let mut refusals = 0;
    while refusals < 3 {
        match put(&mut wal, &mut model) {
            Ok(()) => {}
            Err(Error::NoSegment { .. }) => refusals += 1,
            Err(error) => {
                assert!(error.is_fatal());
                return None;
            }
        }
    }
    let rotations = wal.stats().rotations;
    drop(wal);
    let operations = io.operations();
    io.restart_count();
    let (_, recovered) = open(&io, &options).unwrap();
    model.agrees(&recovered, released_before).unwrap();
    Some((rotations - 6, operations))
}

/// A spare is the only space there is on a full disk: one that could not be made ready is tried again.
#[test]
fn no_spare_is_lost_on_a_full_disk() {
    let (expected, operations) = rotations_on_a_full_disk(None).unwrap();
    assert!(expected > 2, "the prepared segment and the spares: {expected}");
    let mut looked_at = 0;
    for number in 1..=operations {
        if let Some((rotations, _)) = rotations_on_a_full_disk(Some(number)) {
            assert_eq!(rotations, expected, "operation {number}");
            looked_at += 1;
        }
    }
    assert!(looked_at >= 6, "{looked_at} of {operations}");
}
