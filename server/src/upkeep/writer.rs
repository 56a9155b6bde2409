//! The thread that brings checkpoints to disk.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use engine::{CHECKPOINT_RATE, Checkpoint, CheckpointDone, Pace};
use prometheus::Histogram;

use super::priority;

/// Writes one checkpoint at a time. When this is dropped, one that is under way is finished without pauses first: nobody
/// may open the file while somebody still writes it.
pub(super) struct Writer {
    checkpoints: Option<Sender<Checkpoint>>,
    done: Receiver<Result<CheckpointDone, engine::Error>>,
    /// Bytes a second.
    rate: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
    running: bool,
}

impl Writer {
    /// `duration` gets the seconds that each took. The thread has the time from the system: it sleeps.
    pub(super) fn start(duration: Histogram) -> io::Result<Writer> {
        let (checkpoints, work) = channel::<Checkpoint>();
        let (report, done) = channel();
        let rate = Arc::new(AtomicU64::new(CHECKPOINT_RATE));
        let allowed = Arc::clone(&rate);
        let thread = thread::Builder::new().name("graven-writer".into()).spawn(move || {
            priority::lower(priority::WRITER);
            for checkpoint in work {
                let begun = Instant::now();
                let result = write(checkpoint, &allowed);
                duration.observe(begun.elapsed().as_secs_f64());
                if report.send(result).is_err() {
                    break;
                }
            }
        })?;
        Ok(Writer { checkpoints: Some(checkpoints), done, rate, thread: Some(thread), running: false })
    }

    /// Whether a checkpoint is being written.
    pub(super) fn is_running(&self) -> bool {
        self.running
    }

    pub(super) fn begin(&mut self, checkpoint: Checkpoint) {
        let jobs = self.checkpoints.as_ref().expect("only drop takes it");
        jobs.send(checkpoint).expect("the writer ends with its queue; if it panicked, nothing can be stored");
        self.running = true;
    }

    /// The outcome of the checkpoint, once.
    pub(super) fn finished(&mut self) -> Option<Result<CheckpointDone, engine::Error>> {
        match self.done.try_recv() {
            Ok(done) => {
                self.running = false;
                Some(done)
            }
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => panic!("the writer panicked: nothing can be stored"),
        }
    }

    /// Bytes a second to write with from now on; `u64::MAX` is as fast as the disk goes.
    pub(super) fn set_rate(&self, bytes_a_second: u64) {
        self.rate.store(bytes_a_second, Ordering::Relaxed);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.set_rate(u64::MAX);
        drop(self.checkpoints.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the thread itself.
            let _ = thread.join();
        }
    }
}

fn write(checkpoint: Checkpoint, rate: &AtomicU64) -> Result<CheckpointDone, engine::Error> {
    let mut pace = Pace::new(CHECKPOINT_RATE, Instant::now());
    let mut pause = |bytes: u64| {
        pace.set_rate(rate.load(Ordering::Relaxed));
        let pause = pace.pause(bytes, Instant::now());
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    };
    checkpoint.run(&mut pause)
}
