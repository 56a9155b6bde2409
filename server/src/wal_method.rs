//! Which durable-write method the log uses: what the flag says, or what was fastest a moment ago on this disk.

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

/// The method of a flag's word; `auto` measures in the log's directory, for a quarter of a second at most.
pub(crate) fn choose(word: &str, wal_dir: &Path, io: &dyn wal::Io, medians: &GaugeVec) -> Method {
    if let Some((_, method)) = WORDS.iter().find(|(known, _)| *known == word) {
        return *method;
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
    picked
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
        let medians = GaugeVec::new(prometheus::Opts::new("m", "h"), &["method"]).unwrap();
        let io = wal::OsIo::new();
        for (word, method) in WORDS {
            assert_eq!(choose(word, folder.path(), &io, &medians), method);
            assert_eq!(name(method), word);
        }
        assert!(
            prometheus::core::Collector::collect(&medians)[0].get_metric().is_empty(),
            "nothing was measured"
        );
        choose("auto", folder.path(), &io, &medians);
        assert!(medians.with_label_values(&["fdatasync"]).get() > 0.0, "no file system refuses that one");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it leaves nothing behind");
    }
}
