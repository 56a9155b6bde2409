//! Generated lives of a log, and what it promised at each moment.

use std::sync::Arc;

use bytes::Bytes;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::disk::{Disk, dir};
use crate::planted::{Fault, fault};
use crate::wal::{
    Batch, Entry, Error, Fill, HardState, Metadata, Method, Options, Passage, Recovered, Start, Upkeep, Wal,
};

/// In one append.
const MOST_ENTRIES: u64 = 3;

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub entries: Vec<Entry>,
    pub hard_state: Option<HardState>,
}

impl Model {
    pub fn append(&mut self, entries: &[Entry], hard_state: Option<HardState>) {
        if let Some(first) = entries.first() {
            self.entries.retain(|entry| entry.index < first.index);
            self.entries.extend_from_slice(entries);
        }
        self.hard_state = hard_state.or(self.hard_state);
    }

    fn agrees(&self, recovered: &Recovered, released_before: u64) -> bool {
        let first = recovered.start.index + 1;
        (first == 1 || first <= released_before.max(1))
            && self.hard_state == recovered.hard_state
            && self.entries.iter().filter(|entry| entry.index >= first).eq(&recovered.entries)
    }
}

/// What must come back.
#[derive(Clone, Debug, Default)]
pub struct Promise {
    pub created: bool,
    pub acknowledged: Model,
    /// With the batch that is under way.
    pub in_flight: Option<Model>,
    pub released_before: u64,
}

impl Promise {
    /// Which of the two a log holds.
    pub fn check(&self, recovered: &Recovered) -> Result<&Model, String> {
        let with = self.in_flight.iter().find(|model| model.agrees(recovered, self.released_before));
        if let Some(model) = with {
            return Ok(model);
        }
        if self.acknowledged.agrees(recovered, self.released_before) {
            return Ok(&self.acknowledged);
        }
        let indexes = |entries: &[Entry]| entries.iter().map(|e| (e.index, e.term)).collect::<Vec<_>>();
        Err(format!(
            "from {} {:?} {:?}; acknowledged {:?} {:?}, released before {}",
            recovered.start.index,
            indexes(&recovered.entries),
            recovered.hard_state,
            indexes(&self.acknowledged.entries),
            self.acknowledged.hard_state,
            self.released_before
        ))
    }

    /// From now on the log is known to hold exactly this.
    pub fn settle(&mut self, model: Model) {
        self.created = true;
        self.acknowledged = model;
        self.in_flight = None;
    }
}

/// Small segments, everything in a fixed order; what varies follows from the seed.
pub fn options(seed: u64) -> Options {
    Options {
        segment_bytes: if seed.is_multiple_of(3) { 16384 } else { 8192 },
        method: if seed.is_multiple_of(2) { Method::DirectDsync } else { Method::Fdatasync },
        upkeep: Upkeep::Inline,
        fill: if seed.is_multiple_of(4) { Fill::Zeros { pace: 0 } } else { Fill::Allocate },
        spares: (seed / 2 % 3) as usize,
        ..Options::default()
    }
}

pub fn metadata() -> Metadata {
    Metadata(Bytes::from_static(b"cluster 1 member 2"))
}

/// Every other life is opened by somebody who follows.
pub fn open(disk: &Disk, options: &Options) -> Result<(Wal, Recovered), Error> {
    let io = Arc::new(disk.clone());
    if options.method == Method::Fdatasync {
        return Wal::open(dir(), io, options.clone());
    }
    let mut shown: Vec<Entry> = Vec::new();
    let mut show = |passage: Passage| {
        if let Some(first) = passage.entries.first() {
            shown.retain(|entry| entry.index < first.index);
            shown.extend(passage.entries);
        }
    };
    let (wal, recovered) = Wal::open_following(dir(), io, options.clone(), 0, &mut show)?;
    // Other faults are to be found by their consequences.
    if matches!(fault(), None | Some(Fault::ShowsEarly)) {
        check_shown(&shown, &recovered);
    }
    Ok((wal, recovered))
}

/// What was shown is what came back, but for the last append.
fn check_shown(shown: &[Entry], recovered: &Recovered) {
    let shown = &shown[shown.partition_point(|entry| entry.index <= recovered.start.index)..];
    let same = shown.iter().zip(&recovered.entries).take_while(|(shown, found)| shown == found).count();
    let last = &recovered.entries[same..];
    let of_one_append =
        last.len() as u64 <= MOST_ENTRIES && last.windows(2).all(|pair| pair[0].term == pair[1].term);
    assert!(of_one_append, "{} shown, {same} of them came back", shown.len());
    assert!(shown.len() == same || !last.is_empty(), "{} shown, {same} came back", shown.len());
}

fn entry(rng: &mut ChaCha8Rng, index: u64, term: u64, twin: bool) -> Entry {
    let most = [30, 300, 1500][rng.random_range(0..3)];
    let mut data = vec![0; rng.random_range(0..most)];
    // Zeros too, as whole sectors: they must not pass for sectors that were never written.
    if rng.random_bool(0.7) {
        rng.fill_bytes(&mut data);
    }
    if twin {
        data.iter_mut().for_each(|byte| *byte ^= 0x55);
    }
    Entry { index, term, kind: rng.random_range(0..3), data: data.into() }
}

/// One log, from its creation on.
pub struct Life {
    pub disk: Disk,
    pub options: Options,
    pub promise: Promise,
    rng: ChaCha8Rng,
    term: u64,
    /// Appends refused for want of a segment.
    pub refused: u64,
    /// The same life with other data.
    pub twin: bool,
}

impl Life {
    pub fn new(disk: Disk, seed: u64) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let options = options(seed);
        Self { disk, options, promise: Promise::default(), rng, term: 1, refused: 0, twin: false }
    }

    /// A process that finds the disk and knows what was promised.
    pub fn again(disk: Disk, options: Options, promise: Promise, seed: u64) -> Self {
        Self {
            disk,
            options,
            promise,
            rng: ChaCha8Rng::seed_from_u64(seed),
            term: 50,
            refused: 0,
            twin: false,
        }
    }

    pub fn run(&mut self, steps: u64) -> Result<(), Error> {
        let io = Arc::new(self.disk.clone());
        let mut wal = Wal::create(dir(), io, metadata(), Start::default(), self.options.clone())?;
        self.promise.created = true;
        self.disk.promise(&self.promise);
        for _ in 0..steps {
            wal = self.step(wal)?;
        }
        wal.close()
    }

    /// Opens what is there, and goes on a little.
    pub fn resume(&mut self, steps: u64) -> Result<(), String> {
        let (mut wal, recovered) = open(&self.disk, &self.options).map_err(|error| error.to_string())?;
        let model = self.promise.check(&recovered)?.clone();
        self.promise.settle(model);
        self.disk.promise(&self.promise);
        for _ in 0..steps {
            wal = self.step(wal).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn step(&mut self, mut wal: Wal) -> Result<Wal, Error> {
        match self.rng.random_range(0..20) {
            0..14 => self.append(&mut wal)?,
            14..17 => {
                let from = self.promise.released_before.min(wal.last_index() + 1);
                self.promise.released_before = self.rng.random_range(from..=wal.last_index() + 1);
                self.disk.promise(&self.promise);
                wal.release_before(self.promise.released_before)?;
            }
            17..19 => wal.seal()?,
            _ => {
                drop(wal);
                let recovered;
                (wal, recovered) = open(&self.disk, &self.options)?;
                self.promise.check(&recovered).unwrap_or_else(|lost| panic!("reopened: {lost}"));
            }
        }
        Ok(wal)
    }

    fn append(&mut self, wal: &mut Wal) -> Result<(), Error> {
        let mut first = wal.last_index() + 1;
        if self.rng.random_range(0..8) == 0 {
            let lowest = wal.first_index().max(self.promise.released_before);
            if lowest < first {
                first = self.rng.random_range(lowest..first);
                self.term += 1;
            }
        }
        let count = self.rng.random_range(0..=MOST_ENTRIES);
        let entries: Vec<Entry> =
            (first..first + count).map(|index| entry(&mut self.rng, index, self.term, self.twin)).collect();
        let state = HardState { term: self.term, vote: self.rng.random_range(0..4), commit: first };
        let hard_state = self.rng.random_bool(0.3).then_some(state);
        let mut with = self.promise.acknowledged.clone();
        with.append(&entries, hard_state);
        self.promise.in_flight = Some(with.clone());
        self.disk.promise(&self.promise);
        let batch = Batch { entries: &entries, hard_state };
        let mut result = wal.append(&batch);
        if let Err(Error::NoSegment { .. }) = result {
            // Nothing was written; what could not be had is tried again.
            self.refused += 1;
            result = wal.append(&batch);
        }
        if let Err(error) = result {
            if error.is_fatal() && wal.append(&batch).is_ok_and(|()| !entries.is_empty()) {
                panic!("a log that failed takes more: {error}");
            }
            return Err(error);
        }
        self.promise.settle(with);
        self.disk.promise(&self.promise);
        Ok(())
    }
}
