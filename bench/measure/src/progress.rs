//! What a person sees meanwhile, on standard error: one line that changes on a terminal, else a plain line now and then.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::latencies::{Latencies, Summary};
use crate::units;

/// On a terminal.
const REDRAW: Duration = Duration::from_millis(100);
/// In a log.
const LINE: Duration = Duration::from_secs(5);
/// Of the bar, in characters.
const BAR: usize = 20;

/// How far a run of several stages is.
pub struct Progress {
    out: Box<dyn Write + Send>,
    terminal: bool,
    stages: usize,
    stage: usize,
    name: String,
    /// When the last line was drawn.
    drawn: Option<Instant>,
    /// A line stands on the terminal that the next one has to replace.
    dirty: bool,
}

impl Progress {
    /// To standard error, for a run of so many stages.
    pub fn new(stages: usize) -> Progress {
        let terminal = io::stderr().is_terminal();
        Progress::to(Box::new(io::stderr()), terminal, stages)
    }

    /// Nothing is shown.
    pub fn silent() -> Progress {
        Progress::to(Box::new(io::sink()), false, 0)
    }

    fn to(out: Box<dyn Write + Send>, terminal: bool, stages: usize) -> Progress {
        Progress { out, terminal, stages, stage: 0, name: String::new(), drawn: None, dirty: false }
    }

    /// The next stage begins.
    pub fn stage(&mut self, name: &str) {
        self.stage += 1;
        self.name = name.to_owned();
        self.drawn = None;
        if !self.terminal {
            let line = self.head();
            self.line(&line);
        }
    }

    /// How far the stage is (0 to 1) and what it sees; may be called as often as one likes.
    pub fn update(&mut self, share: f64, live: Option<&Summary>) {
        match live {
            Some(summary) => self.update_text(share, || live_text(summary)),
            None => self.update_text(share, String::new),
        }
    }

    /// The same with everything that was seen; of that, only what is shown is worked out, and only when it is shown.
    pub fn update_live(&mut self, share: f64, seen: &Latencies) {
        self.update_text(share, || {
            live_text(&Summary {
                count: seen.count(),
                p50_us: seen.micros(0.5),
                p99_us: seen.micros(0.99),
                max_us: seen.micros(1.0),
                ..Summary::default()
            })
        });
    }

    /// The same with words instead of latencies. They are asked for only when they are shown.
    pub fn update_text(&mut self, share: f64, text: impl FnOnce() -> String) {
        let pause = if self.terminal { REDRAW } else { LINE };
        let now = Instant::now();
        if self.drawn.is_some_and(|drawn| now.duration_since(drawn) < pause) {
            return;
        }
        self.drawn = Some(now);
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        let text = text();
        let percent = format!("{:3.0} %", share * 100.0);
        if self.terminal {
            let full = (share * BAR as f64).round() as usize;
            let bar = format!("{}{}", "#".repeat(full), ".".repeat(BAR - full));
            let line = format!("{} [{bar}] {percent}  {text}", self.head());
            // Standard error may be gone; what is measured matters more.
            let _ = write!(self.out, "\r\x1b[2K{}", line.trim_end());
            let _ = self.out.flush();
            self.dirty = true;
        } else {
            let line = format!("{} {percent}  {text}", self.head());
            self.line(line.trim_end());
        }
    }

    /// A line that stays.
    pub fn note(&mut self, line: &str) {
        self.clear();
        self.line(line);
    }

    fn head(&self) -> String {
        match self.stages {
            0 | 1 => self.name.clone(),
            stages => format!("{}/{stages} {}", self.stage, self.name),
        }
    }

    fn line(&mut self, line: &str) {
        let _ = writeln!(self.out, "{line}");
        let _ = self.out.flush();
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.dirty) {
            let _ = write!(self.out, "\r\x1b[2K");
        }
    }
}

/// What was begun on the terminal is wiped, so that the results stand alone.
impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
        let _ = self.out.flush();
    }
}

fn live_text(summary: &Summary) -> String {
    format!(
        "{} done, p50 {}, p99 {}, max {}",
        units::number(summary.count as f64),
        units::micros(summary.p50_us),
        units::micros(summary.p99_us),
        units::micros(summary.max_us)
    )
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shown(terminal: bool) -> String {
        let shared = Shared::default();
        let mut progress = Progress::to(Box::new(shared.clone()), terminal, 3);
        progress.stage("method matrix");
        let summary =
            Summary { count: 1234, p50_us: 310.0, p99_us: 1250.0, max_us: 9e3, ..Summary::default() };
        progress.update(0.5, Some(&summary));
        progress.update(0.6, None);
        progress.note("a neighbor was seen");
        drop(progress);
        let bytes = shared.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_log_gets_plain_lines() {
        let expected = "1/3 method matrix\n1/3 method matrix  50 %  1,234 done, p50 310 us, p99 1.25 ms, max 9 ms\n\
                        a neighbor was seen\n";
        assert_eq!(shown(false), expected, "and no second line within the same seconds");
    }

    #[test]
    fn a_terminal_gets_one_line_that_is_wiped() {
        let text = shown(true);
        assert!(
            text.starts_with("\r\x1b[2K1/3 method matrix [##########..........]  50 %  1,234 done"),
            "{text:?}"
        );
        assert!(text.ends_with("\r\x1b[2Ka neighbor was seen\n"), "{text:?}");
    }

    #[test]
    fn figures_are_those_of_what_was_seen() {
        let mut seen = Latencies::new();
        seen.record_many(Duration::from_micros(310), 990);
        seen.record_many(Duration::from_millis(9), 10);
        let shared = Shared::default();
        let mut progress = Progress::to(Box::new(shared.clone()), false, 1);
        progress.update_live(0.5, &seen);
        drop(progress);
        let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("1,000 done, p50 310 us, p99 310 us, max 9"), "{text}");
    }
}
