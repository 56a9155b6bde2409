//! The thread that brings checkpoints to disk, paced as the server's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use engine::{CHECKPOINT_RATE, Checkpoint, CheckpointDone, Pace};

use crate::error::{Error, Result};

/// Behind the requests.
const NICENESS: i32 = 5;

pub(crate) struct Writer {
    jobs: Option<Sender<Checkpoint>>,
    results: Receiver<std::result::Result<CheckpointDone, engine::Error>>,
    rate: Arc<AtomicU64>,
    running: bool,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start() -> Result<Writer> {
        let (jobs, work) = channel::<Checkpoint>();
        let (report, results) = channel();
        let rate = Arc::new(AtomicU64::new(CHECKPOINT_RATE));
        let allowed = Arc::clone(&rate);
        let thread = thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || {
                // Where it is not permitted the thread runs as it is: it is paced in any case.
                let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
                for checkpoint in work {
                    if report.send(write(checkpoint, &allowed)).is_err() {
                        break;
                    }
                }
            })
            .map_err(|error| Error::Wrong(format!("no thread for checkpoints: {error}")))?;
        Ok(Writer { jobs: Some(jobs), results, rate, running: false, thread: Some(thread) })
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running
    }

    /// Bytes a second to write with from now on; `u64::MAX` is as fast as the disk goes.
    pub(crate) fn set_rate(&self, bytes_a_second: u64) {
        self.rate.store(bytes_a_second, Ordering::Relaxed);
    }

    pub(crate) fn begin(&mut self, checkpoint: Checkpoint) {
        let jobs = self.jobs.as_ref().expect("only dropping takes it");
        self.running = jobs.send(checkpoint).is_ok();
    }

    /// What is finished, if anything is.
    pub(crate) fn finished(&mut self) -> Result<Option<CheckpointDone>> {
        match self.results.try_recv() {
            Ok(result) => self.took(result).map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(gone()),
        }
    }

    /// Waits for what is being written, if anything is.
    pub(crate) fn wait(&mut self) -> Result<Option<CheckpointDone>> {
        if !self.running {
            return Ok(None);
        }
        let result = self.results.recv().map_err(|_| gone())?;
        self.took(result).map(Some)
    }

    fn took(&mut self, result: std::result::Result<CheckpointDone, engine::Error>) -> Result<CheckpointDone> {
        self.running = false;
        Ok(result?)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.set_rate(u64::MAX);
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It has panicked, or it has nothing to say.
            let _ = thread.join();
        }
    }
}

fn gone() -> Error {
    Error::Wrong("the thread that writes checkpoints is gone".to_owned())
}

fn write(checkpoint: Checkpoint, rate: &AtomicU64) -> std::result::Result<CheckpointDone, engine::Error> {
    let mut pace = Pace::new(CHECKPOINT_RATE, Instant::now());
    checkpoint.run(&mut |bytes| {
        pace.set_rate(rate.load(Ordering::Relaxed));
        thread::sleep(pace.pause(bytes, Instant::now()));
    })
}
