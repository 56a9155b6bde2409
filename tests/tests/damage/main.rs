//! Every kind of damage to a member's files: the server refuses with the place, or repairs as documented, and `gravenutl
//! check` says the same.
//!
//! A row of the catalogue spoils a copy of a real data directory. The law, whatever the row (`judge`):
//!
//! - `check` changes nothing, and neither does a server that refuses: every byte, name, length and mode stays;
//! - `check` ends with 0 exactly when a server serves what it had served before, whole and unchanged;
//! - otherwise the server ends with 1, at start or when it reads the place, names the file, and the page or offset that
//!   `check` names;
//! - nobody panics, hangs or takes more than 1 GiB of memory.
//!
//! What `check` must say is also written in each row, so that it can't agree with a server that overlooks something.
//! Repairs that count as such: a write cut short at the log's end is left out, an older meta page is taken where the newest
//! can't be read and the log still covers it, a database that is gone or empty is made anew from a log that is whole.
//!
//! Every row goes through `check`, and those that say so, or one in `SERVED`, through the server. The seed of places is
//! fixed; `GRAVEN_DAMAGE_SEED` sets another.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints its seed"
)]

mod access;
mod base;
mod database;
mod directory;
mod judge;
mod log;
mod pages;
mod truth;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use tests::{Dice, Outcome, Trial, picture, utl};

use base::Bases;
use judge::Checker;

/// Of rows that come in great numbers, one in so many is tried with a server.
const SERVED: usize = 60;

/// Which of the two data directories a row starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// Its log begins with the first entry.
    Whole,
    /// The log's beginning has been released.
    Released,
}

/// What `check` must find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Nothing that matters.
    Sound,
    /// Damage or a refusal at this file, by the end of its path.
    Damaged(String),
    /// That it can't tell, because of this file.
    Unknown(String),
    /// One of the last two.
    Refused,
    /// Whatever is right: only the law holds.
    Lawful,
}

type Spoil = Box<dyn Fn(&Path) + Send + Sync>;

/// One line of the catalogue.
pub(crate) struct Row {
    /// Rows of a kind belong together, for those who take a checker's sight of one away.
    pub(crate) kind: &'static str,
    pub(crate) what: String,
    pub(crate) from: From,
    pub(crate) spoil: Spoil,
    pub(crate) expect: Expect,
    pub(crate) serve: bool,
    pub(crate) trial: Trial,
}

impl Row {
    pub(crate) fn new(
        kind: &'static str,
        what: impl Into<String>,
        from: From,
        expect: Expect,
        spoil: impl Fn(&Path) + Send + Sync + 'static,
    ) -> Row {
        let (what, spoil) = (what.into(), Box::new(spoil));
        Row { kind, what, from, spoil, expect, serve: true, trial: Trial::default() }
    }

    /// One of many: not every one of them is tried with a server.
    pub(crate) fn one_of_many(self, number: usize) -> Row {
        Row { serve: number.is_multiple_of(SERVED), ..self }
    }

    pub(crate) fn damaged(file: &str) -> Expect {
        Expect::Damaged(file.to_owned())
    }
}

fn catalogue(bases: &Bases, dice: &mut Dice) -> Vec<Row> {
    let mut rows = vec![
        Row::new("nothing", "nothing at all", From::Whole, Expect::Sound, |_| {}),
        Row::new("nothing", "nothing at all", From::Released, Expect::Sound, |_| {}),
    ];
    rows.extend(database::rows(bases, dice));
    rows.extend(log::rows(bases, dice));
    rows.extend(directory::rows(bases));
    rows.extend(access::rows());
    rows
}

/// Judges all rows on two threads; the complaints.
fn judge_all(bases: &Bases, rows: &[Row], checker: Checker) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut complaints = Vec::new();
        while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(why) = judge::judge(bases, row, checker) {
                complaints.push(format!("{} / {} ({:?}): {why:#}", row.kind, row.what, row.from));
            }
        }
        complaints
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn every_row_of_the_catalogue() {
    let seed = std::env::var("GRAVEN_DAMAGE_SEED").map_or(14, |text| text.parse().unwrap());
    println!("seed {seed}");
    let bases = Bases::make().unwrap();
    let rows = catalogue(&bases, &mut Dice::new(seed));
    let served = rows.iter().filter(|row| row.serve).count();
    println!("{} rows, {served} of them with a server", rows.len());
    let complaints = judge_all(&bases, &rows, Checker::Real);
    assert!(
        complaints.is_empty(),
        "seed {seed}, {} of {}:\n{}",
        complaints.len(),
        rows.len(),
        complaints.join("\n")
    );

    // A checker that overlooks one kind of thing is found out by the rows of that kind.
    for (kind, blind) in [
        ("page", Checker::Blind("member/db")),
        ("segment", Checker::Blind(".wal")),
        ("together", Checker::Blind("member/db")),
        ("marker", Checker::Blind("GRAVEN")),
    ] {
        let few: Vec<Row> = catalogue(&bases, &mut Dice::new(seed))
            .into_iter()
            .filter(|row| row.kind == kind)
            .take(12)
            .map(|row| Row { serve: false, ..row })
            .collect();
        assert!(!few.is_empty(), "no rows of {kind}");
        let complaints = judge_all(&bases, &few, blind);
        assert!(!complaints.is_empty(), "a checker that does not see {kind} passes");
    }
}

/// Looking is possible where nothing can be written; serving is not.
#[test]
fn a_read_only_file_system() {
    let bases = Bases::make().unwrap();
    let data = &bases.of(From::Whole).data;
    let Some(through) = access::read_only(data) else {
        println!("not tried: no read-only mount can be made here");
        return;
    };
    let before = picture(data);
    let trial = Trial { through: through.through, ..base::trial() };
    let looked = trial.command(utl()).arg("check").arg(data).output().unwrap();
    assert!(looked.status.success(), "{}", String::from_utf8_lossy(&looked.stderr));
    match trial.serve(data).unwrap() {
        Outcome::Refused(status, said) => {
            assert_eq!(status.code(), Some(1), "{said}");
            assert!(said.contains("Read-only file system"), "{said}");
        }
        Outcome::Serving(_) => panic!("it serves what it can't write"),
    }
    assert!(picture(data) == before, "something changed");
}
