//! What the store's operations cost: nanoseconds of this thread's CPU time each, and of the clock, over a
//! million Kubernetes-shaped keys.
//!
//! `cargo run --release -p graven-engine --example mvcc_speed [keys] [value bytes] [directory]`
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement prints, reads the clock and may stop at once"
)]

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use engine::{Applied, End, KeyRange, Options, OsFile, Store};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn key(number: usize) -> Vec<u8> {
    let namespace = number % 97;
    format!("/registry/pods/namespace-{namespace:02}/pod-name-{:012x}", number * 2_654_435_761).into_bytes()
}

/// The machine may be busy with other things; this does not count them.
fn cpu_nanos() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn time(name: &str, times: usize, mut operation: impl FnMut()) {
    let (start, cpu) = (Instant::now(), cpu_nanos());
    operation();
    let cpu = (cpu_nanos() - cpu) as f64 / times as f64;
    let clock = start.elapsed().as_nanos() as f64 / times as f64;
    println!("{name:<58} {cpu:>12.0} ns {clock:>12.0} ns   ({times})");
}

fn checkpoint(store: &mut Store) {
    store.publish();
    if let Some(checkpoint) = store.begin_checkpoint() {
        let done = checkpoint.run(&mut |_| ()).unwrap();
        store.end_checkpoint(done).unwrap();
    }
}

/// Puts in batches of so many single-put writes; a checkpoint whenever 64 MiB have gathered.
fn put(store: &mut Store, keys: &[Vec<u8>], order: &[usize], value: &[u8], batch: usize) {
    for numbers in order.chunks(batch) {
        for number in numbers {
            let mut write = store.begin();
            write.put(&keys[*number], value, 0).unwrap();
            black_box(write.finish().unwrap());
        }
        store.set_applied(Applied { index: store.applied().index + 1, term: 1 });
        store.publish();
        if store.checkpoint_due().dirty_bytes > 64 << 20 {
            checkpoint(store);
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let count: usize = arguments.next().map_or(1_000_000, |text| text.parse().unwrap());
    let value = vec![b'v'; arguments.next().map_or(256, |text| text.parse().unwrap())];
    let dir = tempfile::tempdir_in(arguments.next().map_or_else(std::env::temp_dir, PathBuf::from)).unwrap();
    let path = dir.path().join("db");
    let open = || Store::open(Arc::new(OsFile::open(&path).unwrap()), Options::default()).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let keys: Vec<_> = (0..count).map(key).collect();
    let mut shuffled: Vec<usize> = (0..count).collect();
    for place in (1..count).rev() {
        shuffled.swap(place, rng.random_range(0..=place));
    }

    let mut store = open();
    time("insert, random order, batches of 256, with checkpoints", count, || {
        put(&mut store, &keys, &shuffled, &value, 256);
    });
    let some = &shuffled[..count / 5];
    for batch in [16, 256] {
        time(&format!("put, random key, batches of {batch}, with checkpoints"), some.len(), || {
            put(&mut store, &keys, some, &value, batch);
        });
    }
    time("checkpoint of what is left", 1, || checkpoint(&mut store));
    time("put, random key, batches of 256, without checkpoints", 50_000, || {
        for numbers in shuffled[..50_000].chunks(256) {
            for number in numbers {
                let mut write = store.begin();
                write.put(&keys[*number], &value, 0).unwrap();
                black_box(write.finish().unwrap());
            }
            store.publish();
        }
    });
    time("put, 10,000 hot keys, batches of 16", 100_000, || {
        for numbers in (0..100_000).collect::<Vec<_>>().chunks(16) {
            for number in numbers {
                let mut write = store.begin();
                write.put(&keys[shuffled[number % 10_000]], &value, 0).unwrap();
                black_box(write.finish().unwrap());
            }
            store.publish();
        }
    });

    let view = store.reader().view();
    let gets = &shuffled[count / 5..count / 5 * 2];
    time("get at latest, head only", gets.len(), || {
        for number in gets {
            black_box(view.get(&keys[*number], 0).unwrap().unwrap());
        }
    });
    time("get at latest, with its record", gets.len(), || {
        for number in gets {
            black_box(view.get(&keys[*number], 0).unwrap().unwrap().record().unwrap().to_vec());
        }
    });
    let back = view.revision() - 100_000;
    time("get 100,000 revisions back, hot keys", 10_000, || {
        for number in &shuffled[..10_000] {
            black_box(view.get(&keys[*number], back).unwrap());
        }
    });
    let half = count as i64 / 2;
    time("get at half the inserts", gets.len(), || {
        for number in gets {
            black_box(view.get(&keys[*number], half).unwrap());
        }
    });
    time("range over all, heads only (per key)", count, || {
        let mut range = view.range(&KeyRange::all(), 0).heads_only();
        while let Some(item) = range.try_next().unwrap() {
            black_box(item.head);
        }
    });
    let mut copied = Vec::with_capacity(10_000 * (value.len() + 100));
    let starts: Vec<_> = (0..5).map(|_| keys[rng.random_range(0..count)].clone()).collect();
    let mut ten_thousand = |start: &Vec<u8>| {
        let mut range = view.range(&KeyRange { start: start.clone().into(), end: End::Unbounded }, 0);
        copied.clear();
        for _ in 0..10_000 {
            let Some(item) = range.try_next().unwrap() else { break };
            copied.extend_from_slice(item.record().unwrap());
        }
        black_box(&copied);
    };
    starts.iter().for_each(&mut ten_thousand);
    time("range over 10,000 with records, copied (per key)", 200_000, || {
        (0..20).for_each(|round| ten_thousand(&starts[round % starts.len()]));
    });
    let pages = 200;
    let page = |at: i64, rng: &mut ChaCha8Rng| {
        let start = keys[rng.random_range(0..count)].clone();
        let mut range = view.range(&KeyRange { start: start.into(), end: End::Unbounded }, at);
        let mut bytes = Vec::new();
        for _ in 0..500 {
            let Some(item) = range.try_next().unwrap() else { break };
            bytes.extend_from_slice(item.record().unwrap());
        }
        black_box(bytes);
    };
    time("page of 500 with records", pages, || (0..pages).for_each(|_| page(0, &mut rng)));
    time("page of 500 with records, 3,000 revisions back", pages, || {
        (0..pages).for_each(|_| page(view.revision() - 3000, &mut rng));
    });
    let pods = KeyRange::prefix(b"/registry/pods/");
    time("count at latest", 1000, || {
        for _ in 0..1000 {
            black_box(view.count(&pods, 0).unwrap());
        }
    });
    time("count 3,000 revisions back", 20, || {
        for _ in 0..20 {
            black_box(view.count(&pods, view.revision() - 3000).unwrap());
        }
    });
    time("hash_kv of everything (per record)", count, || {
        black_box(view.hash_kv(0).unwrap());
    });
    time("changes, the last 100,000 (each)", 100_000, || {
        black_box(view.changes(view.revision() - 100_000).count());
    });
    drop(view);

    checkpoint(&mut store);
    let revision = store.revision();
    store.compact(revision - 1000).unwrap();
    let (mut removed, mut slices, mut longest) = (0, 0, 0.0f64);
    let start = Instant::now();
    while store.compaction_pending() {
        let slice = Instant::now();
        removed += store.compact_slice(500).unwrap().removed;
        store.publish();
        longest = longest.max(slice.elapsed().as_secs_f64());
        slices += 1;
    }
    let each = start.elapsed().as_nanos() as f64 / f64::from(slices);
    println!(
        "compaction: {removed} dropped, {slices} slices of 500 records at {each:.0} ns, longest {longest:.4} s"
    );
    time("checkpoint after it", 1, || checkpoint(&mut store));
    println!("{:?}", store.sizes());
    drop(store);
    let mut store = None;
    time("open", 1, || store = Some(open()));
    time("first count after opening", 1, || {
        black_box(store.as_ref().unwrap().reader().view().count(&KeyRange::all(), 0).unwrap());
    });
}
