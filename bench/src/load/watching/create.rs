//! Opens watch streams and creates watches on them.

use std::time::{Duration, Instant};

use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{WatchCreateRequest, WatchRequest};
use measure::Stop;
use prost::Message;

use super::super::answer::Garbled;
use super::super::streams::STREAM;
use super::super::tally::Tally;
use super::super::workload::{GARBLED, Wrong};
use super::Response;
use crate::client::{Client, Event, Events, Method, Outcome, StreamId, Until};
use crate::error::{Error, Result};

/// How often Ctrl-C is looked at.
const NAP: Duration = Duration::from_millis(50);
/// A server that creates none of the watches for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Streams with watches.
#[derive(Debug, Default)]
pub(crate) struct Created {
    pub(super) streams: Vec<StreamId>,
    /// When each watch was asked for, since the first was, and how long it took.
    took: Vec<(Duration, Duration)>,
}

impl Created {
    /// Tells how long each took, once.
    pub(crate) fn tell(&mut self, kind: usize, tally: &mut Tally) {
        self.took.drain(..).for_each(|(since, latency)| tally.before(kind, since, latency));
    }
}

/// What a message or the end of a watch stream means.
pub(crate) enum Heard<'e> {
    /// Perhaps with events.
    Watch(Response<'e>),
    /// A watch has come to its end.
    Canceled(Response<'e>),
    /// It is not what it should be.
    Wrong(Wrong),
    /// There is nothing more to come, and why.
    End(String),
}

/// Reads what came on a watch stream.
pub(crate) fn heard<'e>(event: &Event<'e>) -> Heard<'e> {
    match event.outcome {
        Outcome::Message(message) => match Response::read(message) {
            Ok(response) if response.canceled => Heard::Canceled(response),
            Ok(response) => Heard::Watch(response),
            Err(Garbled) => Heard::Wrong(GARBLED),
        },
        Outcome::Failed(failure) => Heard::End(failure.to_string()),
        Outcome::Ended | Outcome::Answer(_) => Heard::End("the server ended a watch stream".to_owned()),
    }
}

/// Opens so many streams on the connections in turn, and creates the watches: the first on the first stream and so on. On each
/// stream one watch is created after the other, as etcd's own client does it.
///
/// Watch `n` gets `watch_id` `n + 1`, so that what comes on any stream tells by itself which watch it is for.
///
/// # Errors
/// [`Error::Usage`] with the server's words where it refuses one; Ctrl-C.
pub(crate) fn create(
    client: &mut dyn Client,
    streams: usize,
    watches: Vec<WatchCreateRequest>,
    stop: &Stop,
) -> Result<Created> {
    let numbered = watches.into_iter().zip(1..);
    let requests: Vec<Vec<u8>> =
        numbered.map(|(request, watch_id)| create_request(request, watch_id)).collect();
    let connections = client.connections();
    let mut created = Created::default();
    let began = Instant::now();
    // The watch each stream is asked for now.
    let mut current: Vec<(usize, Instant)> = Vec::with_capacity(streams);
    for number in 0..streams {
        let stream = client.open(number % connections, Method::Watch, STREAM | number as u64);
        created.streams.push(stream);
        current.push((number, Instant::now()));
        if let Some(request) = requests.get(number) {
            client.send(stream, request);
        }
    }
    let mut events = Events::new();
    let mut heard = Instant::now();
    while created.took.len() < requests.len() {
        stop.check()?;
        client
            .turn(Until::Time(Instant::now() + NAP), &mut events)
            .map_err(|error| Error::Wrong(format!("cannot wait for watches: {error}")))?;
        for event in events.iter() {
            heard = event.at;
            let refused = |why: String| Error::Usage(format!("cannot watch: {why}"));
            let message = match event.outcome {
                Outcome::Message(message) => message,
                Outcome::Failed(failure) => return Err(refused(failure.to_string())),
                Outcome::Ended | Outcome::Answer(_) => {
                    return Err(refused("the server ended the stream".to_owned()));
                }
            };
            let response =
                Response::read(message).map_err(|_| refused("its answer is garbled".to_owned()))?;
            if response.canceled {
                return Err(refused(response.why()));
            }
            if !response.created {
                // Of a watch that is there already.
                continue;
            }
            let number = (event.tag & !STREAM) as usize;
            let (watch, sent) = &mut current[number];
            if response.watch_id != *watch as i64 + 1 {
                return Err(refused(format!("watch {} was answered as {}", *watch + 1, response.watch_id)));
            }
            created.took.push((sent.duration_since(began), event.at.saturating_duration_since(*sent)));
            *watch += streams;
            *sent = Instant::now();
            if let Some(request) = requests.get(*watch) {
                client.send(created.streams[number], request);
            }
        }
        if heard.elapsed() > PATIENCE {
            let (there, all) = (created.took.len(), requests.len());
            return Err(Error::Usage(format!(
                "cannot watch: the server has created {there} of {all} watches and then none for {PATIENCE:?}"
            )));
        }
    }
    Ok(created)
}

/// A request for a watch with an id.
pub(super) fn create_request(request: WatchCreateRequest, watch_id: i64) -> Vec<u8> {
    let create = RequestUnion::CreateRequest(WatchCreateRequest { watch_id, ..request });
    WatchRequest { request_union: Some(create) }.encode_to_vec()
}
