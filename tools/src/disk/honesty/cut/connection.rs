//! The writer's side of the connection: acks go out in order, and are kept until the witness has recorded them, so that a
//! connection, or a witness, may be lost in between and come back.

use std::collections::VecDeque;
use std::io::{self, BufReader, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use measure::{Error, Result};

use super::book::{self, Runs};
use super::plan::WINDOW;
use super::record::{Ack, Line, Run, read_line};

/// A witness that accepts and says nothing, or does not read.
const ANSWER: Duration = Duration::from_secs(10);
/// How often something is said, whether there is something to say or not.
const BEAT: Duration = Duration::from_secs(5);
/// Between attempts to connect.
const PAUSE: Duration = Duration::from_millis(200);

/// Tells the witness.
#[derive(Debug)]
pub(crate) struct Reporter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Not known to be recorded, in the order in which the syncs returned.
    pending: VecDeque<Ack>,
    /// How many of them went out on the present connection.
    sent: usize,
    /// Of each lane.
    recorded: Vec<u64>,
    /// The run ends once all is recorded.
    ending: bool,
    /// The present connection is of no use any more.
    lost: Option<String>,
    /// No further attempts are made.
    failed: Option<String>,
    /// Somebody asked to end, with or without the witness.
    stopped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>, time: Duration) -> MutexGuard<'s, State> {
        self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Reporter {
    /// Connects; an address where no witness answers is refused. Later a witness may be away for `patience`.
    pub(crate) fn connect(address: &str, run: Run, patience: Duration) -> Result<Reporter> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State { recorded: vec![0; run.lanes as usize], ..State::default() }),
            changed: Condvar::new(),
        });
        let connected = greet(address, &run).map_err(|refusal| {
            let advice = match refusal {
                Refusal::NoAddress(_) => NO_ADDRESS,
                _ => "start `graven-disk honesty witness` there first",
            };
            Error::Usage(format!("--witness {address}: {}: {advice}", refusal.text()))
        })?;
        let (address, shared_too) = (address.to_owned(), Arc::clone(&shared));
        let thread = std::thread::spawn(move || keep(&shared_too, &address, &run, connected.0, patience));
        Ok(Reporter { shared, thread: Some(thread) })
    }

    /// Says that a sync has returned, and waits while the lane is too far ahead of the record. False: the run is over.
    pub(crate) fn acknowledge(&self, ack: Ack) -> bool {
        let mut state = self.shared.lock();
        let lane = ack.lane as usize;
        state.pending.push_back(ack);
        self.shared.changed.notify_all();
        while !state.stopped && state.failed.is_none() && ack.sequence >= state.recorded[lane] + WINDOW {
            state = self.shared.wait(state, BEAT);
        }
        !state.stopped && state.failed.is_none()
    }

    /// Why the run can not go on, if it can't.
    pub(crate) fn failure(&self) -> Option<String> {
        self.shared.lock().failed.clone()
    }

    /// Writes that are on the witness's disk, of all lanes.
    pub(crate) fn recorded(&self) -> u64 {
        self.shared.lock().recorded.iter().sum()
    }

    /// Lets lanes that wait go.
    pub(crate) fn stop(&self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
    }

    /// Waits until everything is recorded, and says that this was the end. The error is why it is not.
    pub(crate) fn finish(mut self) -> std::result::Result<(), String> {
        self.shared.lock().ending = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        match self.shared.lock().failed.take() {
            Some(reason) => Err(reason),
            None => Ok(()),
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stopped = true;
        if self.thread.is_some() {
            state.failed.get_or_insert_with(|| "not wanted any more".to_owned());
        }
        self.shared.changed.notify_all();
    }
}

/// Keeps telling, over one connection after the other, until the end or until patience ends.
fn keep(shared: &Arc<Shared>, address: &str, run: &Run, first: TcpStream, patience: Duration) {
    let mut connection = Some((first, None));
    let mut away: Option<Instant> = None;
    loop {
        if let Some((stream, last)) = connection.take() {
            away = None;
            let done = talk(shared, run, &stream, last);
            let _ = stream.shutdown(Shutdown::Both);
            if done {
                return;
            }
        }
        let since = *away.get_or_insert_with(Instant::now);
        let mut state = shared.lock();
        if state.failed.is_some() {
            return;
        }
        if since.elapsed() > patience {
            let why = state.lost.take().unwrap_or_default();
            state.failed = Some(format!("the witness at {address} is away ({why})"));
            shared.changed.notify_all();
            return;
        }
        drop(shared.wait(state, PAUSE));
        match greet(address, run) {
            Ok((stream, last)) => connection = Some((stream, Some(last))),
            Err(Refusal::Away(why)) => shared.lock().lost = Some(why),
            Err(Refusal::No(why) | Refusal::NoAddress(why)) => {
                shared.lock().failed = Some(format!("the witness at {address} refuses: {why}"));
                shared.changed.notify_all();
                return;
            }
        }
    }
}

/// One connection. True: there is nothing more to say.
fn talk(shared: &Arc<Shared>, run: &Run, stream: &TcpStream, last: Option<Vec<u64>>) -> bool {
    {
        let mut state = shared.lock();
        (state.sent, state.lost) = (0, None);
        if let Some(last) = last {
            state.recorded = last;
            let State { pending, recorded, .. } = &mut *state;
            pending.retain(|ack| ack.sequence > recorded[ack.lane as usize]);
        }
        shared.changed.notify_all();
    }
    let Ok(listening) = stream.try_clone() else { return false };
    let for_listener = Arc::clone(shared);
    let listener = std::thread::spawn(move || {
        let why = listen(&for_listener, &listening);
        for_listener.lock().lost.get_or_insert(why);
        for_listener.changed.notify_all();
    });
    let done = tell(shared, run, stream);
    let _ = stream.shutdown(Shutdown::Both);
    let _ = listener.join();
    done
}

/// Sends what there is. True: all was recorded, and the end was said.
fn tell(shared: &Shared, run: &Run, mut stream: &TcpStream) -> bool {
    loop {
        let mut state = shared.lock();
        if state.sent == state.pending.len()
            && !state.ending
            && state.lost.is_none()
            && state.failed.is_none()
        {
            state = shared.wait(state, BEAT);
        }
        if state.lost.is_some() || state.failed.is_some() {
            return false;
        }
        let ended = state.ending && state.pending.is_empty();
        let mut text: String =
            state.pending.iter().skip(state.sent).map(|ack| Line::Ack(*ack).encode()).collect();
        state.sent = state.pending.len();
        if state.ending && !ended && text.is_empty() {
            // Waits for the last confirmations.
            drop(shared.wait(state, BEAT));
            continue;
        }
        drop(state);
        if ended {
            text.push_str(&Line::End(run.id).encode());
        } else if text.is_empty() {
            text = Line::Beat.encode();
        }
        if let Err(error) = stream.write_all(text.as_bytes()) {
            shared.lock().lost.get_or_insert(error.to_string());
            return false;
        }
        if ended {
            // The witness answers once the end is on its disk, or hangs up: either way nothing is missing.
            let _ = stream.shutdown(Shutdown::Write);
            return true;
        }
    }
}

/// Takes confirmations until the connection ends; says why it did.
fn listen(shared: &Shared, stream: &TcpStream) -> String {
    // Each beat is answered.
    let _ = stream.set_read_timeout(Some(4 * BEAT));
    let mut from = BufReader::new(stream);
    let mut confirmed = 0;
    loop {
        let line = match read_line(&mut from) {
            Ok(line) if line.is_empty() => return "it hung up".to_owned(),
            Ok(line) => line,
            Err(error) => return error.to_string(),
        };
        let mut state = shared.lock();
        match Line::decode(&line) {
            Ok(Line::Recorded(count)) if count >= confirmed && count - confirmed <= state.sent as u64 => {
                for _ in confirmed..count {
                    let ack = state.pending.pop_front().expect("no more are confirmed than were sent");
                    state.sent -= 1;
                    let lane = &mut state.recorded[ack.lane as usize];
                    *lane = (*lane).max(ack.sequence);
                }
                confirmed = count;
                shared.changed.notify_all();
            }
            Ok(Line::No(reason)) => {
                state.failed = Some(format!("the witness refuses: {reason}"));
                shared.changed.notify_all();
                return reason;
            }
            Ok(_) => return "it says something out of place".to_owned(),
            Err(what) => return what,
        }
    }
}

enum Refusal {
    /// Worth another attempt.
    Away(String),
    No(String),
    /// What was given is no address, or its name means none.
    NoAddress(String),
}

const NO_ADDRESS: &str = "give HOST:PORT of the machine that runs `graven-disk honesty witness`";

impl Refusal {
    fn text(&self) -> &str {
        match self {
            Refusal::Away(text) | Refusal::No(text) | Refusal::NoAddress(text) => text,
        }
    }
}

/// Connects and introduces the run; gives the connection, and what is recorded of each lane.
fn greet(address: &str, run: &Run) -> std::result::Result<(TcpStream, Vec<u64>), Refusal> {
    let away = |error: io::Error| Refusal::Away(error.to_string());
    let stream = dial(address, &Line::Run(run.clone()))?;
    // One line is all that comes before the first ack, so that nothing is lost with the buffer.
    let line = read_line(&mut BufReader::new(&stream)).map_err(away)?;
    if line.is_empty() {
        return Err(Refusal::Away("it hung up".to_owned()));
    }
    match Line::decode(&line) {
        Ok(Line::Ok(last)) if last.len() == run.lanes as usize => Ok((stream, last)),
        Ok(Line::No(reason)) => Err(Refusal::No(reason)),
        _ => Err(Refusal::No("what answers there is not a witness".to_owned())),
    }
}

/// Connects, and says the version and what it is about.
fn dial(address: &str, about: &Line) -> std::result::Result<TcpStream, Refusal> {
    let away = |error: io::Error| Refusal::Away(error.to_string());
    let found = address.to_socket_addrs().map_err(|error| Refusal::NoAddress(error.to_string()))?;
    let mut stream = Err(Refusal::NoAddress("means no address".to_owned()));
    for address in found {
        stream = TcpStream::connect_timeout(&address, ANSWER).map_err(away);
        if stream.is_ok() {
            break;
        }
    }
    let stream = stream?;
    stream.set_nodelay(true).map_err(away)?;
    stream.set_read_timeout(Some(ANSWER)).map_err(away)?;
    stream.set_write_timeout(Some(ANSWER)).map_err(away)?;
    let hello = Line::Head.encode() + &about.encode();
    (&stream).write_all(hello.as_bytes()).map_err(away)?;
    Ok(stream)
}

/// The record, from the witness itself.
pub(crate) fn fetch(address: &str) -> Result<Runs> {
    let stream = dial(address, &Line::Fetch).map_err(|refusal| {
        let advice = match refusal {
            Refusal::NoAddress(_) => NO_ADDRESS,
            _ => "start `graven-disk honesty witness` there with its record, or give a copy of that by --record",
        };
        Error::Usage(format!("--witness {address}: {}: {advice}", refusal.text()))
    })?;
    let name = format!("the witness at {address}");
    let (runs, _) = book::read_from(&mut BufReader::new(stream), Path::new(&name), book::Source::Witness)?;
    Ok(runs)
}
