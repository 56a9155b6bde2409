//! Damage to the engine's file.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use tests::Dice;

use crate::base::Bases;
use crate::pages::{PAGE, Pages, seal_meta, u32_at};
use crate::{Expect, From, Row};

const DB: &str = "member/db";

fn write_at(data: &Path, offset: usize, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(data.join(DB)).unwrap();
    file.write_all_at(bytes, offset as u64).unwrap();
}

pub(crate) fn rows(bases: &Bases, dice: &mut Dice) -> Vec<Row> {
    let mut rows = Vec::new();
    for from in [From::Whole, From::Released] {
        let pages = Pages::read(fs::read(bases.of(from).data.join(DB)).unwrap());
        assert!(pages.used().len() > 8 && !pages.free().is_empty(), "a database of {} pages", pages.count);
        pages_damaged(&pages, from, dice, &mut rows);
        metas_damaged(&pages, from, dice, &mut rows);
        lengths(&pages, from, &mut rows);
        whole_files(bases, from, &mut rows);
    }
    rows
}

/// Each page of the newest state, of whatever kind: its file is damaged, and check says so at that page or at one that
/// refers to it.
fn pages_damaged(pages: &Pages, from: From, dice: &mut Dice, rows: &mut Vec<Row>) {
    let used = pages.used();
    let mut number = 0;
    let mut add = |what: String, offset: usize, bytes: Vec<u8>| {
        let row = Row::new("page", what, from, Row::damaged(DB), move |data| write_at(data, offset, &bytes));
        rows.push(row.one_of_many(number));
        number += 1;
    };
    for &page in &used {
        let start = page * PAGE;
        let old = &pages.bytes[start..start + PAGE];
        let (at, bit) = (dice.below(PAGE), dice.below(8));
        add(format!("bit {bit} of byte {at} of page {page}"), start + at, vec![old[at] ^ 1 << bit]);
        let at = (0..PAGE - 8).cycle().skip(dice.below(PAGE)).find(|&at| old[at..at + 8] != [0; 8]).unwrap();
        add(format!("eight zeros at byte {at} of page {page}"), start + at, vec![0; 8]);
        add(format!("page {page} is zeros"), start, vec![0; PAGE]);
        let other = *dice.pick(&used);
        let bytes = pages.bytes[other * PAGE..(other + 1) * PAGE].to_vec();
        // Values that repeat themselves may fill two pages alike.
        if bytes != old {
            add(format!("page {page} is a copy of {other}"), start, bytes);
        }
    }
    // A write that never reached the disk: the page as it was in another state.
    let stale: Vec<usize> =
        used.iter().copied().filter(|&page| u32_at(&pages.bytes, page * PAGE) != 0).collect();
    for &page in stale.iter().step_by(5) {
        let mut bytes = pages.bytes[page * PAGE..(page + 1) * PAGE].to_vec();
        bytes[8] ^= 1;
        add(format!("page {page} is of another generation"), page * PAGE, bytes);
    }
    for &page in pages.free().iter().step_by(40) {
        let what = format!("free page {page} is junk");
        let row = Row::new("free page", what, from, Expect::Sound, move |data| {
            write_at(data, page * PAGE, &[0xa5; PAGE]);
        });
        rows.push(row.one_of_many(page));
    }
}

fn metas_damaged(pages: &Pages, from: From, dice: &mut Dice, rows: &mut Vec<Row>) {
    let newest = pages.newest_meta;
    for meta in [newest, 1 - newest] {
        // Without the older one nothing is missing. Without the newest the log has to be applied from further back, which it
        // can as far as it is still there.
        let expect = match (meta == newest, from) {
            (false, _) | (true, From::Whole) => Expect::Sound,
            (true, From::Released) => Expect::Lawful,
        };
        for place in 0..6 {
            let at = meta * PAGE + dice.below(if place < 4 { 1600 } else { PAGE });
            let byte = pages.bytes[at] ^ 1 << dice.below(8);
            let what = format!("byte {} of meta page {meta}", at % PAGE);
            let row = Row::new("meta", what, from, expect.clone(), move |data| write_at(data, at, &[byte]));
            rows.push(Row { serve: place == 0, ..row });
        }
        let row = Row::new("meta", format!("meta page {meta} is zeros"), from, expect, move |data| {
            write_at(data, meta * PAGE, &[0; PAGE]);
        });
        rows.push(row);
    }
    rows.push(Row::new("meta", "both meta pages are zeros", from, Row::damaged(DB), |data| {
        write_at(data, 0, &[0; 2 * PAGE]);
    }));
    let (one, two) = (pages.bytes[..PAGE].to_vec(), pages.bytes[PAGE..2 * PAGE].to_vec());
    rows.push(Row::new("meta", "the meta pages are swapped", from, Row::damaged(DB), move |data| {
        write_at(data, 0, &two);
        write_at(data, PAGE, &one);
    }));
    let mut future = pages.bytes[newest * PAGE..(newest + 1) * PAGE].to_vec();
    future[8] = 99;
    seal_meta(&mut future, newest as u32);
    let what = "a meta page of a format to come";
    rows.push(Row::new("meta", what, from, Expect::Unknown(DB.to_owned()), move |data| {
        write_at(data, newest * PAGE, &future);
    }));
}

fn lengths(pages: &Pages, from: From, rows: &mut Vec<Row>) {
    let near = (0..2 * PAGE).step_by(512).chain([1, 511, 513, PAGE - 1, PAGE + 1, 2 * PAGE + 1]);
    let far = (2 * PAGE..pages.count * PAGE).step_by(PAGE);
    let last = pages.count * PAGE;
    for (number, length) in near.chain(far).chain([last - 512, last - 1]).enumerate() {
        // A database of nothing, or of no more than how every one begins, is one that was never begun.
        let expect = match (length, from) {
            (0 | 1, From::Whole) => Expect::Sound,
            _ => Row::damaged(DB),
        };
        let row = Row::new("length", format!("{length} bytes long"), from, expect, move |data| {
            OpenOptions::new().write(true).open(data.join(DB)).unwrap().set_len(length as u64).unwrap();
        });
        rows.push(if length == 0 { row } else { row.one_of_many(number) });
    }
    // The file grows before a checkpoint that may never be completed.
    for more in [1, 512, 4096, 100_000] {
        let row =
            Row::new("length", format!("{more} bytes of junk behind"), from, Expect::Sound, move |data| {
                let file = OpenOptions::new().write(true).open(data.join(DB)).unwrap();
                let end = file.metadata().unwrap().len();
                file.write_all_at(&vec![0x5a; more], end).unwrap();
            });
        rows.push(row);
    }
}

fn whole_files(bases: &Bases, from: From, rows: &mut Vec<Row>) {
    let gone = if from == From::Whole { Expect::Sound } else { Row::damaged(DB) };
    rows.push(Row::new("together", "the database is gone", from, gone, |data| {
        fs::remove_file(data.join(DB)).unwrap();
    }));
    let others = fs::read(bases.other.data.join(DB)).unwrap();
    rows.push(Row::new("together", "another member's database", from, Row::damaged(DB), move |data| {
        fs::write(data.join(DB), &others).unwrap();
    }));
    let earlier = bases.of(from).earlier.clone();
    let expect = if from == From::Whole { Expect::Sound } else { Expect::Lawful };
    rows.push(Row::new("together", "the database as it was earlier", from, expect, move |data| {
        fs::write(data.join(DB), &earlier).unwrap();
    }));
    rows.push(Row::new(
        "together",
        "a letter in the place of the database",
        from,
        Row::damaged(DB),
        |data| {
            fs::write(data.join(DB), "dear diary").unwrap();
        },
    ));
    rows.push(Row::new(
        "file",
        "the database is a directory",
        from,
        Expect::Unknown(DB.to_owned()),
        |data| {
            fs::remove_file(data.join(DB)).unwrap();
            fs::create_dir(data.join(DB)).unwrap();
        },
    ));
    rows.push(Row::new(
        "file",
        "the database is a link to itself",
        from,
        Expect::Unknown(DB.to_owned()),
        |data| {
            fs::remove_file(data.join(DB)).unwrap();
            std::os::unix::fs::symlink(data.join(DB), data.join(DB)).unwrap();
        },
    ));
}
