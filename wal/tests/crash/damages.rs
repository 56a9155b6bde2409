//! Damage to files at rest: flipped bits, runs of zeros, blocks swapped, stale or from a log of the same shape, files cut or
//! lengthened. It is refused with an error that says where, or harmless.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::disk::{Disk, Image, Op, dir};
use crate::planted::{Fault, must_find};
use crate::programme::{each_seed, scaled};
use crate::wal::{Error, Options, SegmentContent, inspect};
use crate::workload::{Life, Model, Promise, open};

const BLOCK: usize = 4096;

/// A closed log, and all that was ever written into its blocks.
struct Log {
    image: Image,
    options: Options,
    promise: Promise,
    /// What it held at earlier moments.
    earlier: Vec<Model>,
    versions: BTreeMap<(usize, usize), Vec<Vec<u8>>>,
    /// Newest segment's file, and its last block in use.
    last: (usize, usize),
    /// Where each frame lies: file, first byte, and the byte after it.
    frames: Vec<(usize, usize, usize)>,
}

impl Log {
    fn new(seed: u64, twin: bool) -> Result<Self, String> {
        let disk = Disk::recording(Image::default());
        let mut life = Life::new(disk.clone(), seed);
        life.twin = twin;
        life.run(40).map_err(|error| error.to_string())?;
        let image = disk.image();
        let mut versions: BTreeMap<_, Vec<Vec<u8>>> = BTreeMap::new();
        let mut earlier = Vec::new();
        for op in disk.ops() {
            match op {
                Op::Write { file, offset, bytes, .. } => {
                    for at in (0..bytes.len()).step_by(BLOCK) {
                        versions.entry((file, offset + at)).or_default().push(bytes[at..at + BLOCK].to_vec());
                    }
                }
                Op::Promise(promise) => earlier.push(promise.acknowledged.clone()),
                _ => {}
            }
        }
        let walk = inspect(dir(), Arc::new(Disk::of(image.clone()))).map_err(|error| error.to_string())?;
        let mut last = None;
        let mut all_frames = Vec::new();
        for segment in &walk.segments {
            if let SegmentContent::Frames { end, frames, .. } = &segment.content {
                let file = image.file(segment.file.file_name().unwrap().to_str().unwrap()).unwrap();
                last = Some((file, (*end as usize - 1) / BLOCK * BLOCK));
                all_frames.extend(frames.iter().map(|frame| {
                    // Sectors hold 504 bytes of frames each.
                    let position = frame.offset / 512 * 504 + frame.offset % 512 + frame.bytes;
                    (file, frame.offset as usize, (position / 504 * 512 + position % 504) as usize)
                }));
            }
        }
        let last = last.ok_or("no segment")?;
        Ok(Self {
            image,
            options: life.options,
            promise: life.promise,
            earlier,
            versions,
            last,
            frames: all_frames,
        })
    }
}

/// How a damage went.
enum Verdict {
    Refused,
    Harmless,
    /// It passes for an older state of the log, said to be cut short or not: only the loss of whole sectors at the end may.
    Older {
        reported: bool,
    },
}

/// What all damages came to.
#[derive(Default)]
struct Count {
    refused: u64,
    harmless: u64,
    older: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Class {
    /// Bytes within sectors.
    Bytes,
    /// Whole blocks, of another place or time.
    Blocks,
    /// The file's length.
    Length,
}

impl Log {
    fn judge(&self, image: Image) -> Result<Verdict, String> {
        match open(&Disk::of(image), &self.options) {
            Err(Error::Io { source, .. }) => Err(format!("an I/O error: {source}")),
            Err(_) => Ok(Verdict::Refused),
            Ok((_, recovered)) => {
                let lost = match self.promise.check(&recovered) {
                    Ok(_) => return Ok(Verdict::Harmless),
                    Err(lost) => lost,
                };
                let as_before = |model: &Model| {
                    let then = Promise {
                        acknowledged: model.clone(),
                        released_before: self.promise.released_before,
                        ..Promise::default()
                    };
                    then.check(&recovered).is_ok()
                };
                if self.earlier.iter().any(as_before) {
                    return Ok(Verdict::Older { reported: recovered.torn_tail.is_some() });
                }
                Err(format!("something that never was: {lost}"))
            }
        }
    }

    /// Damages, and judges. `touches` are the blocks that were changed.
    fn damage(
        &self,
        class: Class,
        touches: &[(usize, usize)],
        count: &mut Count,
        what: impl FnOnce() -> String,
        change: impl FnOnce(&mut Image),
    ) -> Result<(), String> {
        let mut image = self.image.clone();
        change(&mut image);
        if touches.iter().all(|&(file, _)| image.files[file] == self.image.files[file]) {
            return Ok(());
        }
        match self.judge(image) {
            Ok(Verdict::Refused) => count.refused += 1,
            Ok(Verdict::Harmless) => count.harmless += 1,
            Ok(Verdict::Older { reported }) => {
                let at_end =
                    touches.iter().any(|&(file, block)| file == self.last.0 && block + BLOCK >= self.last.1);
                let permitted = match class {
                    Class::Bytes => false,
                    Class::Blocks => at_end,
                    Class::Length => reported,
                };
                if !permitted {
                    return Err(format!("{}: passes for an older log, reported {reported}", what()));
                }
                count.older += 1;
            }
            Err(words) => return Err(format!("{}: {words}", what())),
        }
        Ok(())
    }
}

fn run(seed: u64) -> Result<[u64; 3], String> {
    let log = Log::new(seed, false)?;
    let twin = Log::new(seed, true)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut count = Count::default();
    let segments = log.image.segments();
    for (name, file) in &segments {
        bytes(&log, name, *file, &mut rng, &mut count)?;
        lengths(&log, name, *file, &mut rng, &mut count)?;
        blocks(&log, &twin, name, *file, &segments, &mut count)?;
    }
    for (&(file, from, to), theirs) in log.frames.iter().zip(&twin.frames) {
        if (file, from, to) != *theirs {
            return Err("the twin has another shape".to_owned());
        }
        let what = || format!("frame at {from} of file {file} from a log of the same shape");
        log.damage(Class::Bytes, &[(file, from / BLOCK * BLOCK)], &mut count, what, |image| {
            image.put(file, from, &twin.image.files[file][from..to]);
        })?;
    }
    Ok([count.refused, count.harmless, count.older])
}

fn bytes(log: &Log, name: &str, file: usize, rng: &mut ChaCha8Rng, count: &mut Count) -> Result<(), String> {
    let length = log.image.files[file].len();
    for at in 0..length {
        let bit = rng.random_range(0..8);
        let what = || format!("bit {bit} of byte {at} of {name}");
        log.damage(Class::Bytes, &[(file, at / BLOCK * BLOCK)], count, what, |image| {
            Arc::make_mut(&mut image.files[file])[at] ^= 1 << bit;
        })?;
    }
    for at in (0..length - 7).step_by(8) {
        let what = || format!("zeros at {at} of {name}");
        log.damage(Class::Bytes, &[(file, at / BLOCK * BLOCK)], count, what, |image| {
            Arc::make_mut(&mut image.files[file])[at..at + 8].fill(0);
        })?;
    }
    Ok(())
}

fn lengths(
    log: &Log,
    name: &str,
    file: usize,
    rng: &mut ChaCha8Rng,
    count: &mut Count,
) -> Result<(), String> {
    let length = log.image.files[file].len();
    for _ in 0..40 {
        let cut = rng.random_range(0..length);
        let what = || format!("{name} cut at {cut}");
        log.damage(Class::Length, &[(file, cut)], count, what, |image| {
            Arc::make_mut(&mut image.files[file]).truncate(cut);
        })?;
        let mut junk = vec![0; rng.random_range(1..5000)];
        rng.fill_bytes(&mut junk);
        let what = || format!("{} bytes behind {name}", junk.len());
        log.damage(Class::Length, &[(file, length)], count, what, |image| {
            Arc::make_mut(&mut image.files[file]).extend_from_slice(&junk);
        })?;
    }
    Ok(())
}

fn blocks(
    log: &Log,
    twin: &Log,
    name: &str,
    file: usize,
    segments: &[(String, usize)],
    count: &mut Count,
) -> Result<(), String> {
    for at in (0..log.image.files[file].len()).step_by(BLOCK) {
        for (other_name, other) in segments {
            for other_at in (0..log.image.files[*other].len()).step_by(BLOCK) {
                let what = || format!("block {at} of {name} and {other_at} of {other_name} swapped");
                log.damage(Class::Blocks, &[(file, at), (*other, other_at)], count, what, |image| {
                    let ours = image.files[file][at..at + BLOCK].to_vec();
                    let theirs = image.files[*other][other_at..other_at + BLOCK].to_vec();
                    image.put(file, at, &theirs);
                    image.put(*other, other_at, &ours);
                })?;
            }
        }
        for (version, old) in log.versions.get(&(file, at)).into_iter().flatten().enumerate() {
            let what = || format!("block {at} of {name} as of write {version}");
            log.damage(Class::Blocks, &[(file, at)], count, what, |image| image.put(file, at, old))?;
        }
        if let Some(other) = twin.image.file(name) {
            let theirs = &twin.image.files[other][at..at + BLOCK];
            let what = || format!("block {at} of {name} from a log of the same shape");
            log.damage(Class::Blocks, &[(file, at)], count, what, |image| image.put(file, at, theirs))?;
        }
    }
    Ok(())
}

#[test]
fn everything_is_refused_or_harmless() {
    let logs = scaled(12);
    let [refused, harmless, older] = each_seed(logs, run).unwrap_or_else(|words| panic!("{words}"));
    let all = refused + harmless + older;
    println!(
        "{logs} logs: {all} damages, {refused} refused, {harmless} harmless, {older} pass for an older log"
    );
    assert!(all >= scaled(150_000) && refused * 3 > all && older * 100 < all);
}

#[test]
fn planted_faults_are_found() {
    for fault in [Fault::IgnoresChain, Fault::IgnoresChecksum, Fault::CutsTooMuch] {
        must_find(fault, || (0..6).try_for_each(|seed| run(seed).map(|_| ())));
    }
}
