//! What the driver and the log cost, without a state machine and without sockets: closed-loop callers with 300-byte
//! proposals. `cargo run --release -p graven-replication --example propose -- [directory] [seconds] [callers..]`

#![expect(clippy::print_stdout, reason = "it prints a table")]

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use replication::{
    Bootstrap, Config, Error, Identity, InitialMember, Leadership, Maintenance, MembershipChange, NoPeers,
    Position, Progress, Proposer, Refused, Room, StateMachine,
};

const PROPOSAL: usize = 300;

/// Proposes the caller's next one as soon as the last has been applied, as a client that waits would.
#[derive(Default)]
struct Again {
    at: Position,
    answered: Vec<u32>,
    out: Option<Sender<Vec<u32>>>,
}

impl StateMachine for Again {
    type Ticket = u32;
    fn applied(&self) -> Position {
        self.at
    }
    fn conf_state(&self) -> Vec<u8> {
        Vec::new()
    }
    fn apply(&mut self, at: Position, _proposal: Bytes, ticket: Option<u32>) {
        self.at = at;
        self.answered.extend(ticket);
    }
    fn apply_membership(&mut self, at: Position, _: MembershipChange, _: Vec<u8>, _: Option<u32>) {
        self.at = at;
    }
    fn applied_empty(&mut self, at: Position) {
        self.at = at;
    }
    fn refused(&mut self, ticket: u32, why: Refused) {
        println!("caller {ticket} refused: {why}");
    }
    fn leadership(&mut self, _: Leadership) {}
    fn end_batch(&mut self, _: Progress) {
        if let Some(out) = &self.out
            && !self.answered.is_empty()
        {
            let room = Vec::with_capacity(self.answered.len());
            // The callers may have finished.
            let _ = out.send(std::mem::replace(&mut self.answered, room));
        }
    }
    fn maintain(&mut self) -> Maintenance {
        Maintenance { release_before: Some(self.at.index), ..Maintenance::default() }
    }
    fn failed(&mut self, _: &Error) {}
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().unwrap_or_else(|| "propose.tmp".to_owned());
    let seconds: f64 = args.next().map_or(Ok(2.0), |seconds| seconds.parse())?;
    let mut callers: Vec<u32> = args.map(|count| count.parse()).collect::<Result<_, _>>()?;
    if callers.is_empty() {
        callers = vec![1, 64, 256];
    }
    println!("callers   proposals/s   p50 us   p99 us   cpu us/proposal   proposals/write");
    for count in callers {
        let dir = Path::new(&dir).join(count.to_string());
        std::fs::create_dir_all(&dir)?;
        measure(&dir, count, Duration::from_secs_f64(seconds))?;
        std::fs::remove_dir_all(&dir)?;
    }
    Ok(())
}

fn measure(dir: &Path, count: u32, length: Duration) -> Result<(), Box<dyn std::error::Error>> {
    let identity = Identity { cluster_id: 1, member_id: 1 };
    let members = vec![InitialMember { id: 1, context: Bytes::new() }];
    let fail_stop = Arc::new(|error: &Error| println!("{error}"));
    let config = Config::new(identity, Bootstrap::New(members), dir.to_owned(), 1, fail_stop);
    let (out, answers) = channel();
    let state = Again { out: Some(out), ..Again::default() };
    let driver = replication::start(config, Arc::new(wal::OsIo::default()), state, Box::new(NoPeers))?;
    let payload = Bytes::from(vec![7; PROPOSAL]);
    let propose = |proposer: &Proposer<u32>, caller: u32| {
        proposer.propose(payload.clone(), caller, Room::Needs).map_err(|rejected| rejected.why)
    };
    // The first segments are being made.
    propose(driver.proposer(), 0)?;
    answers.recv()?;
    std::thread::sleep(Duration::from_millis(1500));

    let cpu = cpu_micros()?;
    let began = Instant::now();
    let writes = driver.status().wal().map_or(0, |stats| stats.batches);
    let mut asked: Vec<Instant> = vec![began; count as usize];
    let mut latencies = Vec::new();
    for caller in 0..count {
        propose(driver.proposer(), caller)?;
    }
    let mut under_way = count;
    while under_way > 0 {
        let answered = answers.recv()?;
        let now = Instant::now();
        for caller in answered {
            latencies.push(now - asked[caller as usize]);
            if now - began < length {
                asked[caller as usize] = now;
                propose(driver.proposer(), caller)?;
            } else {
                under_way -= 1;
            }
        }
    }
    let took = began.elapsed();
    let used = cpu_micros()? - cpu;
    let status = driver.status().clone();
    driver.stop()?;
    let writes = status.wal().map_or(1, |stats| stats.batches).saturating_sub(writes).max(1);
    latencies.sort_unstable();
    let done = latencies.len();
    let at = |share: f64| latencies[((done - 1) as f64 * share) as usize].as_micros();
    println!(
        "{count:>7}   {:>11.0}   {:>6}   {:>6}   {:>15.2}   {:>15.1}",
        done as f64 / took.as_secs_f64(),
        at(0.5),
        at(0.99),
        used as f64 / done as f64,
        done as f64 / writes as f64,
    );
    Ok(())
}

/// User and system time of this process, callers included.
fn cpu_micros() -> Result<u64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/schedstat")?;
    let main: u64 = stat.split(' ').next().ok_or("no time")?.parse()?;
    let mut total = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let stat = std::fs::read_to_string(task?.path().join("schedstat"))?;
        total += stat.split(' ').next().ok_or("no time")?.parse::<u64>()?;
    }
    Ok(total.max(main) / 1000)
}
