//! The thread that reads what slices of upkeep are going to look at, as the server's.

use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;

use engine::{Ahead, Reader, WARM_BYTES};

use crate::error::{Error, Result};

/// Whenever nothing else wants the processor.
const NICENESS: i32 = 15;

/// Reads one stretch at a time. The thread ends some time after this is dropped; it only reads.
pub(crate) struct Warmer {
    jobs: Sender<(Ahead, Reader)>,
    results: Receiver<std::result::Result<Ahead, engine::Error>>,
    reading: bool,
}

impl Warmer {
    pub(crate) fn start() -> Result<Warmer> {
        let (jobs, work) = channel::<(Ahead, Reader)>();
        let (report, results) = channel();
        thread::Builder::new()
            .name("warmer".to_owned())
            .spawn(move || {
                // Where it is not permitted the thread runs as it is.
                let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
                for (ahead, reader) in work {
                    if report.send(ahead.read(&reader.view(), WARM_BYTES)).is_err() {
                        break;
                    }
                }
            })
            .map_err(|error| Error::Wrong(format!("no thread to read ahead: {error}")))?;
        Ok(Warmer { jobs, results, reading: false })
    }

    /// What was read, if anything is.
    pub(crate) fn finished(&mut self) -> Result<Option<Ahead>> {
        let ahead = match self.results.try_recv() {
            Ok(ahead) => ahead?,
            Err(TryRecvError::Empty) => return Ok(None),
            Err(TryRecvError::Disconnected) => return Err(gone()),
        };
        self.reading = false;
        Ok(Some(ahead))
    }

    pub(crate) fn is_reading(&self) -> bool {
        self.reading
    }

    pub(crate) fn read(&mut self, ahead: Ahead, reader: Reader) -> Result<()> {
        self.reading = true;
        self.jobs.send((ahead, reader)).map_err(|_| gone())
    }
}

fn gone() -> Error {
    Error::Wrong("the thread that reads ahead is gone".to_owned())
}
