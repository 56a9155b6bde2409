//! Which durable-write method the log uses: what the flag says, or what was fastest when it was measured on this disk.
//!
//! A measurement takes a quarter of a second, which is long for a member that was killed and is to serve again. So its outcome is
//! remembered, in a file that nothing depends on, and holds for the device and the kernel it was found with.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use prometheus::GaugeVec;
use tracing::{info, warn};
use wal::{Method, Probe};

/// The words of `--wal-sync-method` besides `auto`.
const WORDS: [(&str, Method); 4] = [
    ("ring", Method::Ring),
    ("direct-dsync", Method::DirectDsync),
    ("dsync", Method::Dsync),
    ("fdatasync", Method::Fdatasync),
];

/// The method of a flag's word. `auto` is what `memory`, a file, says for this device and kernel; if it says nothing, `auto` measures
/// in the log's directory, for a quarter of a second at most.
pub(crate) fn choose(
    word: &str,
    wal_dir: &Path,
    memory: &Path,
    io: &dyn wal::Io,
    medians: &GaugeVec,
) -> Method {
    if let Some(method) = method(word) {
        return method;
    }
    let place = place(wal_dir);
    let known = fs::read_to_string(memory).ok();
    let known = known.as_deref().zip(place.as_deref()).and_then(|(text, place)| recall(text, place));
    if let Some(picked) = known {
        info!(
            method = name(picked),
            path = %memory.display(),
            "took the durable-write method of the log that was measured before"
        );
        return picked;
    }
    let Probe { rows, picked } = wal::probe(wal_dir, io, Instant::now);
    for row in &rows {
        match &row.outcome {
            Ok(timing) => {
                medians.with_label_values(&[name(row.method)]).set(timing.median.as_secs_f64());
                info!(
                    method = name(row.method),
                    writes = timing.writes,
                    median = ?timing.median,
                    p99 = ?timing.p99,
                    "measured a durable-write method of the log"
                );
            }
            Err(reason) => {
                warn!(method = name(row.method), reason, "a durable-write method of the log can't be used");
            }
        }
    }
    info!(method = name(picked), "chose the durable-write method of the log");
    if let Some(place) = place.filter(|_| picked != Method::Auto)
        && let Err(error) = fs::write(memory, format!("{place}{METHOD}{}\n", name(picked)))
    {
        warn!(%error, path = %memory.display(), "can't remember the durable-write method of the log");
    }
    picked
}

const METHOD: &str = "method ";

/// Where a measurement holds: the device and the kernel.
fn place(wal_dir: &Path) -> Option<String> {
    let device = fs::metadata(wal_dir).ok()?.dev();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    Some(format!("device {device:x}\nkernel {}\n", kernel.trim()))
}

/// The method remembered for a place; nothing if the text is of another place, or not whole.
fn recall(text: &str, place: &str) -> Option<Method> {
    method(text.strip_prefix(place)?.strip_prefix(METHOD)?.strip_suffix('\n')?)
}

fn method(word: &str) -> Option<Method> {
    WORDS.iter().find(|(known, _)| *known == word).map(|&(_, method)| method)
}

/// The flag's word for a method.
pub(crate) fn name(method: Method) -> &'static str {
    WORDS.iter().find(|(_, known)| *known == method).map_or("auto", |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_and_auto_measures() {
        let folder = tempfile::tempdir().unwrap();
        let memory = folder.path().join("memory");
        let medians = GaugeVec::new(prometheus::Opts::new("m", "h"), &["method"]).unwrap();
        let io = wal::OsIo::new();
        for (word, method) in WORDS {
            assert_eq!(choose(word, folder.path(), &memory, &io, &medians), method);
            assert_eq!(name(method), word);
        }
        assert!(
            prometheus::core::Collector::collect(&medians)[0].get_metric().is_empty(),
            "nothing was measured"
        );
        let picked = choose("auto", folder.path(), &memory, &io, &medians);
        assert!(medians.with_label_values(&["fdatasync"]).get() > 0.0, "no file system refuses that one");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "it leaves nothing behind but the memory"
        );
        assert_eq!(
            recall(&fs::read_to_string(&memory).unwrap(), &place(folder.path()).unwrap()),
            Some(picked)
        );
    }

    #[test]
    fn what_was_measured_is_taken_until_the_place_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let memory = folder.path().join("memory");
        let medians = GaugeVec::new(prometheus::Opts::new("m", "h"), &["method"]).unwrap();
        let measured = || medians.with_label_values(&["fdatasync"]).get() > 0.0;
        let io = wal::OsIo::new();
        let here = place(folder.path()).unwrap();
        for (word, method) in WORDS {
            fs::write(&memory, format!("{here}method {word}\n")).unwrap();
            assert_eq!(choose("auto", folder.path(), &memory, &io, &medians), method);
        }
        assert!(!measured());
        for text in ["", "\0\0", &here, &format!("{here}method ring"), &format!("{here}method auto\n")] {
            assert_eq!(recall(text, &here), None, "{text:?}");
        }
        fs::write(&memory, "device 0\nkernel 1\nmethod ring\n").unwrap();
        choose("auto", folder.path(), &memory, &io, &medians);
        assert!(measured(), "another device");
    }
}
