//! What this machine's CPU takes for what a put consists of.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use measure::{Error, Latencies, Result, Stop, cpu};
use serde::{Deserialize, Serialize};

use crate::disk::commit::REQUEST;

/// Short measurements of this machine; microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Cores that this process may use.
    pub(crate) cores: usize,
    /// A piece of plain work: allocating, copying, hashing and searching as a put does.
    pub(crate) work_us: f64,
    /// Sending a request over loopback and receiving it, in one thread: nobody waits and nobody is woken.
    pub(crate) pass_us: f64,
    /// From waking a thread to its running.
    pub(crate) wake_us: f64,
}

const PASSES: usize = 10_000;
const WAKES: usize = 4_000;
const WORK: u64 = 20_000;
/// Of so many runs the fastest counts: what else the machine does only ever makes it slower.
const RUNS: usize = 5;

impl Machine {
    /// Takes about half a second.
    pub(crate) fn measure(stop: &Stop) -> Result<Machine> {
        let failed = |error| Error::Wrong(format!("a connection over loopback failed: {error}"));
        let mut machine = Machine {
            cores: thread::available_parallelism().map_or(1, usize::from),
            work_us: f64::INFINITY,
            pass_us: f64::INFINITY,
            wake_us: f64::INFINITY,
        };
        for _ in 0..RUNS {
            stop.check()?;
            machine.work_us = machine.work_us.min(work(WORK / RUNS as u64));
            machine.pass_us = machine.pass_us.min(pass(PASSES / RUNS).map_err(failed)?);
            machine.wake_us = machine.wake_us.min(wake(WAKES / RUNS));
        }
        Ok(machine)
    }
}

/// CPU of one pass.
fn pass(count: usize) -> std::io::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    let mut request = [1; REQUEST];
    let begun = cpu::of_thread();
    for _ in 0..count {
        client.write_all(&request)?;
        server.read_exact(&mut request)?;
    }
    Ok((cpu::of_thread() - begun).as_secs_f64() * 1e6 / count as f64)
}

/// CPU of one piece of work.
fn work(count: u64) -> f64 {
    let mut tree: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let begun = cpu::of_thread();
    let mut sum = 0_u64;
    for number in 0..count {
        let value = vec![number as u8; 300];
        // FNV-1a: a dependency from byte to byte that no compiler shortens.
        let hash = value.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        sum = sum.wrapping_add(hash);
        tree.insert(hash.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)), value);
        if tree.len() > 4_096 {
            tree.pop_first();
        }
    }
    black_box(sum);
    (cpu::of_thread() - begun).as_secs_f64() * 1e6 / count as f64
}

/// Half of the median round trip between two threads that park.
fn wake(count: usize) -> f64 {
    let (turn, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut latencies = Latencies::new();
    let here = thread::current();
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            while !ended.load(Ordering::Acquire) {
                thread::park();
                turn.fetch_add(1, Ordering::AcqRel);
                here.unpark();
            }
        });
        for number in 1..=count as u64 {
            let begun = Instant::now();
            other.thread().unpark();
            while turn.load(Ordering::Acquire) < number {
                thread::park();
            }
            latencies.record(begun.elapsed());
        }
        ended.store(true, Ordering::Release);
        other.thread().unpark();
    });
    latencies.micros(0.5) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_takes_some_time_for_everything() {
        let machine = Machine::measure(&Stop::default()).unwrap();
        for value in [machine.work_us, machine.pass_us, machine.wake_us] {
            assert!(value > 0.01 && value < 1e6, "{machine:?}");
        }
    }
}
