//! `graven-layer mount BACKING MOUNTPOINT [--SETTING VALUE]...`

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use layer::{Layer, Options, SETTINGS};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() || arguments.iter().any(|word| word == "--help" || word == "-h") {
        say(&usage());
        return if arguments.is_empty() { ExitCode::from(2) } else { ExitCode::SUCCESS };
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr().lock(), "graven-layer: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let mut options = Options::default();
    let mut places: Vec<PathBuf> = Vec::new();
    let mut words = arguments.iter();
    if words.next().is_none_or(|word| word != "mount") {
        return Err("begins with `mount`; see --help".into());
    }
    while let Some(word) = words.next() {
        match word.strip_prefix("--") {
            Some(flag) => {
                let (name, value) = match flag.split_once('=') {
                    Some((name, value)) => (name, value),
                    None => (flag, words.next().ok_or_else(|| format!("--{flag} needs a value"))?.as_str()),
                };
                options.set(name, value)?;
            }
            None => places.push(word.into()),
        }
    }
    let [backing, mountpoint] = places.as_slice() else {
        return Err("takes a backing directory and a mount point; see --help".into());
    };
    // Before the mount: a signal in between would leave it behind.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    let layer = Layer::mount(backing, mountpoint, &options)?;
    say(&format!("mounted {} on {}\n", backing.display(), layer.path().display()));
    signals.forever().next();
    layer.unmount()?;
    Ok(())
}

fn usage() -> String {
    let mut text = String::from(
        "graven-layer mount BACKING MOUNTPOINT [--SETTING VALUE]...\n\n\
         Mounts a directory with the faults of bad storage, until SIGTERM, SIGINT or the parent's end.\n\
         Prints a line when it is mounted. Settings change meanwhile: echo 'latency 5ms' > MOUNTPOINT/.layer;\n\
         cat MOUNTPOINT/.layer tells settings and counters; echo 'cut lost' (reordered, torn, nothing; then a seed)\n\
         takes back what was not synced and fails everything after it.\n\n\
           --threads N           operations served at a time (32)\n\
           --volatile 64MiB      what was not synced can be lost, so many bytes at most\n",
    );
    for (name, example, what) in SETTINGS {
        let head = format!("--{name} {example}");
        text.push_str(&format!("  {head:<22}{what}\n"));
    }
    text
}

fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
