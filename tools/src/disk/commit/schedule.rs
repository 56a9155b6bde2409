//! Whether a thread got the CPU when it asked for it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// How long the calling thread has waited for a CPU, ever. The kernel counts it in `schedstat`; where it does not, nobody
/// waits.
pub(super) struct Waiting {
    file: Option<File>,
    last: Duration,
}

impl Waiting {
    /// Of the calling thread.
    pub(super) fn of_this_thread() -> Waiting {
        let mut waiting =
            Waiting { file: File::open("/proc/thread-self/schedstat").ok(), last: Duration::ZERO };
        waiting.since_last();
        waiting
    }

    /// How long since the last call of this.
    pub(super) fn since_last(&mut self) -> Duration {
        let now = self.read().unwrap_or(self.last);
        let since = now.saturating_sub(self.last);
        self.last = now;
        since
    }

    fn read(&self) -> Option<Duration> {
        let mut text = [0; 80];
        let length = self.file.as_ref()?.read_at(&mut text, 0).ok()?;
        parse(std::str::from_utf8(&text[..length]).ok()?)
    }
}

/// `nanoseconds on the CPU | nanoseconds waiting for one | slices`.
fn parse(text: &str) -> Option<Duration> {
    text.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_number_counts() {
        assert_eq!(parse("74638291 1500000 12\n"), Some(Duration::from_micros(1500)));
        assert_eq!(parse("0\n"), None);
        let mut waiting = Waiting::of_this_thread();
        assert!(waiting.since_last() < Duration::from_secs(60));
    }
}
