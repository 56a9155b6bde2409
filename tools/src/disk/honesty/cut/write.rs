//! The writer: all lanes at once, until the power is cut, the time is over or somebody asks to end.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use measure::units::{bytes, number};
use measure::{Error, Result, Stop};

use super::connection::Reporter;
use super::folder::{About, Claim, FOLDER};
use super::lane::Hands;
use super::place::{Uptime, place};
use super::plan::Plan;
use super::record::Run;
use crate::disk::guard;
use crate::disk::terminal::{note, say};

/// How often the state is told.
const TELL: Duration = Duration::from_secs(10);

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) dir: PathBuf,
    pub(crate) witness: String,
    pub(crate) size: u64,
    pub(crate) duration: Option<Duration>,
    pub(crate) seed: Option<u64>,
    /// How long the witness may be away.
    pub(crate) patience: Duration,
    /// Remove what an earlier run left.
    pub(crate) clean: bool,
    pub(crate) allow_tmpfs: bool,
}

/// Writes until it ends; what was written stays, for `verify`.
pub(crate) fn run(request: &Request) -> Result<()> {
    let plan = Plan::new(request.seed.unwrap_or_else(chance), request.size)?;
    guard::check_dir(&request.dir, request.allow_tmpfs)?;
    let folder = request.dir.join(FOLDER);
    let earlier = match folder.symlink_metadata() {
        Err(_) => None,
        Ok(_) if request.clean => Some(Claim::earlier(&folder)?),
        Ok(_) => {
            return Err(Error::Usage(format!(
                "{} holds an earlier run: verify it first, or remove it with --clean",
                folder.display()
            )));
        }
    };
    let freed = earlier.as_ref().map_or(Ok(0), Claim::bytes)?;
    guard::check_space(
        &request.dir,
        request.size.saturating_sub(freed),
        "free some, or give a smaller --size",
    )?;
    let stop = Stop::listen()?;
    let run = Run {
        id: chance(),
        seed: plan.seed,
        size: plan.size,
        begun: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        lanes: u32::try_from(plan.lanes.len()).expect("a dozen"),
        host: host(),
        dir: place(&request.dir),
    };
    let reporter = Reporter::connect(&request.witness, run.clone(), request.patience)?;
    note(format_args!(
        "run {:016x}: writes to {}, at most {}, until the power is cut; seed {}",
        run.id,
        folder.display(),
        bytes(plan.size),
        plan.seed
    ));
    // The evidence of the run before goes only once nothing can be refused any more.
    earlier.map_or(Ok(()), Claim::remove)?;
    let begun = Instant::now();
    // Held until this returns; what cannot be claimed is somebody else's, and stays as it is.
    let claim = Claim::make(&folder)?;
    let hands = match prepare(&folder, &claim, &plan, &run, begun) {
        Ok(hands) => hands,
        Err(error) => {
            // Nothing was acknowledged yet.
            let _ = claim.remove();
            return Err(error);
        }
    };
    say(format_args!("run {:016x} is writing: cut the power whenever you like, then verify", run.id));
    let failure = work(hands, &reporter, &stop, request.duration);
    if let Some((lane, error)) = failure {
        // As after a cut: what was acknowledged is to be there.
        let recorded = reporter.recorded();
        return Err(Error::Wrong(format!(
            "lane {lane} cannot write ({error}) after {recorded} recorded writes: what is there can still be verified"
        )));
    }
    let recorded = reporter
        .finish()
        .map_err(|why| Error::Wrong(format!("{why}: what was written until then can still be verified")));
    recorded?;
    note(format_args!("run {:016x} ended without a cut; {} stays for verify", run.id, folder.display()));
    Ok(())
}

/// Makes and syncs what must be there before the first write.
fn prepare(folder: &Path, claim: &Claim, plan: &Plan, run: &Run, begun: Instant) -> Result<Vec<Hands>> {
    claim.describe(&About { run: run.clone(), uptime: Uptime::now(folder) })?;
    let mut hands = Vec::new();
    for lane in &plan.lanes {
        let mut lane = Hands::new(folder, *lane, run.id, plan.seed, begun);
        if let Some(refused) = lane.prepare().map_err(Error::io("write to", folder))? {
            note(refused);
        }
        hands.push(lane);
    }
    sync(folder)?;
    if let Some(parent) = folder.parent() {
        sync(parent)?;
    }
    Ok(hands)
}

fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::io("sync", path))
}

/// Runs the lanes until one of them fails, or the end.
fn work(
    hands: Vec<Hands>,
    reporter: &Reporter,
    stop: &Stop,
    duration: Option<Duration>,
) -> Option<(String, io::Error)> {
    let begun = Instant::now();
    let over = || stop.check().is_err() || duration.is_some_and(|duration| begun.elapsed() >= duration);
    std::thread::scope(|scope| {
        let lanes: Vec<_> = hands
            .into_iter()
            .map(|mut hands| {
                let over = &over;
                scope.spawn(move || {
                    for sequence in 1.. {
                        if over() {
                            break;
                        }
                        match hands.write(sequence) {
                            Ok(ack) if reporter.acknowledge(ack) => {}
                            Ok(_) => break,
                            Err(error) => {
                                reporter.stop();
                                return Some((hands.lane.name(), error));
                            }
                        }
                    }
                    None
                })
            })
            .collect();
        let mut told = Instant::now();
        while !lanes.iter().all(|lane| lane.is_finished()) {
            std::thread::sleep(Duration::from_millis(20));
            if over() || reporter.failure().is_some() {
                reporter.stop();
            } else if told.elapsed() >= TELL {
                told = Instant::now();
                note(format_args!("{} writes recorded", number(reporter.recorded() as f64)));
            }
        }
        lanes.into_iter().filter_map(|lane| lane.join().expect("a lane does not panic")).next()
    })
}

/// Eight bytes of the kernel's.
fn chance() -> u64 {
    let mut bytes = [0; 8];
    match File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.subsec_nanos().into()),
    }
}

fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}
