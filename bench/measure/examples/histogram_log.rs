//! A histogram log of made-up figures, for readers other than ours: `cargo run -p graven-measure --example histogram_log > x.hlog`.

use std::io;
use std::time::{Duration, SystemTime};

use measure::{Timeline, hdr_log};

fn main() -> io::Result<()> {
    let (mut fast, mut slow) = (Timeline::new(), Timeline::new());
    for number in 0..30_000_u64 {
        let at = Duration::from_millis(number / 10);
        fast.record_at(at, Duration::from_micros(100 + number % 1000));
        slow.record_at(at, Duration::from_micros(5_000 + number % 10_000));
    }
    hdr_log::write(&mut io::stdout().lock(), SystemTime::now(), &[("fast", &fast), ("slow", &slow)])
}
