//! What this machine's CPU takes for what a put consists of.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use measure::{Error, Latencies, Result, Stop, cpu};
use serde::{Deserialize, Serialize};

/// Short measurements of this machine; microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Cores that this process may use.
    pub(crate) cores: usize,
    /// A piece of plain work: allocating, copying, hashing and searching as a put does.
    pub(crate) work_us: f64,
    /// A round trip of 400 bytes and 60 bytes back over loopback, between threads that block.
    pub(crate) echo_us: f64,
    /// CPU of both threads in such a round trip.
    pub(crate) echo_cpu_us: f64,
    /// From waking a thread to its running.
    pub(crate) wake_us: f64,
}

const ECHOES: usize = 4_000;
const WAKES: usize = 4_000;
const WORK: u64 = 20_000;
/// Of so many runs the fastest counts: what else the machine does only ever makes it slower.
const RUNS: usize = 5;
const REQUEST: usize = 400;
const ANSWER: usize = 60;

impl Machine {
    /// Takes about a second.
    pub(crate) fn measure(stop: &Stop) -> Result<Machine> {
        let failed = |error| Error::Wrong(format!("a connection over loopback failed: {error}"));
        let mut machine = Machine {
            cores: thread::available_parallelism().map_or(1, usize::from),
            work_us: f64::INFINITY,
            echo_us: f64::INFINITY,
            echo_cpu_us: f64::INFINITY,
            wake_us: f64::INFINITY,
        };
        for _ in 0..RUNS {
            stop.check()?;
            let (echo_us, echo_cpu_us) = echo(ECHOES / RUNS).map_err(failed)?;
            machine.echo_us = machine.echo_us.min(echo_us);
            machine.echo_cpu_us = machine.echo_cpu_us.min(echo_cpu_us);
            machine.work_us = machine.work_us.min(work(WORK / RUNS as u64));
            machine.wake_us = machine.wake_us.min(wake(WAKES / RUNS));
        }
        Ok(machine)
    }
}

/// Median round trip, and CPU of both sides in one.
fn echo(count: usize) -> std::io::Result<(f64, f64)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    thread::scope(|scope| {
        let answering = scope.spawn(move || -> std::io::Result<Duration> {
            let begun = cpu::of_thread();
            let mut request = [0; REQUEST];
            for _ in 0..count {
                server.read_exact(&mut request)?;
                server.write_all(&request[..ANSWER])?;
            }
            Ok(cpu::of_thread() - begun)
        });
        let mut latencies = Latencies::new();
        let begun = cpu::of_thread();
        let (request, mut answer) = ([1; REQUEST], [0; ANSWER]);
        for _ in 0..count {
            let begun = Instant::now();
            client.write_all(&request)?;
            client.read_exact(&mut answer)?;
            latencies.record(begun.elapsed());
        }
        let own = cpu::of_thread() - begun;
        drop(client);
        let theirs = answering.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((latencies.micros(0.5), (own + theirs).as_secs_f64() * 1e6 / count as f64))
    })
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
        for value in [machine.work_us, machine.echo_us, machine.echo_cpu_us, machine.wake_us] {
            assert!(value > 0.01 && value < 1e6, "{machine:?}");
        }
    }
}
