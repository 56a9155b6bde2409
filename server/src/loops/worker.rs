//! One loop's thread.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, LocalOptions};
use tokio::task::spawn_local;
use tokio::time::timeout_at;

use super::home::Home;
use super::inbox::Inbox;
use super::listener::{Listener, accept};
use super::{LoopId, Options, sniff};
use crate::grpc::Services;
use crate::metrics::Metrics;

/// What connections get to flush their last words after the grace period.
const LAST_WORDS: Duration = Duration::from_millis(500);

pub(crate) struct Plan {
    pub(crate) id: LoopId,
    pub(crate) inboxes: Arc<[Arc<Inbox>]>,
    pub(crate) options: Arc<Options>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) services: Arc<dyn Services>,
    pub(crate) metrics: Arc<Metrics>,
}

pub(crate) fn start(plan: Plan) -> io::Result<JoinHandle<()>> {
    let inbox = plan.inboxes[plan.id.index()].clone();
    let (parking, unparked) = (inbox.clone(), inbox.clone());
    let mut builder = Builder::new_current_thread();
    builder.enable_io().enable_time();
    builder.on_thread_park(move || parking.before_sleep()).on_thread_unpark(move || unparked.after_sleep());
    let name = format!("loop-{}", plan.id.0);
    let (tell, started) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        // The runtime is made here because it may not move between threads.
        match builder.build_local(LocalOptions::default()) {
            Ok(runtime) => {
                let _ = tell.send(Ok(()));
                runtime.block_on(run(plan, inbox));
            }
            Err(error) => {
                let _ = tell.send(Err(error));
            }
        }
    })?;
    match started.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::other("a network loop ended while starting")),
    }
}

async fn run(plan: Plan, inbox: Arc<Inbox>) {
    let home = Rc::new(Home::new(plan.id, inbox.clone(), plan.services.clone(), plan.options, plan.metrics));
    plan.services.on_loop_start(plan.id);
    let mut accepting = Vec::new();
    for listener in plan.listeners {
        accepting.push(spawn_local(accept(home.clone(), plan.inboxes.clone(), listener)));
    }
    loop {
        home.deliver();
        for (stream, serves) in home.take_arrivals() {
            if home.is_stopping()
                || home.metrics.connections.load(Ordering::Relaxed) >= home.options.max_connections
            {
                continue;
            }
            let guard = home.enter();
            spawn_local(sniff::serve(home.clone(), stream, serves, guard));
        }
        match home.stop_by() {
            None => inbox.rung().await,
            Some(deadline) => {
                accepting.drain(..).for_each(|task| task.abort());
                let hard = deadline + LAST_WORDS;
                if home.open_connections() == 0 || Instant::now() >= hard {
                    return;
                }
                // Either a connection ended or the time is up; both are looked at above.
                let _ = timeout_at(hard.into(), inbox.rung()).await;
            }
        }
    }
}
