//! `graven-disk qualify`: phases one after the other, into one document.

use std::path::Path;
use std::time::{Duration, Instant};

use measure::units::bytes;
use measure::{Error, Maker, Result, Stop, WorkDir, check_outputs, free_bytes};

use super::arguments::QualifyArguments;
use super::document::{Document, Ending};
use super::outcome::Outcome;
use super::terminal::{note, say, time_text};
use super::{commit, disturb, environment, guard, matrix, overtime, predict, recipes, report, verdict};

/// All phases, in the order in which they run. A later one may look at what an earlier one put into the document.
pub(crate) const PHASES: &[Phase] = &[
    environment::PHASE,
    matrix::PHASE,
    recipes::PHASE,
    commit::PHASE,
    disturb::PHASE,
    overtime::PHASE,
    predict::PHASE,
    verdict::PHASE,
];

/// One part of the run.
pub(crate) struct Phase {
    /// As --phases knows it.
    pub(crate) name: &'static str,
    /// What it finds out, in a few words.
    pub(crate) about: &'static str,
    /// What it takes.
    pub(crate) cost: fn(&Settings) -> Cost,
    /// Measures, and puts the result into the session's document.
    pub(crate) run: fn(&mut Session) -> Result<()>,
    /// What the terminal shows of the document's part, at most 80 columns wide; empty if it has none.
    pub(crate) table: fn(&Document) -> String,
}

/// What a phase takes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Bytes written, in sum.
    pub(crate) written: u64,
    /// Bytes that its files take at one time.
    pub(crate) at_once: u64,
    /// About how long, on an ordinary disk.
    pub(crate) time: Duration,
}

/// What the phases are told.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Times of the phases are multiplied with this; 1 by default.
    pub(crate) scale: f64,
    /// Whether the figures only have to show that everything works.
    pub(crate) quick: bool,
    /// How the log makes appends durable.
    pub(crate) method: wal::Method,
    /// Bounds that the user gave.
    pub(crate) thresholds: Thresholds,
}

/// The user's own bounds; none where nothing was given.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Thresholds {
    pub(crate) p99: Option<Duration>,
    pub(crate) p999: Option<Duration>,
    /// Puts a second.
    pub(crate) puts: Option<u64>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { scale: 1.0, quick: false, method: wal::Method::Auto, thresholds: Thresholds::default() }
    }
}

impl Settings {
    /// A time of the default run, in this one.
    pub(crate) fn scaled(&self, time: Duration) -> Duration {
        time.mul_f64(self.scale)
    }
}

/// What phases work with.
pub(crate) struct Session {
    pub(crate) settings: Settings,
    pub(crate) stop: Stop,
    pub(crate) document: Document,
    /// Set by the phase that judges.
    pub(crate) outcome: Outcome,
    /// What the log's probe picked, once it was asked.
    probed: Option<wal::Method>,
    /// When the run began: the same for every series.
    pub(crate) begun: Instant,
    /// The log under test, from the first phase on that needs it. Goes before the directory.
    pub(crate) rig: Option<commit::Rig>,
    /// The only place to write to; gone at the end.
    pub(crate) dir: WorkDir,
}

impl Session {
    /// How the log under test makes its appends durable, the same in all phases: what the user asked for; else what the matrix says
    /// of the log's probe; else, as in the server, what that probe says by itself. It is asked once.
    pub(crate) fn method(&mut self) -> wal::Method {
        if self.settings.method != wal::Method::Auto {
            return self.settings.method;
        }
        let picked = self.document.matrix.as_ref().and_then(|matrix| matrix.picked.as_ref());
        if let Some(method) = picked.and_then(matrix::Picked::method) {
            return method;
        }
        let dir = self.dir.path();
        *self.probed.get_or_insert_with(|| wal::probe(dir, &wal::OsIo::new(), Instant::now).picked)
    }
}

/// For the name of the directory.
const MAKER: Maker = Maker { program: "graven-disk", option: "another DIR" };

/// A run with --quick.
const QUICK: Duration = Duration::from_secs(60);
const FULL_SCALE: f64 = 4.0;

/// Measures what was asked for and shows it.
pub(crate) fn run(arguments: &QualifyArguments) -> Result<Outcome> {
    let phases = selected(&arguments.phases)?;
    let settings = settings(arguments, &phases);
    guard::check_dir(&arguments.dir, arguments.allow_tmpfs)?;
    check_files(arguments, &phases)?;
    let stop = Stop::listen()?;
    announce(&phases, &settings, &arguments.dir)?;
    let dir = WorkDir::create(&arguments.dir, MAKER)?;
    let document = Document::new(&arguments.dir, arguments.quick);
    let mut session = Session {
        settings,
        stop,
        document,
        outcome: Outcome::Fit,
        probed: None,
        begun: Instant::now(),
        rig: None,
        dir,
    };
    match measure(&phases, &mut session, arguments.json.as_deref()) {
        Ok(()) => session.document.ending = Ending::Complete,
        Err((phase, Error::Interrupted)) => return interrupted(phase, session, arguments),
        Err((_, error)) => return Err(error),
    }
    show(&session.document);
    write_files(&session.document, arguments)?;
    Ok(session.outcome)
}

/// Phase after phase; if one ends early, its name and why.
fn measure(
    phases: &[&'static Phase],
    session: &mut Session,
    json: Option<&Path>,
) -> std::result::Result<(), (&'static str, Error)> {
    for phase in phases {
        let failed = |error| (phase.name, error);
        session.stop.check().map_err(failed)?;
        note(format_args!("{}: {}", phase.name, phase.about));
        (phase.run)(session).map_err(failed)?;
        // A file holds what was measured even if a later phase fails.
        if let Some(path) = json {
            session.document.write(path).map_err(failed)?;
        }
    }
    Ok(())
}

/// Shows and keeps the phases before the one that was interrupted. Files that there is nothing for are not written.
fn interrupted(phase: &str, mut session: Session, arguments: &QualifyArguments) -> Result<Outcome> {
    session.document.ending = Ending::Interrupted;
    let Session { document, rig, dir, .. } = session;
    // The log's files are open until here.
    drop((rig, dir));
    let clean = format!("what was written to {} is removed", arguments.dir.display());
    if document.is_empty() {
        note(format_args!("graven-disk: interrupted before anything was measured; {clean}"));
        return Ok(Outcome::Interrupted);
    }
    show(&document);
    let written = write_files(&document, arguments)?;
    let files: String = written.iter().map(|path| format!(", {} too", path.display())).collect();
    note(format_args!(
        "graven-disk: interrupted in the phase {phase}; the phases before it are shown{files}; {clean}"
    ));
    Ok(Outcome::Interrupted)
}

/// The files that were asked for, as far as there is something to stand in them.
fn write_files<'a>(document: &Document, arguments: &'a QualifyArguments) -> Result<Vec<&'a Path>> {
    let mut written = Vec::new();
    if let Some(path) = &arguments.json {
        document.write(path)?;
        written.push(path.as_path());
    }
    if let Some(path) = &arguments.html {
        write_page(document, path)?;
        written.push(path.as_path());
    }
    if let Some(path) = arguments.hdr.as_ref().filter(|_| document.over_time.is_some()) {
        report::write_log(document, path)?;
        written.push(path.as_path());
    }
    Ok(written)
}

/// Files that will be written at the end: there can be such, and there will be something to stand in them.
fn check_files(arguments: &QualifyArguments, phases: &[&Phase]) -> Result<()> {
    let QualifyArguments { json, html, hdr, .. } = arguments;
    let files = [("--json", json), ("--html", html), ("--hdr", hdr)];
    check_outputs(files.map(|(option, path)| (option, path.as_deref())))?;
    match hdr {
        Some(path) if !phases.iter().any(|phase| phase.name == overtime::PHASE.name) => {
            Err(report::no_latencies(path))
        }
        _ => Ok(()),
    }
}

/// The document as a page.
pub(crate) fn write_page(document: &Document, path: &Path) -> Result<()> {
    std::fs::write(path, verdict::page(document).html()).map_err(Error::io("write", path))
}

/// The document in the terminal.
pub(crate) fn show(document: &Document) {
    if let Some(complaint) = document.ending.complaint() {
        say(format_args!("{complaint}\n"));
    }
    if document.quick {
        say("A quick run: it shows that everything works, and proves little.\n");
    }
    for phase in PHASES {
        let table = (phase.table)(document);
        if !table.is_empty() {
            say(table);
        }
    }
}

/// The phases asked for, in their order.
fn selected(names: &[String]) -> Result<Vec<&'static Phase>> {
    if let Some(name) = names.iter().find(|name| !PHASES.iter().any(|phase| phase.name == *name)) {
        let known: Vec<_> = PHASES.iter().map(|phase| phase.name).collect();
        return Err(Error::Usage(format!("there is no phase '{name}'; the phases are {}", known.join(", "))));
    }
    let wanted = |phase: &&Phase| names.is_empty() || names.iter().any(|name| name == phase.name);
    Ok(PHASES.iter().filter(wanted).collect())
}

fn settings(arguments: &QualifyArguments, phases: &[&Phase]) -> Settings {
    let mut settings = Settings {
        scale: 1.0,
        quick: arguments.quick,
        method: arguments.method.method(),
        thresholds: Thresholds { p99: arguments.p99, p999: arguments.p999, puts: arguments.puts },
    };
    let duration = if arguments.quick { Some(QUICK) } else { arguments.duration };
    if let Some(duration) = duration {
        // The share of a phase is that of a whole run, so that one phase alone does not become longer with --quick.
        let among = if arguments.quick { PHASES.iter().collect() } else { phases.to_vec() };
        let whole: Duration = among.iter().map(|phase| (phase.cost)(&Settings::default()).time).sum();
        settings.scale = duration.as_secs_f64() / whole.as_secs_f64().max(1.0);
    } else if arguments.full {
        settings.scale = FULL_SCALE;
    }
    settings
}

/// Says what will be written, and refuses what does not fit.
fn announce(phases: &[&Phase], settings: &Settings, dir: &Path) -> Result<()> {
    let costs = phases.iter().map(|phase| (phase.cost)(settings));
    let written = costs.clone().map(|cost| cost.written).sum();
    let at_once = costs.clone().map(|cost| cost.at_once).max().unwrap_or(0);
    let time = costs.map(|cost| cost.time).sum();
    guard::check_space(dir, at_once, "free some, give another DIR, or choose fewer --phases")?;
    note(format_args!(
        "measuring {}: writes up to {}, at most {} at one time ({} free), in about {} on an ordinary disk, on a slow one twice that or more; everything is removed at the end",
        dir.display(),
        bytes(written),
        bytes(at_once),
        bytes(free_bytes(dir)?),
        time_text(time),
    ));
    if settings.quick {
        note("--quick: shows that everything works, and proves little");
    }
    Ok(())
}
