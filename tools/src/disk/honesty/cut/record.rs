//! The lines that writer and witness exchange, and that the witness's record consists of. Each is ASCII, at most
//! [`LINE`] bytes with its end, and closes with ` ~` and the CRC-32 of what stands before, in eight hexadecimal digits.
//! Whatever else arrives is an error, never a panic.
//!
//! | line | from | says |
//! |---|---|---|
//! | `run V ID seed N size N begun MS lanes N on HOST dir PATH` | writer, first | a run, also one that goes on after a lost connection |
//! | `ack ID LANE SEQUENCE MICROS FILE OFFSET LENGTH` | writer | a sync has returned |
//! | `end ID` | writer | the run came to its end, without a cut |
//! | `beat` | writer | it still lives |
//! | `fetch` | verify, instead of a run | asks for the record, which comes with a line `recorded N` at its end: so many lines |
//! | `ok LAST...` | witness, first | the last recorded write of each lane |
//! | `no REASON` | witness | and it hangs up |
//! | `recorded N` | witness | the first N acks of this connection are on its disk |
//!
//! The record has a first line of its own, then `run`, `ack` and `end` lines, of several runs if there were several. Its
//! last line may be cut off, because the witness can be killed as well. The folder of a run has the first two lines, too, and
//! `up BOOT MOUNT`: since when the machine was up.

use std::fmt::Write;
use std::io::{self, BufRead, Read as _};

use super::place::Uptime;

/// Of the protocol and the record: goes up when an older program would misunderstand.
pub(crate) const VERSION: u32 = 1;
/// Bytes of a line, with its end.
pub(crate) const LINE: usize = 1024;
/// Lanes that a run may have.
pub(crate) const MAX_LANES: u32 = 32;

/// A run, as it introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) id: u64,
    pub(crate) seed: u64,
    pub(crate) size: u64,
    /// Milliseconds since 1970.
    pub(crate) begun: u64,
    pub(crate) lanes: u32,
    /// Name of the machine that writes.
    pub(crate) host: String,
    /// What DIR is: its path, and what is mounted there.
    pub(crate) dir: String,
}

/// A write whose sync has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) run: u64,
    pub(crate) lane: u32,
    pub(crate) sequence: u64,
    /// Microseconds since the run began, after the sync returned.
    pub(crate) time: u64,
    /// Of its first piece.
    pub(crate) file: u64,
    /// Of its first piece.
    pub(crate) offset: u64,
    /// Of all its pieces.
    pub(crate) length: u64,
}

/// Any line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Head,
    Run(Run),
    Ack(Ack),
    End(u64),
    Beat,
    Fetch,
    Ok(Vec<u64>),
    No(String),
    Recorded(u64),
    Up(Uptime),
}

impl Line {
    /// With its checksum and its end.
    pub(crate) fn encode(&self) -> String {
        let mut text = match self {
            Line::Head => format!("graven-disk-witness {VERSION}"),
            Line::Run(run) => format!(
                "run {VERSION} {:016x} seed {} size {} begun {} lanes {} on {} dir {}",
                run.id,
                run.seed,
                run.size,
                run.begun,
                run.lanes,
                escape(&run.host, 64),
                escape(&run.dir, 600)
            ),
            Line::Ack(ack) => format!(
                "ack {:016x} {} {} {} {} {} {}",
                ack.run, ack.lane, ack.sequence, ack.time, ack.file, ack.offset, ack.length
            ),
            Line::End(run) => format!("end {run:016x}"),
            Line::Beat => "beat".to_owned(),
            Line::Fetch => "fetch".to_owned(),
            Line::Ok(last) => last.iter().fold("ok".to_owned(), |text, last| format!("{text} {last}")),
            Line::No(reason) => format!("no {}", escape(reason, 300)),
            Line::Recorded(count) => format!("recorded {count}"),
            Line::Up(uptime) => format!("up {} {}", escape(&uptime.boot, 64), uptime.mount),
        };
        let crc = crc32fast::hash(text.as_bytes());
        writeln!(text, " ~{crc:08x}").expect("a string takes everything");
        text
    }

    /// Of a line with or without its end; says what is wrong with it otherwise.
    pub(crate) fn decode(line: &[u8]) -> Result<Line, String> {
        let wrong = |what: &str| Err(format!("{what}: {}", escape(&String::from_utf8_lossy(line), 80)));
        let Some(text) = std::str::from_utf8(line).ok().filter(|text| text.is_ascii()) else {
            return wrong("not a line of this protocol");
        };
        let text = text.strip_suffix('\n').unwrap_or(text);
        let Some((text, crc)) = text.rsplit_once(" ~") else { return wrong("a line without a checksum") };
        if crc != format!("{:08x}", crc32fast::hash(text.as_bytes())) {
            return wrong("a line with a wrong checksum");
        }
        let words: Vec<&str> = text.split(' ').collect();
        match Self::of_words(&words) {
            Some(line) => Ok(line),
            None if matches!(words.as_slice(), ["run" | "graven-disk-witness", version, ..] if is_newer(version)) => {
                wrong("a newer version: use a newer graven-disk")
            }
            None => wrong("a line that means nothing"),
        }
    }

    fn of_words(words: &[&str]) -> Option<Line> {
        let hex = |word: &str| u64::from_str_radix(word, 16).ok().filter(|_| word.len() == 16);
        Some(match *words {
            ["graven-disk-witness", version] if version == VERSION.to_string() => Line::Head,
            [
                "run",
                version,
                id,
                "seed",
                seed,
                "size",
                size,
                "begun",
                begun,
                "lanes",
                lanes,
                "on",
                host,
                "dir",
                dir,
            ] if version == VERSION.to_string() => Line::Run(Run {
                id: hex(id)?,
                seed: seed.parse().ok()?,
                size: size.parse().ok()?,
                begun: begun.parse().ok()?,
                lanes: lanes.parse().ok().filter(|lanes| (1..=MAX_LANES).contains(lanes))?,
                host: unescape(host)?,
                dir: unescape(dir)?,
            }),
            ["ack", run, lane, sequence, time, file, offset, length] => Line::Ack(Ack {
                run: hex(run)?,
                lane: lane.parse().ok()?,
                sequence: sequence.parse().ok()?,
                time: time.parse().ok()?,
                file: file.parse().ok()?,
                offset: offset.parse().ok()?,
                length: length.parse().ok()?,
            }),
            ["end", run] => Line::End(hex(run)?),
            ["beat"] => Line::Beat,
            ["fetch"] => Line::Fetch,
            ["ok", ref last @ ..] if last.len() <= MAX_LANES as usize => {
                Line::Ok(last.iter().map(|last| last.parse().ok()).collect::<Option<_>>()?)
            }
            ["no", reason] => Line::No(unescape(reason)?),
            ["recorded", count] => Line::Recorded(count.parse().ok()?),
            ["up", boot, mount] => Line::Up(Uptime { boot: unescape(boot)?, mount: mount.parse().ok()? }),
            _ => return None,
        })
    }
}

fn is_newer(version: &str) -> bool {
    version.parse::<u32>().is_ok_and(|version| version > VERSION)
}

/// Reads a line with its end, of at most [`LINE`] bytes. Empty at the end of the stream; a line that the stream's end cuts
/// off has no end.
pub(crate) fn read_line(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    from.take(LINE as u64).read_until(b'\n', &mut line)?;
    if line.len() == LINE && line.last() != Some(&b'\n') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a line that does not end"));
    }
    Ok(line)
}

/// One word, at most `most` bytes of it: what is not plain stands as `%` and two hexadecimal digits.
pub(crate) fn escape(text: &str, most: usize) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"/.-_:,=@+()'".contains(&byte);
        let next = if plain { char::from(byte).to_string() } else { format!("%{byte:02x}") };
        if out.len() + next.len() > most {
            break;
        }
        out.push_str(&next);
    }
    if out.is_empty() { "%00".to_owned() } else { out }
}

/// The text that [`escape`] made a word of.
fn unescape(word: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = word.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(first);
        }
    }
    bytes.retain(|byte| *byte != 0);
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<Line> {
        let run = Run {
            id: u64::MAX,
            seed: 1,
            size: u64::MAX,
            begun: 3,
            lanes: 12,
            host: "a host".to_owned(),
            dir: "/mnt/with space and ~ (ext4 /dev/vdb)".to_owned(),
        };
        let ack = Ack { run: 7, lane: 3, sequence: 9, time: 11, file: 0, offset: 4096, length: 8192 };
        vec![
            Line::Head,
            Line::Run(run),
            Line::Ack(ack),
            Line::End(7),
            Line::Beat,
            Line::Fetch,
            Line::Ok(vec![u64::MAX; MAX_LANES as usize]),
            Line::Ok(Vec::new()),
            Line::No("the record is full, or so".to_owned()),
            Line::Recorded(17),
            Line::Up(Uptime { boot: "0c1d-2e".to_owned(), mount: u64::MAX }),
        ]
    }

    #[test]
    fn lines_come_back_and_are_bounded() {
        for line in lines() {
            let text = line.encode();
            assert_eq!(Line::decode(text.as_bytes()), Ok(line.clone()));
            assert!(text.len() <= LINE, "{text}");
        }
        let mut long = lines().remove(1);
        if let Line::Run(run) = &mut long {
            (run.host, run.dir) = (" ".repeat(5000), "~".repeat(5000));
        }
        assert!(long.encode().len() <= LINE);
    }

    /// What comes over a network: every line cut, changed in every byte, and noise.
    #[test]
    fn nothing_that_arrives_is_taken_for_a_line_or_panics() {
        for line in lines() {
            let text = line.encode().into_bytes();
            for at in 0..text.len() {
                assert!(Line::decode(&text[..at]).is_err() || at + 1 == text.len());
                for change in [1, 0x20, 0x80, 0xff] {
                    let mut changed = text.clone();
                    changed[at] ^= change;
                    let decoded = Line::decode(&changed);
                    assert!(
                        decoded.is_err() || at + 1 == text.len(),
                        "{}",
                        String::from_utf8_lossy(&changed)
                    );
                }
            }
        }
        let mut state = 1;
        for _ in 0..20_000 {
            let noise: Vec<u8> = (0..state % 60)
                .map(|_| {
                    state = super::super::plan::mix(state);
                    b"run ack %~0f \n\xff"[(state % 15) as usize]
                })
                .collect();
            assert!(Line::decode(&noise).is_err());
            state = super::super::plan::mix(state);
        }
        let newer = "graven-disk-witness 2";
        let newer = format!("{newer} ~{:08x}\n", crc32fast::hash(newer.as_bytes()));
        assert!(Line::decode(newer.as_bytes()).unwrap_err().contains("newer"));
    }

    #[test]
    fn a_line_without_an_end_is_not_read_for_ever() {
        let mut endless = io::BufReader::new(io::repeat(b'x'));
        assert_eq!(read_line(&mut endless).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read_line(&mut &b"short"[..]).unwrap(), b"short");
    }
}
