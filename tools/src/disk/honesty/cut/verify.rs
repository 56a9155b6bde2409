//! After the cut: what was acknowledged must be there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use measure::{Error, Result};
use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;
use serde::Serialize;

use super::book::Witnessed;
use super::plan::{FILES, Lane, Pattern, Piece, Plan, REPLACED, SEGMENTS, WINDOW};
use super::sector::{Found, SECTOR, Sector};

/// What happened to an acknowledged write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// It is gone, and so is all that came later.
    Lost,
    /// A part of it is there.
    Torn,
    /// It is gone, while something that was written after its acknowledgment is there.
    Reordered,
    /// A file that was removed is there again.
    Returned,
    /// It is there, as far as the file system says, and cannot be read.
    Unreadable,
}

/// One acknowledged write that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) kind: Kind,
    pub(crate) lane: String,
    /// Its name in the folder.
    pub(crate) file: String,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    /// Of the lane's writes, counted from 1.
    pub(crate) sequence: u64,
    /// When it was acknowledged: microseconds since the run began. The witness remembers the last ones only.
    pub(crate) acknowledged_us: Option<u64>,
    /// What is there instead.
    pub(crate) found: String,
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Verdict {
    /// Acknowledged writes, of all lanes.
    pub(crate) acknowledged: u64,
    /// Of those, the ones that must still be there: the others were overwritten or removed by later ones.
    pub(crate) looked_at: u64,
    /// Writes that are there although nobody acknowledged them: in flight when the power was cut.
    pub(crate) beyond: u64,
    pub(crate) findings: Vec<Finding>,
}

/// What must be there: the last acknowledged write of some bytes.
struct Expected {
    piece: Piece,
    sequence: u64,
}

/// What is there.
struct Seen {
    expected: Expected,
    sectors: Vec<Content>,
    /// Why there is no file to look into.
    no_file: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Of {
        sequence: u64,
        time: u64,
    },
    Zeros,
    Garbage,
    /// A whole sector that belongs elsewhere.
    Foreign,
    Nothing,
    Unreadable,
}

/// Compares a folder with what the witness recorded.
pub(crate) fn verify(folder: &Path, witnessed: &Witnessed) -> Result<Verdict> {
    let run = &witnessed.run;
    let plan = Plan::new(run.seed, run.size)?;
    if plan.lanes.len() != witnessed.lanes.len() {
        return Err(strange("has other lanes than this program's runs: use the program that wrote it"));
    }
    check_record(&plan, witnessed)?;
    forget(folder);
    let mut verdict = Verdict::default();
    let mut seen = Vec::new();
    for (lane, record) in plan.lanes.iter().zip(&witnessed.lanes) {
        verdict.acknowledged += record.last;
        for expected in expected(lane, plan.seed, record.last) {
            verdict.looked_at += u64::from(expected.sequence > 0);
            seen.push((lane, look(folder, lane, run.id, expected)?));
        }
        returned(folder, lane, record.last, witnessed, &mut verdict.findings)?;
    }
    // What was begun last of all that is there, and which writes nobody acknowledged.
    let mut newest = (0, String::new());
    let mut beyond = BTreeMap::new();
    for (lane, seen) in &seen {
        let last = witnessed.lanes[lane.number as usize].last;
        for content in &seen.sectors {
            if let Content::Of { sequence, time } = content {
                if *time > newest.0 {
                    newest = (*time, format!("write {sequence} of {}", lane.name()));
                }
                if *sequence > last {
                    beyond.insert((lane.number, *sequence), ());
                }
            }
        }
    }
    verdict.beyond = beyond.len() as u64;
    for (lane, seen) in &seen {
        let record = &witnessed.lanes[lane.number as usize];
        let time = record.ack(seen.expected.sequence).map(|ack| ack.time);
        let in_flight = in_flight(lane, plan.seed, record.last, seen.expected.piece);
        if let Some(finding) = judge(lane, seen, time, &newest, in_flight) {
            verdict.findings.push(finding);
        }
    }
    Ok(verdict)
}

/// The record must be of this very plan, or it proves nothing.
fn check_record(plan: &Plan, witnessed: &Witnessed) -> Result<()> {
    for (lane, record) in plan.lanes.iter().zip(&witnessed.lanes) {
        for ack in record.acks() {
            let pieces = lane.write(plan.seed, ack.sequence);
            let length: u64 = pieces.iter().map(|piece| piece.length).sum();
            let first = pieces.first().map(|piece| (piece.file, piece.offset, length));
            if first != Some((ack.file, ack.offset, ack.length)) {
                return Err(strange(
                    "speaks of writes that this program would not make: use the one that wrote them",
                ));
            }
        }
    }
    Ok(())
}

fn strange(what: &str) -> Error {
    Error::Wrong(format!("the record {what}"))
}

/// What must be there of a lane whose writes up to `last` were acknowledged.
fn expected(lane: &Lane, seed: u64, last: u64) -> Vec<Expected> {
    let of =
        |sequence: u64| lane.write(seed, sequence).into_iter().map(move |piece| Expected { piece, sequence });
    match lane.pattern {
        // One segment fewer than are kept: a write in flight may have removed the oldest.
        Pattern::Append => {
            let segment = last.saturating_sub(1) / lane.blocks;
            let first = segment.saturating_sub(SEGMENTS - 2) * lane.blocks + 1;
            (first..=last).flat_map(of).collect()
        }
        Pattern::Create => (last.saturating_sub(FILES - WINDOW - 2).max(1)..=last).flat_map(of).collect(),
        Pattern::Rename => (last.saturating_sub(REPLACED - 1).max(1)..=last).flat_map(of).collect(),
        Pattern::InPlace => {
            let mut found = BTreeMap::new();
            for sequence in (0..=last).rev() {
                for expected in of(sequence) {
                    found.entry(expected.piece.offset).or_insert(expected);
                }
                if found.len() as u64 == lane.blocks {
                    break;
                }
            }
            found.into_values().collect()
        }
    }
}

/// Whether a write that was not acknowledged may have been under way to the same pages of 4096 bytes.
fn in_flight(lane: &Lane, seed: u64, last: u64, piece: Piece) -> bool {
    let pages = |piece: &Piece| (piece.offset / 4096, (piece.offset + piece.length - 1) / 4096);
    let (first, end) = pages(&piece);
    (last + 1..=last + WINDOW + 1).flat_map(|sequence| lane.write(seed, sequence)).any(|other| {
        let (from, to) = pages(&other);
        other.file == piece.file && from <= end && to >= first
    })
}

fn look(folder: &Path, lane: &Lane, run: u64, expected: Expected) -> Result<Seen> {
    let piece = expected.piece;
    let count = usize::try_from(piece.length).expect("a block is small") / SECTOR;
    let path = folder.join(lane.file_name(piece.file));
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if is_ours(&error) => return Err(Error::io("open", &path)(error)),
        Err(error) => {
            let (content, why) = match error.kind() {
                io::ErrorKind::NotFound => (Content::Nothing, "no such file".to_owned()),
                _ => (Content::Unreadable, format!("a file that cannot be opened: {error}")),
            };
            return Ok(Seen { expected, sectors: vec![content; count], no_file: Some(why) });
        }
    };
    let sectors = (0..count as u64).map(|at| {
        let offset = piece.offset + at * SECTOR as u64;
        let mut bytes = [0; SECTOR];
        match read_sector(&file, offset, &mut bytes) {
            Ok(0) => Content::Nothing,
            Ok(_) => match Sector::decode(&bytes) {
                Found::Zeros => Content::Zeros,
                Found::Garbage => Content::Garbage,
                Found::Sector(Sector { run: r, lane: l, file, offset: o, sequence, time })
                    if (r, l, file, o) == (run, lane.number, piece.file, offset) =>
                {
                    Content::Of { sequence, time }
                }
                Found::Sector(_) => Content::Foreign,
            },
            Err(_) => Content::Unreadable,
        }
    });
    Ok(Seen { sectors: sectors.collect(), expected, no_file: None })
}

/// Whether a failure is this process's, and says nothing about the disk.
fn is_ours(error: &io::Error) -> bool {
    let of_process = [Errno::ACCESS, Errno::PERM, Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    error.raw_os_error().map(Errno::from_raw_os_error).is_some_and(|errno| of_process.contains(&errno))
}

/// Lets go of what the kernel remembers of the files: a disk alone may have lost its power, and the machine not.
fn forget(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_file())
            && let Ok(file) = File::open(entry.path())
        {
            // Where that is refused, memory is believed.
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
        }
    }
}

/// Bytes read; fewer than a sector only at the file's end.
fn read_sector(file: &File, offset: u64, into: &mut [u8; SECTOR]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < SECTOR {
        match file.read_at(&mut into[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// What became of an acknowledged write; nothing if it is there, or if something newer is.
fn judge(
    lane: &Lane,
    seen: &Seen,
    time: Option<u64>,
    newest: &(u64, String),
    in_flight: bool,
) -> Option<Finding> {
    let Expected { piece, sequence } = seen.expected;
    let good = |content: &Content| match content {
        Content::Of { sequence: found, .. } => *found >= sequence,
        // A write in flight may leave anything in its pages but what was there before the acknowledged one.
        Content::Garbage | Content::Unreadable | Content::Foreign => in_flight,
        // Which is zeros, where files are new.
        Content::Zeros => in_flight && lane.pattern == Pattern::InPlace,
        Content::Nothing => false,
    };
    let bad: Vec<usize> = (0..seen.sectors.len()).filter(|at| !good(&seen.sectors[*at])).collect();
    let &worst = bad.first()?;
    let reordered = time.is_some_and(|time| newest.0 > time);
    let unreadable = bad.iter().all(|at| seen.sectors[*at] == Content::Unreadable);
    let kind = match bad.len() == seen.sectors.len() {
        _ if unreadable => Kind::Unreadable,
        false => Kind::Torn,
        true if reordered => Kind::Reordered,
        true => Kind::Lost,
    };
    let mut found = match (&seen.no_file, seen.sectors[worst]) {
        (Some(why), _) => why.clone(),
        (_, Content::Of { sequence: 0, .. }) => "what was there before the first write".to_owned(),
        (_, Content::Of { sequence, time }) => format!("write {sequence}, begun at {}", seconds(time)),
        (_, Content::Zeros) => "zeros".to_owned(),
        (_, Content::Garbage) => "garbage".to_owned(),
        (_, Content::Foreign) => "a sector of another place or run".to_owned(),
        (_, Content::Nothing) => "the file ends before it".to_owned(),
        (_, Content::Unreadable) => "a read error".to_owned(),
    };
    if kind == Kind::Torn {
        let whole_pages = piece.offset % 4096 == 0
            && seen.sectors.chunks(8).enumerate().all(|(page, sectors)| {
                let bad = bad.iter().filter(|at| **at / 8 == page).count();
                bad == 0 || bad == sectors.len()
            });
        let unit = if whole_pages { "4 KiB" } else { "512 B" };
        found = format!("{} of {} sectors, torn at {unit}; there is {found}", bad.len(), seen.sectors.len());
    } else if kind == Kind::Reordered {
        found = format!("{found}, although {} (begun at {}) is there", newest.1, seconds(newest.0));
    }
    Some(Finding {
        kind,
        lane: lane.name(),
        file: lane.file_name(piece.file),
        offset: piece.offset,
        length: piece.length,
        sequence,
        acknowledged_us: time,
        found,
    })
}

/// Files whose removal was durable when a write was acknowledged.
fn returned(
    folder: &Path,
    lane: &Lane,
    last: u64,
    witnessed: &Witnessed,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let first_kept = match lane.pattern {
        Pattern::InPlace | Pattern::Rename => return Ok(()),
        _ if last == 0 => return Ok(()),
        Pattern::Append => ((last - 1) / lane.blocks + 1).saturating_sub(SEGMENTS),
        Pattern::Create => (last + 1).saturating_sub(FILES),
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // Each file in it is a finding already.
        Err(error) if !is_ours(&error) => return Ok(()),
        Err(error) => return Err(Error::io("list", folder)(error)),
    };
    for entry in entries {
        let name = match entry {
            Ok(entry) => entry.file_name(),
            Err(error) if is_ours(&error) => return Err(Error::io("list", folder)(error)),
            // Whoever is not listed has not returned; whoever is missed is looked for by name.
            Err(_) => return Ok(()),
        };
        let Some(file) = name.to_str().and_then(|name| lane.file_of(name)) else { continue };
        if file >= first_kept {
            continue;
        }
        let sequence = match lane.pattern {
            Pattern::Create => file + FILES,
            _ => (file + SEGMENTS) * lane.blocks + 1,
        };
        let record = &witnessed.lanes[lane.number as usize];
        findings.push(Finding {
            kind: Kind::Returned,
            lane: lane.name(),
            file: lane.file_name(file),
            offset: 0,
            length: 0,
            sequence,
            acknowledged_us: record.ack(sequence).map(|ack| ack.time),
            found: "the file, which was removed before that write was acknowledged".to_owned(),
        });
    }
    Ok(())
}

/// For people.
pub(crate) fn seconds(micros: u64) -> String {
    format!("{}.{:06} s", micros / 1_000_000, micros % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::honesty::cut::plan::MIN_SIZE;

    /// The lanes of both patterns whose blocks are not whole pages: 2,560 bytes, synced by fdatasync.
    fn lane(pattern: Pattern) -> Lane {
        let plan = Plan::new(SEED, MIN_SIZE).unwrap();
        plan.lanes.into_iter().find(|lane| lane.pattern == pattern && lane.block == 2560).unwrap()
    }

    const SEED: u64 = 5;

    fn found(lane: &Lane, content: Content, in_flight: bool) -> Option<Kind> {
        let piece = Piece { file: 0, offset: 0, length: lane.block };
        let sectors = vec![content; lane.block as usize / SECTOR];
        let seen = Seen { expected: Expected { piece, sequence: 7 }, sectors, no_file: None };
        judge(lane, &seen, Some(5), &(0, String::new()), in_flight).map(|finding| finding.kind)
    }

    #[test]
    fn a_write_in_flight_may_leave_anything_but_what_was_there_before() {
        let (append, in_place) = (lane(Pattern::Append), lane(Pattern::InPlace));
        for content in [Content::Garbage, Content::Foreign, Content::Unreadable] {
            for lane in [&append, &in_place] {
                assert_eq!(found(lane, content, true), None, "{content:?}");
                assert!(found(lane, content, false).is_some(), "{content:?}");
            }
        }
        assert_eq!(found(&in_place, Content::Zeros, true), None);
        assert_eq!(found(&in_place, Content::Zeros, false), Some(Kind::Lost));
        // Zeros are what a file holds before it is appended to: the write is gone, whatever was in flight.
        assert_eq!(found(&append, Content::Zeros, true), Some(Kind::Lost));
        for lane in [&append, &in_place] {
            let older = Content::Of { sequence: 6, time: 1 };
            let newer = Content::Of { sequence: 8, time: 1 };
            assert_eq!((found(lane, older, true), found(lane, newer, false)), (Some(Kind::Lost), None));
            assert_eq!(found(lane, Content::Nothing, true), Some(Kind::Lost));
            assert_eq!(found(lane, Content::Unreadable, false), Some(Kind::Unreadable));
        }
    }

    #[test]
    fn in_flight_is_what_shares_a_page_with_a_write_that_was_not_acknowledged() {
        let lane = lane(Pattern::Append);
        let piece = |sequence: u64| lane.write(SEED, sequence)[0];
        // Write 2 begins in the page in which write 1 ends, and write 9 in a page of its own.
        assert!(in_flight(&lane, SEED, 1, piece(1)));
        assert_eq!((piece(8).offset + piece(8).length) % 4096, 0);
        assert!(!in_flight(&lane, SEED, 8, piece(8)));
        // What lies further back has nobody beside it.
        assert!(!in_flight(&lane, SEED, 20, piece(1)));
        // In another file neither.
        let last = lane.blocks;
        assert_ne!(piece(last).file, piece(last + 1).file);
        assert!(!in_flight(&lane, SEED, last, piece(last)));
    }
}
