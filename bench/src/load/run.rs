//! One load from the first connection to the last file.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use measure::{Latencies, Progress, Stop};

use super::arguments::Which;
use super::document::{Document, Ending, ProcessResults};
use super::driver::{self, Clock, Driver, Found, Part};
use super::keys::Spread;
use super::kubernetes::ControlPlane;
use super::lease::Leases;
use super::live::Live;
use super::plan::{End, Files, Kind, Pace, Plan};
use super::process::Watched;
use super::schedule;
use super::snapshot::{self, Beside, SnapshotLoad, Streams};
use super::stm::{self, Stm};
use super::tally::Tally;
use super::values::Sizes;
use super::watching::{Measures, Watch, WatchGet};
use super::work::{Single, Work};
use super::workload::{self, Source};
use crate::client::{Client, Conventional, Lean, Target, log_in};
use crate::error::{Error, Result};
use crate::report::{Document as _, write_json, write_log, write_page};

/// How often the server's process is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Requests outstanding while keys are put that are to be read.
const FILL_CLIENTS: usize = 256;

/// Loads, prints, and writes the files asked for.
///
/// # Errors
/// [`Error::Usage`] when nothing could be measured; [`Error::Died`] and [`Error::Wrong`] when what was measured (and was
/// printed) is not what was asked for; an interruption.
pub(crate) fn run(plan: &Plan) -> Result<()> {
    let stop = Stop::listen()?;
    let mut progress = Progress::new(1);
    let document = measure_as(Some(plan.kind.name()), plan, &stop, &mut progress)?;
    drop(progress);
    document.print();
    let Files { json, html, hdr } = &plan.files;
    json.as_deref().map_or(Ok(()), |path| write_json(&document, path))?;
    html.as_deref().map_or(Ok(()), |path| write_page(&document, path))?;
    hdr.as_deref().map_or(Ok(()), |path| write_log(&document, path))?;
    match document.complaint() {
        _ if document.ending == Ending::Interrupted => Err(Error::Interrupted),
        Some(complaint) if document.has_lost_a_server() => Err(Error::Died(complaint)),
        Some(complaint) => Err(Error::Wrong(complaint)),
        None => Ok(()),
    }
}

/// Loads, and returns what was found. The stage of `progress` is the caller's.
///
/// # Errors
/// [`Error::Usage`] when the servers can't be loaded. A load that ends early is no error: the document says so.
pub(crate) fn measure(plan: &Plan, stop: &Stop, progress: &mut Progress) -> Result<Document> {
    measure_as(None, plan, stop, progress)
}

/// The stage is named once it is clear that there will be one: a refusal is a single line.
fn measure_as(stage: Option<&str>, plan: &Plan, stop: &Stop, progress: &mut Progress) -> Result<Document> {
    let mut plan = plan.clone();
    let version = log_in(&mut plan.target, plan.credentials.as_ref())?;
    if plan.fills {
        fill(&plan, stop)?;
    }
    match &plan.kind {
        Kind::Stm(load) if load.verify => stm::fill(&plan, stop)?,
        Kind::Snapshot(_) => snapshot::probe(&plan.target)?,
        _ => {}
    }
    if let Some(stage) = stage {
        progress.stage(stage);
    }
    let all = load(&plan, stop, progress)?;
    let Loaded { tally, ending, cpu, process, started } = all;
    let verified = match &plan.kind {
        Kind::Stm(load) if load.verify && !matches!(ending, driver::Ending::Lost(_)) => {
            Some(stm::verify(&plan, *load, &tally)?)
        }
        _ => None,
    };
    let process = process.map(|process| ProcessResults::new(&process, tally.successes() + tally.failed()));
    let ending = match ending {
        driver::Ending::Done => Ending::Complete,
        driver::Ending::Interrupted => Ending::Interrupted,
        driver::Ending::Lost(why) => Ending::Lost(why),
    };
    let mut document = Document::new(&plan, version, started, ending, &tally, cpu, process);
    document.results.verified = verified;
    Ok(document)
}

/// Puts every key of the key space once.
fn fill(plan: &Plan, stop: &Stop) -> Result<()> {
    let fill = Plan {
        kind: Kind::Put,
        client: Which::Lean,
        threads: 1,
        connections: plan.connections.min(FILL_CLIENTS),
        clients: FILL_CLIENTS,
        pace: Pace::Closed,
        end: End::Total(plan.key_space),
        warm_up: Duration::ZERO,
        spread: Spread::Sequential,
        value_sizes: Sizes { ..plan.value_sizes },
        process: None,
        ..plan.clone()
    };
    let loaded = load(&fill, stop, &mut Progress::silent())?;
    stop.check()?;
    match loaded.tally.failures().keys().next() {
        None if loaded.ending == driver::Ending::Done => Ok(()),
        why => Err(Error::Wrong(format!(
            "--fill: the keys could not be put: {}",
            why.map_or("the server was lost", String::as_str)
        ))),
    }
}

/// What the threads found together.
struct Loaded {
    tally: Tally,
    ending: driver::Ending,
    cpu: Duration,
    process: Option<Watched>,
    started: SystemTime,
}

/// What a thread says: first that it is connected, then what it found.
enum Word {
    Connected,
    Found(Box<Result<Found>>),
}

fn load(plan: &Plan, stop: &Stop, progress: &mut Progress) -> Result<Loaded> {
    let (words, heard) = channel::<Word>();
    let counter = Arc::new(AtomicU64::new(0));
    let shown: Vec<Live> = (0..plan.threads).map(|_| Live::new()).collect();
    std::thread::scope(|scope| {
        let mut clocks: Vec<Sender<Clock>> = Vec::new();
        for (number, shown) in shown.iter().enumerate() {
            let (clock, given) = channel();
            clocks.push(clock);
            let (words, counter) = (words.clone(), &counter);
            scope.spawn(move || {
                let found = thread(plan, number, counter, &words, &given, stop, shown);
                // Nobody listens after the first error, and then nobody needs to know.
                let _ = words.send(Word::Found(Box::new(found)));
            });
        }
        drop(words);
        for _ in 0..plan.threads {
            match heard.recv() {
                Ok(Word::Connected) => {}
                // Without a clock the others end as well.
                Ok(Word::Found(found)) => return found.and(Err(gone())),
                Err(_) => return Err(gone()),
            }
        }
        // A load without warm-up counts from its first request on: the server is looked at before that.
        let process = plan.process.and_then(|process| Watched::new(process, plan.warm_up.is_zero()));
        let begin = Instant::now();
        let clock = Clock { begin, start: begin + plan.warm_up };
        let started = SystemTime::now() + plan.warm_up;
        for given in clocks {
            given.send(clock).map_err(|_| gone())?;
        }
        watch(plan, &heard, clock, started, process, &shown, progress)
    })
}

fn gone() -> Error {
    Error::Wrong("a thread of this program ended without a word".to_owned())
}

/// Looks at the server's process and at how far the threads are until they have all ended.
fn watch(
    plan: &Plan,
    heard: &Receiver<Word>,
    clock: Clock,
    started: SystemTime,
    mut process: Option<Watched>,
    shown: &[Live],
    progress: &mut Progress,
) -> Result<Loaded> {
    let mut seen = Latencies::new();
    let mut all: Option<(Tally, driver::Ending, Duration)> = None;
    let mut running = plan.threads;
    while running > 0 {
        let now = Instant::now();
        let wait = clock.start.saturating_duration_since(now);
        let wait = if wait.is_zero() { LOOK } else { wait.min(LOOK) };
        match heard.recv_timeout(wait) {
            Ok(Word::Found(found)) => {
                let Found { tally, ending, cpu } = (*found)?;
                running -= 1;
                match &mut all {
                    None => all = Some((tally, ending, cpu)),
                    Some((whole, how, time)) => {
                        whole.merge(&tally);
                        *time += cpu;
                        if *how == driver::Ending::Done {
                            *how = ending;
                        }
                    }
                }
            }
            Ok(Word::Connected) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(gone()),
        }
        if let Some(process) = &mut process {
            process.look(Instant::now() >= clock.start);
        }
        show(plan, clock, shown, &mut seen, progress);
    }
    let (tally, ending, cpu) = all.ok_or_else(gone)?;
    Ok(Loaded { tally, ending, cpu, process, started })
}

/// `seen` is what was shown before.
fn show(plan: &Plan, clock: Clock, shown: &[Live], seen: &mut Latencies, progress: &mut Progress) {
    shown.iter().for_each(|live| live.collect(seen));
    let share = match plan.end {
        End::Total(total) => seen.count() as f64 / total as f64,
        End::After(duration) => clock.begin.elapsed().as_secs_f64() / (plan.warm_up + duration).as_secs_f64(),
    };
    match seen.count() {
        0 => progress.update(share, None),
        _ => progress.update_live(share, seen),
    }
}

fn thread(
    plan: &Plan,
    number: usize,
    counter: &Arc<AtomicU64>,
    words: &Sender<Word>,
    given: &Receiver<Clock>,
    stop: &Stop,
    shown: &Live,
) -> Result<Found> {
    let ready = || {
        let _ = words.send(Word::Connected);
        given.recv().map_err(|_| gone())
    };
    // The threads that share the load as it is described; this one's number among them.
    let (threads, number) = match &plan.kind {
        Kind::Snapshot(load) if number == 0 => return read_snapshots(plan, load, ready, stop, shown),
        Kind::Snapshot(_) => (1, 0),
        _ => (plan.threads, number),
    };
    let share = |all: usize| all / threads + usize::from(number < all % threads);
    let connections = share(plan.connections);
    // Taken together, the threads' connections go to the endpoints in turn.
    let before: usize = (0..number)
        .map(|number| plan.connections / threads + usize::from(number < plan.connections % threads))
        .sum();
    let mut target = plan.target.clone();
    let endpoints = target.endpoints.len();
    target.endpoints.rotate_left(before % endpoints);
    let mut client = connect(plan.client, &target, connections)?;
    let end = match plan.end {
        End::Total(total) => End::Total(share(total as usize) as u64),
        after @ End::After(_) => after,
    };
    let arrivals = schedule::arrivals(plan.pace, plan.seed, threads, number);
    let clients = share(plan.clients);
    let part = Part { clients, end, arrivals };
    let source = || Source::new(plan, number, counter);
    let client = client.as_mut();
    match &plan.kind {
        Kind::Watch(watching) => {
            let watch = Watch::new(plan, number, watching, Measures::Throughput);
            return prepared(client, watch, part, ready, stop, shown);
        }
        Kind::WatchLatency(watching) => {
            let watch = Watch::new(plan, number, watching, Measures::Latency);
            return prepared(client, watch, part, ready, stop, shown);
        }
        Kind::WatchGet { watching, history, what } => {
            let watches = WatchGet::new(plan, number, watching, *history, what.clone(), counter);
            return prepared(client, watches, part, ready, stop, shown);
        }
        Kind::Kubernetes(cluster) => {
            return prepared(client, ControlPlane::new(plan, cluster), part, ready, stop, shown);
        }
        _ => {}
    }
    let clock = ready()?;
    match &plan.kind {
        Kind::Lease(load) => drive(
            client,
            Leases::new(*load, source(), connections, clients, number),
            part,
            clock,
            stop,
            shown,
        ),
        Kind::Stm(load) => {
            drive(client, Stm::new(*load, source(), clients, clock.start), part, clock, stop, shown)
        }
        Kind::Snapshot(load) => {
            let puts = Box::new(Beside::new(source(), load.clone()));
            drive(client, Single::new(puts, clients), part, clock, stop, shown)
        }
        _ => {
            let workload = workload::make(plan, number, counter);
            drive(client, Single::new(workload, clients), part, clock, stop, shown)
        }
    }
}

/// A load that puts something at the server and opens streams before the clock runs.
fn prepared<W: Work>(
    client: &mut dyn Client,
    mut work: W,
    part: Part,
    ready: impl FnOnce() -> Result<Clock>,
    stop: &Stop,
    shown: &Live,
) -> Result<Found> {
    let prepared = work.streams().map_or(Ok(()), |streams| streams.prepare(client, stop));
    match prepared.and_then(|()| ready()) {
        Ok(clock) => drive(client, work, part, clock, stop, shown),
        Err(error) => {
            let mut tally = Tally::new(work.kinds());
            work.close(client, &mut tally);
            Err(error)
        }
    }
}

fn drive<W: Work>(
    client: &mut dyn Client,
    work: W,
    part: Part,
    clock: Clock,
    stop: &Stop,
    shown: &Live,
) -> Result<Found> {
    Driver::new(client, work, part, clock).run(stop, shown)
}

fn read_snapshots(
    plan: &Plan,
    load: &SnapshotLoad,
    ready: impl FnOnce() -> Result<Clock>,
    stop: &Stop,
    shown: &Live,
) -> Result<Found> {
    let mut client = connect(plan.client, &plan.target, load.streams)?;
    let clock = ready()?;
    Streams::new(client.as_mut(), load, plan.end, clock).run(stop, shown)
}

fn connect(which: Which, target: &Target, connections: usize) -> Result<Box<dyn Client>> {
    Ok(match which {
        Which::Lean => Box::new(Lean::connect(target, connections)?),
        Which::Tonic => Box::new(Conventional::connect(target, connections)?),
    })
}
