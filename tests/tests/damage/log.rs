//! Damage to the log.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tests::Dice;

use crate::base::Bases;
use crate::{Expect, From, Row};

const SECTOR: usize = 512;

/// A segment file of a sound log.
struct Segment {
    name: String,
    bytes: Vec<u8>,
    /// Bytes up to the end of the last frame. Behind it a recycled file has frames of its former life.
    used: usize,
}

impl Segment {
    fn is_blank(&self) -> bool {
        self.bytes[..SECTOR].iter().all(|byte| *byte == 0)
    }
}

fn file(data: &Path, name: &str) -> PathBuf {
    data.join("member/wal").join(name)
}

/// None for a file that is only made ready.
fn end_of_frames(path: &Path) -> Option<usize> {
    let (report, _) = wal::inspect_segment(path, Arc::new(wal::OsIo::new()))?;
    match report.content {
        wal::SegmentContent::Frames { end, .. } => Some(usize::try_from(end).unwrap()),
        wal::SegmentContent::Unused => None,
        wal::SegmentContent::Unreadable(error) => panic!("{}: {error}", path.display()),
    }
}

fn segments(data: &Path) -> Vec<Segment> {
    let dir = data.join("member/wal");
    let mut found: Vec<Segment> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".wal"))
        .map(|name| {
            let bytes = fs::read(dir.join(&name)).unwrap();
            let used = end_of_frames(&dir.join(&name)).unwrap_or(0);
            Segment { name, bytes, used }
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

pub(crate) fn rows(bases: &Bases, dice: &mut Dice) -> Vec<Row> {
    let mut rows = Vec::new();
    for from in [From::Whole, From::Released] {
        let all = segments(&bases.of(from).data);
        let begun: Vec<&Segment> = all.iter().filter(|segment| !segment.is_blank()).collect();
        if from == From::Whole {
            assert!(begun.len() >= 4, "a log of {} segments", begun.len());
        } else {
            assert!(!all[0].name.starts_with("0000000000000001"), "nothing was released");
        }
        for (at, segment) in begun.iter().enumerate() {
            let newest = at + 1 == begun.len();
            bytes(segment, newest, from, dice, &mut rows);
            lengths(segment, at == 0, from, &mut rows);
        }
        let foreign = segments(&bases.other.data);
        files(&begun, &foreign, from, &mut rows);
        beside(&all, from, &mut rows);
    }
    rows
}

fn write_at(data: &Path, name: &str, offset: usize, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(file(data, name)).unwrap();
    file.write_all_at(bytes, offset as u64).unwrap();
}

/// Bit flips and runs of zeros from the header to the last frame.
fn bytes(segment: &Segment, newest: bool, from: From, dice: &mut Dice, rows: &mut Vec<Row>) {
    let end = segment.used;
    for number in 0..60 {
        let offset = if number < 8 { dice.below(SECTOR) } else { dice.below(end) };
        let bit = dice.below(8);
        let byte = segment.bytes[offset] ^ 1 << bit;
        let expect = expected(segment, newest, offset, end);
        let (name, what) = (segment.name.clone(), format!("bit {bit} of byte {offset} of {}", segment.name));
        let row = Row::new("segment", what, from, expect, move |data| write_at(data, &name, offset, &[byte]));
        rows.push(row.one_of_many(number + 1));
    }
    for number in 0..40 {
        let offset = dice.below(end.saturating_sub(8));
        if segment.bytes[offset..offset + 8] == [0; 8] {
            continue;
        }
        let expect = expected(segment, newest, offset + 7, end);
        let (name, what) = (segment.name.clone(), format!("eight zeros at {offset} of {}", segment.name));
        let row = Row::new("segment", what, from, expect, move |data| write_at(data, &name, offset, &[0; 8]));
        rows.push(row.one_of_many(number));
    }
    let (name, mut future) = (segment.name.clone(), segment.bytes[..SECTOR - 8].to_vec());
    future[8] = 99;
    seal_header(&mut future);
    let expect = Expect::Unknown(segment.name.clone());
    rows.push(Row::new("future", format!("{name} of a format to come"), from, expect, move |data| {
        write_at(data, &name, 0, &future);
    }));
}

/// The newest segment ends with a seal, which holds nothing: what is lost of it is as if it had been cut short. So
/// within its last two sectors only the law holds.
fn expected(segment: &Segment, newest: bool, offset: usize, end: usize) -> Expect {
    if newest && offset + 2 * SECTOR >= end { Expect::Lawful } else { Row::damaged(&segment.name) }
}

/// The header's checksum, as the format has it: seeded with a mixture of the segment's id and place 0.
fn seal_header(lane: &mut [u8]) {
    let id = u64::from_le_bytes(lane[16..24].try_into().unwrap());
    let mut x = id.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x = (x ^ (x >> 31)) | (0xff << 56);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&x.to_le_bytes());
    let end = lane.len() - 4;
    hasher.update(&lane[..end]);
    let sum = hasher.finalize();
    lane[end..].copy_from_slice(&sum.to_le_bytes());
}

/// Every sector of some segments, every block of the others.
fn lengths(segment: &Segment, thorough: bool, from: From, rows: &mut Vec<Row>) {
    let step = if thorough && from == From::Whole { SECTOR } else { 16 * SECTOR };
    let lengths =
        (0..segment.bytes.len()).step_by(step).chain([1, 100, segment.used, segment.bytes.len() - 1]);
    for (number, length) in lengths.filter(|length| *length < segment.bytes.len()).enumerate() {
        let (name, what) = (segment.name.clone(), format!("{} is {length} bytes long", segment.name));
        let row = Row::new("segment length", what, from, Row::damaged(&name.clone()), move |data| {
            let file = OpenOptions::new().write(true).open(file(data, &name)).unwrap();
            file.set_len(length as u64).unwrap();
        });
        rows.push(row.one_of_many(number));
    }
    for (number, more) in [1, SECTOR, 100_000].into_iter().enumerate() {
        let (name, what) = (segment.name.clone(), format!("{more} bytes of junk behind {}", segment.name));
        let row = Row::new("segment length", what, from, Row::damaged(&name.clone()), move |data| {
            let file = OpenOptions::new().write(true).open(file(data, &name)).unwrap();
            let end = file.metadata().unwrap().len();
            file.write_all_at(&vec![0x5a; more], end).unwrap();
        });
        rows.push(row.one_of_many(number));
    }
}

/// Segments that are gone, in the wrong place, or of another log.
fn files(begun: &[&Segment], foreign: &[Segment], from: From, rows: &mut Vec<Row>) {
    for (at, segment) in begun.iter().enumerate() {
        let name = segment.name.clone();
        let what = format!("{name} is gone");
        rows.push(Row::new("segment", what, from, Row::damaged(&name.clone()), move |data| {
            fs::remove_file(file(data, &name)).unwrap();
        }));
        if let Some(other) = begun.get(at + 1) {
            let (one, two) = (segment.name.clone(), other.name.clone());
            let what = format!("{one} and {two} are swapped");
            rows.push(Row::new("segment", what, from, Row::damaged(&one.clone()), move |data| {
                let (a, b) = (file(data, &one), file(data, &two));
                let (x, y) = (fs::read(&a).unwrap(), fs::read(&b).unwrap());
                fs::write(a, y).unwrap();
                fs::write(b, x).unwrap();
            }));
            let (one, two) = (segment.name.clone(), other.name.clone());
            let what = format!("{two} is a copy of {one}");
            rows.push(Row::new("segment", what, from, Row::damaged(&two.clone()), move |data| {
                fs::copy(file(data, &one), file(data, &two)).unwrap();
            }));
        }
        if let Some(theirs) = foreign.iter().find(|theirs| theirs.name == segment.name && !theirs.is_blank())
        {
            let (name, bytes) = (segment.name.clone(), theirs.bytes.clone());
            let what = format!("{name} is another cluster's");
            let row = Row::new("segment", what, from, Expect::Refused, move |data| {
                fs::write(file(data, &name), &bytes).unwrap();
            });
            rows.push(row);
        }
    }
    let (last, beyond) = (begun[begun.len() - 1].name.clone(), "00000000000000ff.wal");
    let what = format!("a second {last} far behind");
    rows.push(Row::new("segment", what, from, Expect::Refused, move |data| {
        fs::copy(file(data, &last), file(data, beyond)).unwrap();
    }));
    let name = begun[begun.len() / 2].name.clone();
    let what = format!("{name} is a directory");
    let expect = Expect::Unknown(name.clone());
    let spoilt = name.clone();
    rows.push(Row::new("file", what, from, expect.clone(), move |data| {
        fs::remove_file(file(data, &spoilt)).unwrap();
        fs::create_dir(file(data, &spoilt)).unwrap();
    }));
    let what = format!("{name} is a link to itself");
    rows.push(Row::new("file", what, from, expect, move |data| {
        fs::remove_file(file(data, &name)).unwrap();
        std::os::unix::fs::symlink(file(data, &name), file(data, &name)).unwrap();
    }));
    rows.push(Row::new("file", "the log is gone", from, Row::damaged("member/wal"), |data| {
        fs::remove_dir_all(data.join("member/wal")).unwrap();
    }));
    rows.push(Row::new("file", "the log is empty", from, Row::damaged("member/wal"), |data| {
        fs::remove_dir_all(data.join("member/wal")).unwrap();
        fs::create_dir(data.join("member/wal")).unwrap();
    }));
    rows.push(Row::new("file", "the log is a file", from, Row::damaged("member/wal"), |data| {
        fs::remove_dir_all(data.join("member/wal")).unwrap();
        fs::write(data.join("member/wal"), "a file").unwrap();
    }));
}

/// Files that are no part of the log: nothing depends on them.
fn beside(all: &[Segment], from: From, rows: &mut Vec<Row>) {
    let mut sound = |what: &str, spoil: Box<dyn Fn(&Path) + Send + Sync>| {
        rows.push(Row::new("beside", what, from, Expect::Sound, spoil));
    };
    if let Some(blank) = all.iter().find(|segment| segment.is_blank()) {
        let name = blank.name.clone();
        sound(
            "the prepared segment is gone",
            Box::new(move |data| fs::remove_file(file(data, &name)).unwrap()),
        );
        let name = blank.name.clone();
        sound(
            "the prepared segment is short",
            Box::new(move |data| {
                OpenOptions::new().write(true).open(file(data, &name)).unwrap().set_len(5000).unwrap();
            }),
        );
    }
    sound(
        "an unfinished segment and a spare of junk",
        Box::new(|data| {
            fs::write(file(data, "00000000000000aa.new"), "junk").unwrap();
            fs::write(file(data, "00000000000000bb.spare"), "junk").unwrap();
        }),
    );
    sound(
        "files of somebody else",
        Box::new(|data| {
            fs::create_dir(file(data, "lost+found")).unwrap();
            fs::write(file(data, "notes.txt"), "dear diary").unwrap();
        }),
    );
}
