//! `graven-bench compare`: two or more servers on the same disk, in turns.
//!
//! A round is one turn of every server; the order is reversed from round to round, so that nobody always runs on what another
//! has left. In a turn the disk is probed, the server started in a fresh folder, its durability checked ([`parity`]), all keys
//! put once, every load run with every number of clients (a warm-up, then what counts), the server stopped, the disk
//! probed again. A turn during which the disk's own speed moved by more than 30 % says nothing about the server: it is dropped
//! and measured again, a few times. Printed are medians over the rounds.
//!
//! Servers are commands of the user's, run by the shell in a process group of their own, which is ended as a whole when a
//! turn ends, however it ends ([`heir`]). A comparison that is cut short shows what it has of the turns that were finished.

mod arguments;
mod command;
mod document;
mod heir;
mod page;
mod parity;
mod rounds;
mod server;
mod table;

use std::rc::Rc;
use std::time::SystemTime;

pub(crate) use arguments::Arguments;
use command::{Command, check_dir};
pub(crate) use document::{Document, KIND};
use document::{Load, Measured, Sample, Server, Settings, load_of};
use heir::Heir;
pub(crate) use heir::{HEIR, run_heir};
use measure::machine::{Device, Machine, WriteCache};
use measure::{Floor, Maker, Progress, Stop, WorkDir, free_bytes, median, units};
use rounds::Rounds;

use crate::error::{Error, Result};
use crate::load::Ending;
use crate::report::{Document as _, FORMAT, VERSION, write_json, write_page};
use crate::terminal::note;

/// For the name of the directory.
const MAKER: Maker = Maker { program: "graven-bench", option: "another --dir" };
/// Of the file that is probed.
const FLOOR_BYTES: u64 = 16 << 20;
/// What has to be free: logs that servers prepare, and what is put in the time that is usual.
const LEAST_FREE_BYTES: u64 = 2 << 30;
/// How often a turn is measured again when the disk's floor moved.
const AGAIN: usize = 2;

/// Compares, prints, and writes the files asked for.
///
/// # Errors
/// [`Error::Usage`] when a server does not start or the request contradicts itself; [`Error::Died`] when a server ends in
/// the middle, [`Error::Wrong`] when one does not sync, or an interruption: what was measured of each server is printed and
/// written then.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let commands = arguments.commands()?;
    let stop = Stop::listen()?;
    let parent = rounds::absolute(&arguments.dir)?;
    check_dir(&parent)?;
    let dir = WorkDir::create(&parent, MAKER)?;
    announce(arguments, &commands, &dir)?;
    let floor = Floor::create(dir.path(), FLOOR_BYTES, wal::Method::Auto)?;
    let machine = Machine::of(dir.path(), floor.method());
    let device = Device::of(dir.path());
    let cache = device.as_ref().map_or(WriteCache::Unknown, Device::write_cache);
    let started = SystemTime::now();
    let progress = Progress::new(1);
    let heir = Rc::new(Heir::start()?);
    let mut rounds = Rounds { arguments, dir: &dir, floor, device, heir, stop: &stop, progress };
    let mut turns = Vec::new();
    let mut versions = vec![String::new(); commands.len()];
    let measured = measure_all(&mut rounds, &commands, &mut turns, &mut versions);
    drop(rounds);
    // Cut short before every server had a turn, there is nothing to compare.
    if !commands.iter().all(|command| turns.iter().any(|turn| turn.server == command.name)) {
        return measured;
    }
    let ending = match &measured {
        Ok(()) => Ending::Complete,
        Err(error) if error.is_interruption() => Ending::Interrupted,
        Err(error) => Ending::Lost(error.to_string()),
    };

    let probes: Vec<f64> = turns.iter().flat_map(|turn| [turn.before.p50_us, turn.after.p50_us]).collect();
    let fastest_us = probes.iter().copied().fold(f64::MAX, f64::min);
    let floor_us = median(&probes).unwrap_or_default();
    let servers = servers(&commands, &versions, &turns, cache, fastest_us);
    let durability: Vec<_> =
        servers.iter().map(|server| (server.name.as_str(), &server.durability)).collect();
    let complaint = parity::complaint(&durability);
    let document = Document {
        format: FORMAT.to_owned(),
        version: VERSION,
        kind: KIND.to_owned(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        started: started.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64()),
        machine,
        settings: Settings {
            rounds: arguments.rounds,
            warm_up_seconds: arguments.warm_up.as_secs_f64(),
            duration_seconds: arguments.duration.as_secs_f64(),
            key_space: arguments.key_space,
            value_bytes: arguments.value_size.to_string(),
            clients_per_connection: arguments.clients_per_connection,
            seed: arguments.seed,
        },
        ending,
        floor_us,
        servers,
        turns,
        complaint: complaint.as_ref().map(|(_, words)| words.clone()),
    };
    document.print();
    if let Some(path) = &arguments.json {
        write_json(&document, path)?;
    }
    if let Some(path) = &arguments.html {
        write_page(&document, path)?;
    }
    match (measured, complaint) {
        (Err(error), _) if error.is_interruption() => Err(Error::Interrupted),
        (Err(Error::Died(words)), _) => Err(Error::Died(format!("{words}; shown are the turns before"))),
        (Err(error), _) => Err(error),
        (Ok(()), Some((parity::Verdict::DoesNotSync, words))) => Err(Error::Wrong(words)),
        (Ok(()), _) => Ok(()),
    }
}

fn announce(arguments: &Arguments, commands: &[Command], dir: &WorkDir) -> Result<()> {
    let free = free_bytes(dir.path())?;
    let loads = (arguments.loads.len() * arguments.clients.len()) as f64;
    let turn = loads * (arguments.warm_up + arguments.duration).as_secs_f64()
        + 2.0 * arguments.probe.as_secs_f64()
        + 5.0;
    let names: Vec<&str> = commands.iter().map(|command| command.name.as_str()).collect();
    note(format_args!(
        "comparing {} in {}, one at a time: writes what they write under load ({} free), in at least {}",
        names.join(", "),
        dir.path().display(),
        units::bytes(free),
        units::seconds(turn * commands.len() as f64 * f64::from(arguments.rounds))
    ));
    // Whoever fills the key space writes it to a log and to a store.
    let needed = LEAST_FREE_BYTES.saturating_add(arguments.fill_bytes().saturating_mul(2));
    if free < needed {
        return Err(Error::Usage(format!(
            "too little space: {} are needed and {} are free in {}; choose another --dir, or a smaller --key-space or \
             --value-size",
            units::bytes(needed),
            units::bytes(free),
            arguments.dir.display()
        )));
    }
    Ok(())
}

/// All turns of all rounds, and the servers' versions: as many as there are when it ends.
fn measure_all(
    rounds: &mut Rounds<'_>,
    commands: &[Command],
    turns: &mut Vec<Measured>,
    versions: &mut [String],
) -> Result<()> {
    for round in 0..rounds.arguments.rounds {
        let mut order: Vec<usize> = (0..commands.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for number in order {
            let mut again = 0;
            loop {
                let (mut turn, version) = rounds.turn(round + 1, &commands[number])?;
                versions[number] = version;
                turn.dropped = turn.moved && again < AGAIN;
                let (dropped, probes) = (turn.dropped, (turn.before.per_second, turn.after.per_second));
                turns.push(turn);
                if !dropped {
                    break;
                }
                again += 1;
                rounds.progress.note(&format!(
                    "round {}, {}: the disk's own durable writes went from {}/s to {}/s; measured again",
                    round + 1,
                    commands[number].name,
                    units::rounded(probes.0),
                    units::rounded(probes.1)
                ));
            }
        }
    }
    Ok(())
}

fn servers(
    commands: &[Command],
    versions: &[String],
    turns: &[Measured],
    cache: WriteCache,
    fastest_us: f64,
) -> Vec<Server> {
    let mut servers: Vec<Server> = Vec::new();
    for (command, version) in commands.iter().zip(versions) {
        let own = || turns.iter().filter(|turn| turn.server == command.name);
        let quiet: Vec<&Measured> = own().filter(|turn| !turn.moved).collect();
        let is_disturbed = quiet.is_empty();
        let counted: Vec<&Measured> = if is_disturbed { own().collect() } else { quiet };
        let parity: Vec<parity::Turn> = own().flat_map(|turn| turn.parity.iter().copied()).collect();
        let mut loads: Vec<Load> = Vec::new();
        for at in 0..counted[0].samples.len() {
            let samples: Vec<&Sample> = counted.iter().map(|turn| &turn.samples[at]).collect();
            let first = servers.first().map(|first| &first.loads[at]);
            loads.push(load_of(&samples, first));
        }
        servers.push(Server {
            name: command.name.clone(),
            command: command.line().to_owned(),
            version: version.clone(),
            durability: parity::judge(&parity, cache, fastest_us),
            quiet_rounds: if is_disturbed { 0 } else { counted.len() },
            is_disturbed,
            loads,
        });
    }
    servers
}
