//! What upkeep costs the writer: the longest slice of a swap, the longest publish while a checkpoint is written and taken
//! over, a checkpoint's own time, and how fast a file is made shorter.
//!
//! `cargo run --release -p graven-engine --example upkeep_speed -- FOLDER [KEYS] [VALUE_BYTES]`
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement prints, reads the clock and may stop at once"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{CheckpointDone, Defragment, File, Options, OsFile, Store};

/// What was timed: by the clock, and this thread's CPU time, which a busy machine does not lengthen.
#[derive(Default)]
struct Times {
    clock: Vec<Duration>,
    cpu: Vec<Duration>,
}

impl Times {
    fn time<T>(&mut self, what: impl FnOnce() -> T) -> T {
        let begun = (Instant::now(), cpu());
        let result = what();
        self.cpu.push(cpu() - begun.1);
        self.clock.push(begun.0.elapsed());
        result
    }

    fn print(&mut self, name: &str) {
        println!("{name}, {} times", self.clock.len());
        for (kind, all) in [("clock", &mut self.clock), ("CPU", &mut self.cpu)] {
            all.sort_unstable();
            let at = |part: usize| all.get(all.len() * part / 1000).copied().unwrap_or_default();
            let (half, most, longest) = (at(500), at(999), all.last().copied().unwrap_or_default());
            println!("  {kind:<6} median {half:>9.1?}, p99.9 {most:>9.1?}, longest {longest:>9.1?}");
        }
    }
}

struct Load {
    store: Store,
    keys: u64,
    value: Vec<u8>,
    next: u64,
    publishes: Times,
    /// Between two batches.
    pause: Duration,
}

impl Load {
    /// A batch of 64 puts of pseudo-random keys, published.
    fn batch(&mut self) {
        for _ in 0..64 {
            self.next =
                self.next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            self.put((self.next >> 33) % self.keys);
        }
        self.publish();
        std::thread::sleep(self.pause);
    }

    fn put(&mut self, number: u64) {
        let key = format!("/registry/pods/namespace-{:04}/pod-{number:010}", number % 997);
        let mut write = self.store.begin();
        write.put(key.as_bytes(), &self.value, 0).unwrap();
        write.finish().unwrap();
    }

    fn publish(&mut self) {
        let store = &mut self.store;
        self.publishes.time(|| store.publish());
    }

    fn checkpoint(&mut self, swaps: &mut Times, slice_pages: usize, load: bool) -> Option<Written> {
        let checkpoint = self.store.begin_checkpoint()?;
        let thread = std::thread::spawn(move || {
            let mut bytes = 0;
            let begun = (Instant::now(), cpu());
            let done = checkpoint.run(&mut |piece| bytes += piece).unwrap();
            (done, Written { bytes, took: begun.0.elapsed(), cpu: cpu() - begun.1 })
        });
        while load && !thread.is_finished() {
            self.batch();
        }
        let (done, written): (CheckpointDone, Written) = thread.join().unwrap();
        self.store.swap_begin(done);
        loop {
            let store = &mut self.store;
            let more = swaps.time(|| store.swap_slice(slice_pages).unwrap());
            if load {
                self.batch();
            } else {
                self.publish();
            }
            if !more {
                return Some(written);
            }
        }
    }
}

struct Written {
    bytes: u64,
    took: Duration,
    cpu: Duration,
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("a folder");
    let mut number = |default| arguments.next().map_or(default, |text| text.parse().unwrap());
    let (keys, value) = (number(1_000_000), number(256) as usize);
    let path = Path::new(&folder).join("upkeep_speed.db");
    let os = OsFile::open(&path).unwrap();
    println!("{keys} keys, values of {value} bytes, direct writes: {}", os.is_direct());
    let file: Arc<dyn File> = Arc::new(os);
    let store = Store::open(Arc::clone(&file), Options::default()).unwrap();
    let mut load = Load {
        store,
        keys,
        value: vec![7; value],
        next: 1,
        publishes: Times::default(),
        pause: Duration::ZERO,
    };
    let mut swaps = Times::default();
    for number in 0..keys {
        load.put(number);
        if number % 64 == 0 {
            load.publish();
        }
        if load.store.checkpoint_due().dirty_bytes > 64 << 20 {
            load.checkpoint(&mut swaps, 64, false);
        }
    }
    load.publish();
    load.checkpoint(&mut swaps, 64, false);
    println!("loaded: {:.0} MiB", mib(load.store.sizes().file_bytes));

    // Overwrites with a checkpoint at every 64 MiB of changes.
    let (mut swaps, mut written) = (Times::default(), Vec::new());
    load.publishes = Times::default();
    for _ in 0..6 {
        while load.store.checkpoint_due().dirty_bytes < 64 << 20 {
            load.batch();
        }
        written.extend(load.checkpoint(&mut swaps, 64, true));
    }
    swaps.print("swap slice of 64 pages, under load");
    load.publishes.print("publish, under load");
    for Written { bytes, took, cpu } in written {
        let (size, per) = (mib(bytes), cpu.as_secs_f64() * 1e6 / mib(bytes));
        println!("checkpoint of {size:.0} MiB: {took:.1?}, CPU {per:.0} us/MiB, unpaced");
    }

    // Three quarters go, and history with them; then the file is made shorter beside a load.
    for number in (0..keys).filter(|number| number % 4 != 0) {
        let key = format!("/registry/pods/namespace-{:04}/pod-{number:010}", number % 997);
        let mut write = load.store.begin();
        write.delete(key.as_bytes()).unwrap();
        write.finish().unwrap();
        if number % 64 == 0 {
            load.publish();
        }
        if load.store.checkpoint_due().dirty_bytes > 64 << 20 {
            load.checkpoint(&mut swaps, 64, false);
        }
    }
    let revision = load.store.revision();
    load.store.compact(revision).unwrap();
    while !load.store.compact_slice(4096).unwrap().done {
        load.publish();
        if load.store.checkpoint_due().dirty_bytes > 64 << 20 {
            load.checkpoint(&mut swaps, 64, false);
        }
    }
    load.publish();
    load.checkpoint(&mut swaps, 64, false);
    let before = load.store.sizes();
    load.keys /= 4;
    load.pause = Duration::from_millis(1);
    load.publishes = Times::default();
    let (mut slices, mut swaps) = (Times::default(), Times::default());
    let begun = Instant::now();
    let mut moved = 0;
    load.store.defragment_begin().unwrap();
    loop {
        let store = &mut load.store;
        let now = slices.time(|| store.defragment_slice(64).unwrap());
        load.batch();
        match now {
            Defragment::More => {}
            Defragment::NeedsCheckpoint => {
                moved += load.checkpoint(&mut swaps, 64, true).map_or(0, |written| written.bytes);
            }
            Defragment::Done { file_bytes } => {
                let took = begun.elapsed();
                let (from, to, used) = (mib(before.file_bytes), mib(file_bytes), mib(before.in_use_bytes));
                println!("defragment: {from:.0} MiB ({used:.0} in use) to {to:.0} MiB in {took:.1?}");
                println!("  {:.0} MiB in use by now", mib(load.store.sizes().in_use_bytes));
                println!(
                    "  {:.0} MiB written or cut off, {:.0} MiB/s",
                    mib(moved),
                    mib(moved) / took.as_secs_f64()
                );
                break;
            }
        }
    }
    slices.print("defragment slice of 64 pages");
    swaps.print("swap slice meanwhile");
    load.publishes.print("publish meanwhile");
    std::fs::remove_file(&path).unwrap();
}
