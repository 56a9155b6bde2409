//! Ctrl-C: a mark that every loop looks at, so that what was written is removed on the way out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::error::{Error, Result};

/// How long Ctrl-C may go unnoticed while nothing is done.
const NAP: Duration = Duration::from_millis(50);

/// Whether somebody asked to end.
#[derive(Clone, Default)]
pub struct Stop {
    asked: Arc<AtomicBool>,
}

impl Stop {
    /// Listens for the usual signals from here on.
    pub fn listen() -> Result<Stop> {
        let stop = Stop::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&stop.asked))
                .map_err(|error| Error::Wrong(format!("cannot listen for signals: {error}")))?;
        }
        Ok(stop)
    }

    /// An error as soon as somebody asked to end.
    pub fn check(&self) -> Result<()> {
        if self.asked.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Waits, unless somebody asks to end.
    pub fn sleep(&self, duration: Duration) -> Result<()> {
        let until = Instant::now() + duration;
        while Instant::now() < until {
            self.check()?;
            std::thread::sleep(NAP.min(until.saturating_duration_since(Instant::now())));
        }
        self.check()
    }
}
