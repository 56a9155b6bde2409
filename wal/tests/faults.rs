//! A fault at every operation, and a power cut during every operation: nothing acknowledged is lost, a failed write or
//! sync stops the log, and what was in flight is there whole or not at all.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use support::{Fault, MemIo, Model, append, create, dir, entry, open, options, size};
use wal::{Batch, Entry, Error, HardState, NextSegment, Options, Recovered, Upkeep, Wal, exists};

/// What was promised so far.
#[derive(Default)]
struct Run {
    created: bool,
    acknowledged: Model,
    /// With the append that was under way when something failed.
    in_flight: Option<Model>,
    released_before: u64,
    /// Appends refused without harm, and then taken.
    refusals: u64,
}

impl Run {
    fn append(
        &mut self,
        wal: &mut Wal,
        entries: &[Entry],
        hard_state: Option<HardState>,
    ) -> Result<(), Error> {
        let mut with = self.acknowledged.clone();
        with.append(entries, hard_state);
        let batch = Batch { entries, hard_state };
        let mut result = wal.append(&batch);
        if let Err(Error::NoSegment { .. }) = result {
            // Not poisoned: when there is room again, the same append succeeds.
            self.refusals += 1;
            result = wal.append(&batch);
        }
        match result {
            Ok(()) => {
                self.acknowledged = with;
                Ok(())
            }
            Err(error) => {
                self.in_flight = Some(with);
                if error.is_fatal() {
                    assert_stopped(wal, &error);
                }
                Err(error)
            }
        }
    }

    /// Creates, appends over several segments, replaces, releases, seals, closes, opens and goes on.
    fn script(&mut self, io: &MemIo, options: &Options) -> Result<(), Error> {
        let mut wal = create(io, options)?;
        self.created = true;
        self.write(&mut wal, 1)?;
        wal.close()?;
        let (mut wal, recovered) = open(io, options)?;
        self.check(&recovered).unwrap();
        self.write(&mut wal, 2)?;
        wal.close()?;
        let (_, recovered) = open(io, options)?;
        self.check(&recovered).unwrap();
        Ok(())
    }

    fn write(&mut self, wal: &mut Wal, term: u64) -> Result<(), Error> {
        self.append(wal, &[], Some(HardState { term, vote: 1, commit: 0 }))?;
        for _ in 0..6 {
            let next = wal.last_index() + 1;
            let entries = [entry(next, term, 700), entry(next + 1, term, 900)];
            self.append(wal, &entries, Some(HardState { term, vote: 1, commit: next }))?;
        }
        let conflict = wal.last_index() - 2;
        self.append(wal, &[entry(conflict, term + 1, 30)], None)?;
        self.released_before = wal.last_index() - 3;
        wal.release_before(self.released_before)?;
        wal.seal()?;
        for _ in 0..4 {
            self.append(wal, &[entry(wal.last_index() + 1, term + 1, 1500)], None)?;
        }
        Ok(())
    }

    fn check(&self, recovered: &Recovered) -> Result<(), String> {
        let with = self.in_flight.as_ref().map(|model| model.agrees(recovered, self.released_before));
        if with.is_some_and(|agrees| agrees.is_ok()) {
            return Ok(());
        }
        self.acknowledged.agrees(recovered, self.released_before)
    }

    /// Opens what is left, checks it, and goes on.
    fn reopen(&mut self, io: &MemIo, options: &Options, what: &str) {
        if !self.created && !exists(dir(), io).unwrap() {
            return;
        }
        let opened = open(io, options);
        let (mut wal, recovered) = opened.unwrap_or_else(|error| panic!("{what}: {error}\n{:?}", io.trace()));
        self.check(&recovered).unwrap_or_else(|lost| panic!("{what}: {lost}\n{:?}", io.trace()));
        let next = entry(wal.last_index() + 1, 9, 10);
        append(&mut wal, std::slice::from_ref(&next)).unwrap();
        drop(wal);
        let (wal, again) = open(io, options).unwrap_or_else(|error| panic!("{what}, again: {error}"));
        assert_eq!(again.entries.last(), Some(&next), "{what}");
        assert_eq!(again.torn_tail, None, "{what}");
        assert_eq!(wal.last_index(), next.index);
    }
}

/// After a failure every call says what failed, and nothing is written any more.
fn assert_stopped(wal: &mut Wal, error: &Error) {
    let Error::Io { path, offset, source, .. } = error else { panic!("{error}") };
    let last = wal.last_index();
    let next = [entry(last + 1, 9, 10)];
    for call in 0..3 {
        let result = match call {
            0 => append(wal, &next),
            1 => wal.seal(),
            _ => wal.release_before(1),
        };
        match result.unwrap_err() {
            Error::Poisoned { path: p, offset: o, errno, message, .. } => {
                assert_eq!((&p, o, errno), (path, *offset, source.raw_os_error()));
                assert_eq!(message, source.to_string());
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(wal.last_index(), last);
}

fn small() -> Options {
    Options { spares: 1, ..options(8 << 10) }
}

fn operations() -> u64 {
    let io = MemIo::default();
    Run::default().script(&io, &small()).unwrap();
    io.operations()
}

#[test]
fn a_fault_at_every_operation() {
    let mut stopped = 0;
    let mut mended = 0;
    for number in 1..=operations() {
        for fault in [Fault::Eio, Fault::Enospc, Fault::Short] {
            let what = format!("{fault:?} at operation {number}");
            let io = MemIo::default();
            io.fail_at(number, fault, number);
            let mut run = Run::default();
            match run.script(&io, &small()) {
                // Upkeep failed, and was done again.
                Ok(()) => mended += 1,
                Err(error) => {
                    assert!(matches!(error, Error::Io { .. }), "{what}: {error}");
                    assert!(error.to_string().contains("/log"), "{what}: {error} names no path");
                    stopped += 1;
                    run.reopen(&io.killed(), &small(), &format!("{what}, killed"));
                    run.reopen(&io.power_cut(number), &small(), &format!("{what}, power cut"));
                }
            }
        }
    }
    assert!(stopped > 100 && mended > 10, "{stopped} stopped, {mended} mended");
}

#[test]
fn power_fails_during_every_operation() {
    let seeds = size("GRAVEN_WAL_CRASH_SEEDS", 12);
    for number in 1..=operations() {
        for seed in 0..seeds {
            let what = format!("operation {number} seed {seed}");
            let io = MemIo::default();
            io.fail_at(number, Fault::PowerCut, seed);
            let mut run = Run::default();
            let result = run.script(&io, &small());
            let left = io.power_cut(seed);
            assert!(result.is_err() || run.refusals == 0, "{what}: nothing works after the power cut");
            // Power fails again while the log is being opened, at an operation chosen by the seed.
            if seed % 2 == 1 && exists(dir(), &left).unwrap() {
                let again = left.killed();
                again.fail_at(1 + seed * 7 % 23, Fault::PowerCut, seed);
                let mut second = Run {
                    created: true,
                    acknowledged: run.acknowledged.clone(),
                    in_flight: run.in_flight.take(),
                    released_before: run.released_before,
                    refusals: 0,
                };
                if let Ok((mut wal, recovered)) = open(&again, &small()) {
                    second.check(&recovered).unwrap_or_else(|lost| panic!("{what}, opened: {lost}"));
                    second.acknowledged =
                        Model { entries: recovered.entries, hard_state: recovered.hard_state };
                    second.in_flight = None;
                    let next = wal.last_index() + 1;
                    for (index, bytes) in [(next, 1200), (next + 1, 5200), (next + 2, 5200)] {
                        if second.append(&mut wal, &[entry(index, 9, bytes)], None).is_err() {
                            break;
                        }
                    }
                }
                second.reopen(&again.power_cut(seed), &small(), &format!("{what}, twice"));
            } else {
                run.reopen(&left, &small(), &what);
            }
        }
    }
}

/// Space is foreseen: while none is to be had, what was prepared is filled, then appends are refused, and service
/// resumes by itself.
#[test]
fn without_space_appends_are_refused_until_there_is_some() {
    for upkeep in [Upkeep::Inline, Upkeep::Thread] {
        let io = MemIo::default();
        let options = Options { upkeep, ..small() };
        let mut wal = create(&io, &options).unwrap();
        let mut model = Model::default();
        let put = |wal: &mut Wal, model: &mut Model| {
            let entries = [entry(wal.last_index() + 1, 1, 800)];
            let result = append(wal, &entries);
            if result.is_ok() {
                model.append(&entries, None);
            }
            result
        };
        while wal.stats().rotations == 0 {
            put(&mut wal, &mut model).unwrap();
        }
        io.set_full(true);
        let error = loop {
            if let Err(error) = put(&mut wal, &mut model) {
                break error;
            }
        };
        assert!(wal.stats().rotations >= 1, "what was ready is used");
        for error in [error, put(&mut wal, &mut model).unwrap_err()] {
            assert!(!error.is_fatal());
            let Error::NoSegment { path, source, .. } = &error else { panic!("{error}") };
            assert_eq!(source.raw_os_error(), Some(28));
            assert!(path.extension().is_some_and(|ending| ending == "new"), "{error}");
        }
        assert!(matches!(wal.stats().next_segment, NextSegment::Refused { errno: Some(28), .. }));
        io.set_full(false);
        put(&mut wal, &mut model).unwrap();
        drop(wal);
        let (_, recovered) = open(&io, &options).unwrap();
        model.agrees(&recovered, 0).unwrap();
    }
}

/// Whatever else than missing space is in the way of the next segment stops the log where the segment is needed. A
/// failed sync does so even where trying again would succeed.
#[test]
fn what_is_not_missing_space_stops_the_log() {
    let (mut stopped, mut syncs) = (0, 0);
    for number in 1..40 {
        for (fault, waited_out) in [(Fault::Enospc, true), (Fault::Eio, false)] {
            let io = MemIo::default();
            let mut wal = create(&io, &small()).unwrap();
            // The second segment is ready; the third is prepared when the second is begun.
            io.fail_at(number, fault, number);
            let error = loop {
                let next = [entry(wal.last_index() + 1, 1, 800)];
                match append(&mut wal, &next) {
                    Ok(()) if wal.stats().rotations == 2 => break None,
                    Ok(()) => {}
                    Err(error) => break Some(error),
                }
            };
            let failed = matches!(wal.stats().next_segment, NextSegment::Failed { errno: Some(5), .. });
            let Some(error) = error.filter(|_| failed || waited_out) else { continue };
            let what = format!("{fault:?} at operation {number}: {error}");
            if waited_out {
                assert!(!failed, "{what}");
                continue;
            }
            assert_stopped(&mut wal, &error);
            stopped += 1;
            syncs += usize::from(what.contains("sync"));
        }
    }
    assert!(stopped >= 2 && syncs == stopped, "{stopped} stopped, {syncs} of them by a failed sync");
}
