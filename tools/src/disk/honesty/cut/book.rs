//! The witness's record: a file of lines, and what they say in sum.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::path::{Path, PathBuf};

use measure::{Error, Result};
use rustix::fs::{FlockOperation, flock};

use super::record::{Ack, LINE, Line, Run, read_line};

/// Acks of a lane that are remembered, to say when a write was acknowledged. The last one counts; the rest is for messages.
const REMEMBERED: usize = 16_384;

/// Runs of a record.
const MAX_RUNS: usize = 1000;

/// What a record says of one run.
#[derive(Clone, Debug)]
pub(crate) struct Witnessed {
    pub(crate) run: Run,
    pub(crate) lanes: Vec<LaneRecord>,
    /// It came to its end without a cut.
    pub(crate) ended: bool,
    /// How many runs the record had before this one. Clocks can jump with the power.
    pub(crate) number: usize,
}

impl Witnessed {
    /// Acknowledged writes of all lanes.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.last).sum()
    }
}

/// What a record says of one lane.
#[derive(Clone, Debug, Default)]
pub(crate) struct LaneRecord {
    /// The last acknowledged write; all before it were as well.
    pub(crate) last: u64,
    recent: VecDeque<Ack>,
}

impl LaneRecord {
    /// What was said of a write, if that is not too long ago.
    pub(crate) fn ack(&self, sequence: u64) -> Option<&Ack> {
        let back = usize::try_from(self.last.checked_sub(sequence)?).ok()?;
        self.recent.get(self.recent.len().checked_sub(back + 1)?)
    }

    /// All that is remembered, oldest first.
    pub(crate) fn acks(&self) -> impl Iterator<Item = &Ack> {
        self.recent.iter()
    }
}

/// All runs of a record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs(BTreeMap<u64, Witnessed>);

impl Runs {
    pub(crate) fn get(&self, run: u64) -> Option<&Witnessed> {
        self.0.get(&run)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Witnessed> {
        self.0.values()
    }

    /// Runs that began in the same place after that one. Each removes the folder of the one before, and has synced that before
    /// its first write.
    pub(crate) fn later<'r>(&'r self, than: &'r Witnessed) -> impl Iterator<Item = &'r Witnessed> {
        let place = |found: &'r Witnessed| (&found.run.host, &found.run.dir);
        self.iter().filter(move |other| other.number > than.number && place(other) == place(than))
    }

    /// Whether a line fits what came before, which for an ack that is known already means that there is nothing to do.
    fn check(&self, line: &Line) -> std::result::Result<Fit, String> {
        let known =
            |run: &u64| self.0.get(run).ok_or_else(|| format!("run {run:016x} did not introduce itself"));
        match line {
            Line::Run(run) => match self.0.get(&run.id) {
                None if self.0.len() == MAX_RUNS => Err("there are too many runs in the record".to_owned()),
                None => Ok(Fit::New),
                Some(found) if found.run == *run => Ok(Fit::Known),
                Some(_) => Err(format!("run {:016x} is another one", run.id)),
            },
            Line::Ack(ack) => {
                let lanes = &known(&ack.run)?.lanes;
                let lane =
                    lanes.get(ack.lane as usize).ok_or_else(|| format!("there is no lane {}", ack.lane))?;
                match ack.sequence.checked_sub(lane.last) {
                    None | Some(0) => Ok(Fit::Known),
                    Some(1) => Ok(Fit::New),
                    Some(_) => Err(format!("after write {} comes {}: a gap", lane.last, ack.sequence)),
                }
            }
            Line::End(run) => known(run).map(|_| Fit::New),
            _ => Err("a line that a record does not have".to_owned()),
        }
    }

    /// A line that [`Runs::check`] found new.
    fn add(&mut self, line: &Line) {
        match line {
            Line::Run(run) => {
                let lanes = vec![LaneRecord::default(); run.lanes as usize];
                let number = self.0.len();
                self.0.insert(run.id, Witnessed { run: run.clone(), lanes, ended: false, number });
            }
            Line::Ack(ack) => {
                let run = self.0.get_mut(&ack.run).expect("checked before");
                let lane = &mut run.lanes[ack.lane as usize];
                lane.last = ack.sequence;
                lane.recent.push_back(*ack);
                if lane.recent.len() > REMEMBERED {
                    lane.recent.pop_front();
                }
            }
            Line::End(run) => {
                if let Some(run) = self.0.get_mut(run) {
                    run.ended = true;
                }
            }
            _ => {}
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    New,
    Known,
}

/// Reads a record; also says how many bytes of it are whole lines.
pub(crate) fn read(path: &Path) -> Result<(Runs, u64)> {
    let file = File::open(path).map_err(|error| refused(path, &format!("cannot be read: {error}")))?;
    read_from(&mut BufReader::new(file), path, Source::File)
}

/// Where a record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Its end may be cut off.
    File,
    /// A witness says at the end how many lines there were.
    Witness,
}

/// Reads a record from anywhere; `name` is for messages.
pub(crate) fn read_from(from: &mut impl BufRead, name: &Path, source: Source) -> Result<(Runs, u64)> {
    let (mut runs, mut whole, mut number) = (Runs::default(), 0, 0_u64);
    let mut bad: Option<(u64, String)> = None;
    loop {
        let line = match read_line(from) {
            Ok(line) => line,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(refused(name, "is not a witness's record: give the file of --record"));
            }
            Err(error) => return Err(refused(name, &format!("cannot be read: {error}"))),
        };
        if line.is_empty() {
            if source == Source::Witness {
                return Err(refused(name, "hung up before the end of the record: try again"));
            }
            return Ok((runs, whole));
        }
        number += 1;
        let decoded = Line::decode(&line);
        let whole_line = decoded.is_ok() && line.last() == Some(&b'\n');
        let good = match decoded {
            Ok(Line::Head) if number == 1 => Ok(()),
            Ok(Line::No(reason)) if source == Source::Witness => {
                return Err(refused(name, &format!("refuses: {reason}")));
            }
            Err(what) if number == 1 && what.starts_with("a newer") => return Err(refused(name, &what)),
            _ if number == 1 => {
                return Err(refused(name, "is not a witness's record: give the file of --record"));
            }
            Ok(Line::Recorded(lines))
                if source == Source::Witness && lines == number - 1 && bad.is_none() =>
            {
                return Ok((runs, whole));
            }
            Ok(_) if line.last() != Some(&b'\n') => Err("a line without its end".to_owned()),
            Ok(line) => runs.check(&line).map(|fit| {
                if fit == Fit::New {
                    runs.add(&line);
                }
            }),
            Err(what) => Err(what),
        };
        match (good, &bad) {
            // What the witness did not come to sync before it was killed is at the end, and was never confirmed.
            (Err(what), None) => bad = Some((number, what)),
            (Err(_), Some(_)) if !whole_line => {}
            (Ok(()), None) => whole += line.len() as u64,
            (_, Some((number, what))) => {
                return Err(refused(
                    name,
                    &format!("is damaged in line {number} ({what}): it proves nothing"),
                ));
            }
        }
    }
}

fn refused(path: &Path, what: &str) -> Error {
    Error::Usage(format!("{} {what}", path.display()))
}

/// A record that is written to.
#[derive(Debug)]
pub(crate) struct Book {
    file: File,
    path: PathBuf,
    runs: Runs,
    length: u64,
    limit: u64,
    /// A failure after which the file's end is not known any more.
    broken: bool,
}

impl Book {
    /// Opens a record or makes a new one, for this process alone.
    pub(crate) fn open(path: &Path, limit: u64) -> Result<Book> {
        let fail = |error: io::Error| refused(path, &format!("cannot be written: {error}"));
        let options = OpenOptions::new().read(true).append(true).create(true).clone();
        let mut file = options.open(path).map_err(fail)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| refused(path, "is in use: another witness writes to it"))?;
        let (runs, mut length) =
            if file.metadata().map_err(fail)?.len() == 0 { (Runs::default(), 0) } else { read(path)? };
        file.set_len(length).map_err(fail)?;
        if length == 0 {
            let head = Line::Head.encode();
            file.write_all(head.as_bytes()).map_err(fail)?;
            length = head.len() as u64;
        }
        file.sync_all().map_err(fail)?;
        let dir = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(fail)?;
        Ok(Book { file, path: path.to_owned(), runs, length, limit, broken: false })
    }

    pub(crate) fn runs(&self) -> &Runs {
        &self.runs
    }

    /// What is recorded now, to be read without holding anybody up.
    pub(crate) fn content(&self) -> io::Result<impl BufRead + use<>> {
        Ok(BufReader::new(File::open(&self.path)?.take(self.length)))
    }

    /// Takes lines into the record, and returns once they are on the disk. Those that are known already are left out.
    pub(crate) fn append(&mut self, lines: &[Line]) -> std::result::Result<(), String> {
        if self.broken {
            return Err("the record can not be written any more".to_owned());
        }
        let (mut next, mut text) = (self.runs.clone_last(lines), String::new());
        for line in lines {
            if next.check(line)? == Fit::New {
                next.add(line);
                text.push_str(&line.encode());
            }
        }
        if text.is_empty() {
            return Ok(());
        }
        if self.length + (text.len() + LINE) as u64 > self.limit {
            return Err("the record is as long as --max-record allows".to_owned());
        }
        if let Err(error) = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data()) {
            // A sync that failed can not be tried again: what it lost is not known.
            self.broken = true;
            return Err(format!("{} cannot be written: {error}", self.path.display()));
        }
        self.length += text.len() as u64;
        for line in lines {
            if self.runs.check(line) == Ok(Fit::New) {
                self.runs.add(line);
            }
        }
        Ok(())
    }
}

impl Runs {
    /// As much as is needed to check these lines: the runs they are of, without what was said of single writes.
    fn clone_last(&self, lines: &[Line]) -> Runs {
        let ids = lines.iter().filter_map(|line| match line {
            Line::Run(run) => Some(run.id),
            Line::Ack(ack) => Some(ack.run),
            Line::End(run) => Some(*run),
            _ => None,
        });
        let bare = |found: &Witnessed| Witnessed {
            run: found.run.clone(),
            lanes: found
                .lanes
                .iter()
                .map(|lane| LaneRecord { last: lane.last, ..LaneRecord::default() })
                .collect(),
            ended: found.ended,
            number: found.number,
        };
        let ids: std::collections::BTreeSet<_> = ids.collect();
        Runs(ids.into_iter().filter_map(|id| Some((id, bare(self.0.get(&id)?)))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: u64) -> Line {
        let (host, dir) = ("host".to_owned(), "/dir".to_owned());
        Line::Run(Run { id, seed: 1, size: 1 << 24, begun: 0, lanes: 12, host, dir })
    }

    fn ack(run: u64, lane: u32, sequence: u64) -> Line {
        Line::Ack(Ack { run, lane, sequence, time: sequence, file: 0, offset: 0, length: 512 })
    }

    #[test]
    fn a_record_goes_on_where_it_ended_and_takes_no_gap() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        let mut book = Book::open(&path, 1 << 20).unwrap();
        assert!(Book::open(&path, 1 << 20).unwrap_err().to_string().contains("is in use"));
        book.append(&[run(1), ack(1, 0, 1), ack(1, 0, 2), ack(1, 11, 1)]).unwrap();
        // Known already, as after a lost connection.
        book.append(&[run(1), ack(1, 0, 1), ack(1, 0, 2), ack(1, 0, 3)]).unwrap();
        for bad in [ack(1, 0, 6), ack(1, 12, 1), ack(2, 0, 1), Line::End(2), Line::Beat] {
            assert!(book.append(&[ack(1, 0, 4), bad]).is_err());
        }
        assert_eq!(book.runs().get(1).unwrap().lanes[0].last, 3, "a refused batch leaves nothing");
        drop(book);
        let mut book = Book::open(&path, 1 << 20).unwrap();
        book.append(&[ack(1, 0, 4), Line::End(1)]).unwrap();
        let (runs, _) = read(&path).unwrap();
        let found = runs.get(1).unwrap();
        assert!(found.ended && found.lanes[0].last == 4 && found.lanes[11].last == 1);
        assert_eq!(found.lanes[0].ack(3).unwrap().time, 3);
        assert!(found.lanes[0].ack(5).is_none() && found.lanes[1].ack(0).is_none());
    }

    #[test]
    fn an_end_cut_off_is_forgotten_and_damage_within_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        let mut book = Book::open(&path, 1 << 20).unwrap();
        book.append(&[run(1), ack(1, 0, 1), ack(1, 0, 2)]).unwrap();
        drop(book);
        let whole = std::fs::read(&path).unwrap();
        for cut in 1..40 {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let (runs, length) = read(&path).unwrap();
            assert_eq!(runs.get(1).unwrap().lanes[0].last, 1);
            let mut book = Book::open(&path, 1 << 20).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
            book.append(&[ack(1, 0, 2)]).unwrap();
            drop(book);
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
        let mut damaged = whole.clone();
        let at = whole.len() - 60;
        damaged[at - 30] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("is damaged in line"));
        for text in [&b"lines\n"[..], b"\0\0\0\0", &[b'x'; 5000]] {
            std::fs::write(&path, text).unwrap();
            assert!(read(&path).unwrap_err().to_string().contains("is not a witness's record"));
            assert!(Book::open(&path, 1 << 20).is_err());
            assert_eq!(std::fs::read(&path).unwrap(), text, "what is no record is left alone");
        }
    }

    #[test]
    fn a_record_does_not_grow_beyond_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = Book::open(&dir.path().join("record"), 4096).unwrap();
        book.append(&[run(1)]).unwrap();
        let full = (1..100).find(|sequence| book.append(&[ack(1, 0, *sequence)]).is_err());
        assert!(full.is_some_and(|sequence| (20..80).contains(&sequence)), "{full:?}");
    }

    #[test]
    fn a_run_that_came_later_to_the_same_place_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        let mut book = Book::open(&path, 1 << 20).unwrap();
        let elsewhere = Line::Run(Run {
            id: 2,
            seed: 1,
            size: 1 << 24,
            begun: 0,
            lanes: 12,
            host: "host".to_owned(),
            dir: "/other".to_owned(),
        });
        // The clock of all of them stands still; numbers are not in their order.
        book.append(&[run(9), ack(9, 0, 1), elsewhere, ack(2, 0, 1), run(5)]).unwrap();
        let (runs, _) = read(&path).unwrap();
        let later = |id| {
            let found = runs.later(runs.get(id).unwrap());
            found.map(|found| (found.run.id, found.acknowledged())).collect::<Vec<_>>()
        };
        assert_eq!((later(9), later(5), later(2)), (vec![(5, 0)], Vec::new(), Vec::new()));
    }
}
