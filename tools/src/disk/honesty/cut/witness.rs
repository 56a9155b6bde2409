//! The witness: takes what was acknowledged, and says so once it is on its own disk.

use std::io::{self, BufReader, BufWriter, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use measure::{Error, Result, Stop};

use super::book::Book;
use super::record::{Line, Run, read_line};
use crate::disk::terminal::{note, say};

/// A writer says something at least every few seconds; one that is silent for longer has lost its power.
const SILENCE: Duration = Duration::from_secs(30);
/// A writer that does not read.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections at a time.
const CONNECTIONS: usize = 16;
/// Lines that are synced together, at most.
const BATCH: usize = 512;

/// Listens until somebody asks to end.
pub(crate) fn run(listen: &str, record: &Path, limit: u64) -> Result<()> {
    let stop = Stop::listen()?;
    let listener = TcpListener::bind(listen).map_err(|error| {
        Error::Usage(format!("--listen {listen}: {error}: give an address of this machine, as 0.0.0.0:7357"))
    })?;
    let book = Book::open(record, limit)?;
    let address = listener.local_addr().map_err(Error::io("listen on", Path::new(listen)))?;
    say(format_args!("listening on {address}, recording to {}", record.display()));
    let book = Arc::new(Mutex::new(book));
    std::thread::spawn(move || accept(&listener, &book));
    // A line that is being written when the process ends is a torn tail, which readers expect.
    while stop.sleep(Duration::from_secs(3600)).is_ok() {}
    Ok(())
}

fn accept(listener: &TcpListener, book: &Arc<Mutex<Book>>) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
            open.fetch_sub(1, Ordering::Relaxed);
            let _ = (&stream).write_all(Line::No("too many connections".to_owned()).encode().as_bytes());
            continue;
        }
        let (book, open) = (Arc::clone(book), Arc::clone(&open));
        std::thread::spawn(move || {
            let from = stream.peer_addr();
            if let Err(error) = serve(&stream, &book) {
                report(from, &error);
            }
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn report(from: io::Result<SocketAddr>, error: &io::Error) {
    let from = from.map_or_else(|_| "a writer".to_owned(), |address| address.to_string());
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => note(format_args!("{from}: is silent")),
        _ => note(format_args!("{from}: {error}")),
    }
}

/// One connection, to its end.
fn serve(stream: &TcpStream, book: &Mutex<Book>) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut from = BufReader::new(stream);
    let answer = |line: Line| (&*stream).write_all(line.encode().as_bytes());
    let refuse = |reason: String| {
        answer(Line::No(reason.clone()))?;
        Err(io::Error::new(io::ErrorKind::InvalidData, reason))
    };
    let run = match introduction(&mut from) {
        Ok(Some(run)) => run,
        Ok(None) => return show(stream, book),
        Err(Refusal::Connection(error)) => return Err(error),
        Err(Refusal::Reason(reason)) => return refuse(reason),
    };
    let id = run.id;
    let last = {
        let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
        book.append(&[Line::Run(run.clone())]).map(|()| {
            let found = book.runs().get(id).expect("appended a moment ago");
            found.lanes.iter().map(|lane| lane.last).collect()
        })
    };
    let last: Vec<u64> = match last {
        Ok(last) => last,
        Err(reason) => return refuse(reason),
    };
    if last.iter().all(|last| *last == 0) {
        note(format_args!("run {id:016x} on {} begins: {}", run.host, run.dir));
    }
    answer(Line::Ok(last))?;
    let mut acknowledged = 0;
    loop {
        let mut batch = Vec::new();
        loop {
            let line = read_line(&mut from)?;
            if line.is_empty() {
                if batch.is_empty() {
                    return Ok(());
                }
                break;
            }
            match Line::decode(&line) {
                Ok(Line::Beat) => {}
                Ok(Line::Ack(ack)) if ack.run == id => batch.push(Line::Ack(ack)),
                Ok(Line::End(run)) if run == id => batch.push(Line::End(run)),
                Ok(_) => return refuse("a line out of place".to_owned()),
                Err(what) => return refuse(what),
            }
            if from.buffer().is_empty() || batch.len() >= BATCH {
                break;
            }
        }
        acknowledged += batch.iter().filter(|line| matches!(line, Line::Ack(_))).count() as u64;
        let recorded = book.lock().unwrap_or_else(PoisonError::into_inner).append(&batch);
        if let Err(reason) = recorded {
            return refuse(reason);
        }
        answer(Line::Recorded(acknowledged))?;
    }
}

enum Refusal {
    Connection(io::Error),
    Reason(String),
}

/// The whole record, to somebody who verifies.
fn show(stream: &TcpStream, book: &Mutex<Book>) -> io::Result<()> {
    let mut content = book.lock().unwrap_or_else(PoisonError::into_inner).content()?;
    let mut to = BufWriter::new(stream);
    let mut lines = 0;
    loop {
        let line = read_line(&mut content)?;
        if line.is_empty() {
            break;
        }
        lines += 1;
        to.write_all(&line)?;
    }
    to.write_all(Line::Recorded(lines).encode().as_bytes())?;
    to.flush()
}

/// The first two lines: a run, or none where the record is asked for.
fn introduction(from: &mut BufReader<&TcpStream>) -> std::result::Result<Option<Run>, Refusal> {
    let mut next = || {
        let line = read_line(from).map_err(Refusal::Connection)?;
        Line::decode(&line).map_err(Refusal::Reason)
    };
    match (next()?, next()?) {
        (Line::Head, Line::Run(run)) => Ok(Some(run)),
        (Line::Head, Line::Fetch) => Ok(None),
        _ => Err(Refusal::Reason("begin with the version and the run".to_owned())),
    }
}
