//! The run itself: sends, masks, compares, and keeps the watchers honest.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use api::etcdserverpb::{
    DeleteRangeRequest, HashKvRequest, PutRequest, RangeRequest, WatchCreateRequest, WatchResponse,
};
use api::mvccpb::Event;

use super::compare::{difference, mask};
use super::endpoint::{Endpoint, PATIENCE};
use super::generator::{ANY, Generator, Known, LOG, PRESENT};
use super::lie::Lie;
use super::request::{Answer, Request};
use super::watching::Promise;

/// Requests between two barriers.
const BARRIER_EVERY: usize = 150;
/// How long to wait for an answer to a progress request before asking again: a server need not answer while a
/// watcher is behind.
const PROGRESS_AGAIN: Duration = Duration::from_millis(200);

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// HOST:PORT of the server that is right.
    pub reference: String,
    /// HOST:PORT of the server that is tested.
    pub subject: String,
    /// Decides every request.
    pub seed: u64,
    /// How many.
    pub requests: usize,
    /// A fault to plant in the subject's answers.
    pub lie: Option<Lie>,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Report {
    /// Requests by kind: all, and those that were refused.
    pub requests: BTreeMap<&'static str, (usize, usize)>,
    /// Refusals by text.
    pub errors: BTreeMap<String, usize>,
    /// Events in the history.
    pub events: usize,
    /// Events that were checked at watchers of both servers.
    pub delivered: usize,
    /// Compactions, each with an equal hash after it.
    pub compactions: usize,
    /// The revision at the end.
    pub revision: i64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>8} requests of these kinds (refused):",
            self.requests.values().map(|(all, _)| all).sum::<usize>()
        )?;
        for (name, (all, refused)) in &self.requests {
            writeln!(f, "{all:>10} {name} ({refused})")?;
        }
        writeln!(f, "{:>8} different errors", self.errors.len())?;
        for (text, count) in &self.errors {
            writeln!(f, "{count:>10} {text}")?;
        }
        writeln!(f, "{:>8} events, checked {} times at watchers", self.events, self.delivered)?;
        write!(f, "{:>8} compactions with equal hashes; last revision {}", self.compactions, self.revision)
    }
}

struct Run {
    reference: Endpoint,
    subject: Endpoint,
    known: Known,
    /// Every event since the start, with previous values, as both logs tell it.
    log: Vec<Event>,
    promises: BTreeMap<(usize, i64), Promise>,
    report: Report,
    lie: Option<Lie>,
}

/// Runs to the end, or to the first difference, which is the error.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let first = [
        WatchCreateRequest { key: "\0".into(), range_end: "\0".into(), prev_kv: true, ..Default::default() },
        WatchCreateRequest { key: "k".into(), range_end: "l".into(), ..Default::default() },
        WatchCreateRequest { key: "a".into(), range_end: "c".into(), prev_kv: true, ..Default::default() },
    ];
    let mut run = Run {
        reference: Endpoint::connect(&options.reference, &first).await.context("reference")?,
        subject: Endpoint::connect(&options.subject, &first).await.context("subject")?,
        known: Known { compacted: -1, ..Known::default() },
        log: Vec::new(),
        promises: BTreeMap::new(),
        report: Report::default(),
        lie: options.lie,
    };
    let look =
        Request::Range(RangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() });
    run.step(&look).await.context("the two do not start from the same state")?;
    for (stream, request) in first.into_iter().enumerate() {
        run.created(stream, request).await?;
    }
    let mut generator = Generator::new(options.seed);
    for number in 1..=options.requests {
        let request = generator.next(&run.known);
        run.step(&request).await.with_context(|| {
            let mut text = format!("{request:?}");
            text.truncate(text.floor_char_boundary(3000));
            format!("request {number} of seed {}: {text}", options.seed)
        })?;
        if number % BARRIER_EVERY == 0 {
            run.barrier()
                .await
                .with_context(|| format!("watches after request {number} of seed {}", options.seed))?;
        }
    }
    run.finish().await.with_context(|| format!("at the end of seed {}", options.seed))?;
    Ok(run.report)
}

impl Run {
    async fn step(&mut self, request: &Request) -> anyhow::Result<()> {
        let refused = match request {
            Request::Watch(stream, create) => self.watch(*stream, create.clone()).await?,
            Request::CancelWatch(stream, id) => self.cancel(*stream, *id).await?,
            Request::Progress => self.progress().await?,
            Request::Compact(_) => {
                self.touch().await?;
                self.barrier().await?;
                let refused = self.exchange(request).await?;
                if !refused {
                    self.report.compactions += 1;
                    let hash = Request::HashKv(HashKvRequest { revision: 0 });
                    self.exchange(&hash).await.context("hash after a compaction")?;
                }
                refused
            }
            _ => self.exchange(request).await?,
        };
        let count = self.report.requests.entry(request.name()).or_default();
        count.0 += 1;
        count.1 += usize::from(refused);
        Ok(())
    }

    /// One request that has one answer. Returns whether it was refused.
    async fn exchange(&mut self, request: &Request) -> anyhow::Result<bool> {
        let (reference, subject) = tokio::join!(self.reference.answer(request), self.subject.answer(request));
        let (mut reference, mut subject) = (reference.context("reference")?, subject.context("subject")?);
        mask(request, &mut reference);
        mask(request, &mut subject);
        self.tell(&mut subject);
        if let Some(text) = difference(&reference, &subject) {
            bail!("the answers differ\n{text}");
        }
        if let Answer::RangeStream(_, shaped) = &reference {
            ensure!(shaped, "header, more and count came before the last chunk");
        }
        self.learn(request, &reference);
        if let Answer::Refused(code, text) = reference {
            *self.report.errors.entry(format!("{code}: {text}")).or_default() += 1;
            return Ok(true);
        }
        Ok(false)
    }

    /// Plants the fault of this run where it fits first.
    fn tell(&mut self, answer: &mut Answer) {
        if self.lie.is_some_and(|lie| lie.tell(answer)) {
            self.lie = None;
        }
    }

    fn learn(&mut self, request: &Request, answer: &Answer) {
        let header = match answer {
            Answer::Range(a) => &a.header,
            Answer::Put(a) => &a.header,
            Answer::DeleteRange(a) => &a.header,
            Answer::Txn(a) => &a.header,
            Answer::LeaseRevoke(a) => &a.header,
            Answer::Compact(a) => {
                if let Request::Compact(request) = request {
                    self.known.compacted = request.revision;
                    self.known.compactions.insert(request.revision);
                }
                &a.header
            }
            _ => &None,
        };
        if let Some(header) = header {
            self.known.revision = self.known.revision.max(header.revision);
        }
    }

    /// The next control response of both, equal after masking.
    async fn control(&mut self, stream: usize) -> anyhow::Result<WatchResponse> {
        let (reference, subject) = tokio::join!(
            self.reference.streams[stream].next_control(),
            self.subject.streams[stream].next_control()
        );
        let request = Request::Progress;
        let mut reference = Answer::Watch(vec![reference.context("reference")?]);
        let mut subject = Answer::Watch(vec![subject.context("subject")?]);
        mask(&request, &mut reference);
        mask(&request, &mut subject);
        self.tell(&mut subject);
        if let Some(text) = difference(&reference, &subject) {
            bail!("the watch responses differ\n{text}");
        }
        let Answer::Watch(mut responses) = reference else { unreachable!("made above") };
        responses.pop().context("made with one")
    }

    async fn watch(&mut self, stream: usize, request: WatchCreateRequest) -> anyhow::Result<bool> {
        self.reference.streams[stream].create(request.clone()).await?;
        self.subject.streams[stream].create(request.clone()).await?;
        self.created(stream, request).await
    }

    /// Takes the answer to a create request. Returns whether it was refused.
    async fn created(&mut self, stream: usize, request: WatchCreateRequest) -> anyhow::Result<bool> {
        let response = self.control(stream).await?;
        ensure!(response.created, "expected the answer to a create request: {response:?}");
        let id = response.watch_id;
        if response.canceled {
            *self.report.errors.entry(format!("watch: {}", response.cancel_reason)).or_default() += 1;
            return Ok(true);
        }
        if request.start_revision > 0 && request.start_revision < self.known.compacted {
            let canceled =
                self.control(stream).await.context("cancel of a watch from a compacted revision")?;
            ensure!(
                canceled.canceled
                    && canceled.watch_id == id
                    && canceled.compact_revision == self.known.compacted,
                "expected the end of a watch from a compacted revision: {canceled:?}"
            );
            *self.report.errors.entry(format!("watch: compacted {}", canceled.cancel_reason)).or_default() +=
                1;
            self.forget(stream, id);
            return Ok(true);
        }
        let current = response.header.map_or(0, |header| header.revision);
        let from = if request.start_revision == 0 { current + 1 } else { request.start_revision };
        // What the log has not told yet is dealt with at the next barrier; what it has told is due as well.
        let behind = request.start_revision > 0 && request.start_revision <= current;
        let promise = Promise { request, from, compacted: self.known.compacted, position: 0, behind };
        self.promises.insert((stream, id), promise);
        self.known.watchers[stream].push(id);
        Ok(false)
    }

    /// Gives every watcher that began in the past an event, so that the next barrier proves it has caught up: one
    /// that has not may be ended by a compaction, rightly, and at a different time on each server.
    async fn touch(&mut self) -> anyhow::Result<()> {
        let behind: Vec<_> = self.promises.values_mut().filter_map(Promise::catch_up).collect();
        for (key, filters) in behind {
            let put = PutRequest { key: key.clone(), value: "touch".into(), ..Default::default() };
            self.exchange(&Request::Put(put)).await?;
            if filters.contains(&0) {
                self.exchange(&Request::DeleteRange(DeleteRangeRequest { key, ..Default::default() }))
                    .await?;
            }
        }
        Ok(())
    }

    async fn cancel(&mut self, stream: usize, id: i64) -> anyhow::Result<bool> {
        let open = self.promises.contains_key(&(stream, id));
        if open {
            self.barrier().await?;
        }
        self.reference.streams[stream].cancel(id).await?;
        self.subject.streams[stream].cancel(id).await?;
        if open {
            let response = self.control(stream).await?;
            ensure!(
                response.canceled && response.watch_id == id,
                "expected the end of watch {id}: {response:?}"
            );
            self.forget(stream, id);
        }
        Ok(!open)
    }

    fn forget(&mut self, stream: usize, id: i64) {
        self.promises.remove(&(stream, id));
        self.known.watchers[stream].retain(|known| *known != id);
        self.reference.streams[stream].forget(id);
        self.subject.streams[stream].forget(id);
    }

    async fn progress(&mut self) -> anyhow::Result<bool> {
        self.barrier().await?;
        let revision = self.known.revision;
        for (name, endpoint) in [("reference", &mut self.reference), ("subject", &mut self.subject)] {
            let stream = &mut endpoint.streams[PRESENT];
            let deadline = Instant::now() + PATIENCE;
            'asking: loop {
                ensure!(Instant::now() < deadline, "{name}: progress is never told");
                stream.ask_progress().await?;
                while stream.pump(PROGRESS_AGAIN).await? {
                    let Some(response) = stream.control.pop_front() else { continue };
                    let told = response.header.as_ref().map_or(0, |header| header.revision);
                    ensure!(
                        response.watch_id == -1
                            && !response.created
                            && !response.canceled
                            && told <= revision,
                        "{name}: expected progress at {revision}: {response:?}"
                    );
                    if told == revision {
                        break 'asking;
                    }
                }
            }
        }
        Ok(false)
    }

    /// Waits until both logs are complete, compares them, and settles with every watcher.
    async fn barrier(&mut self) -> anyhow::Result<()> {
        let old = self.log.len();
        let reference =
            log_until(&mut self.reference, self.known.revision).await.context("log of the reference")?;
        let mut subject =
            log_until(&mut self.subject, self.known.revision).await.context("log of the subject")?;
        if self.lie.is_some_and(|lie| lie.tell_events(&mut self.subject.streams[ANY])) {
            self.lie = None;
        }
        for (at, event) in reference.iter().enumerate() {
            match subject.get(at) {
                Some(other) if other == event => {}
                other => {
                    bail!("the histories differ\n{}", difference(&Some(event), &other).unwrap_or_default())
                }
            }
        }
        subject.drain(..reference.len());
        ensure!(subject.is_empty(), "the subject has events the reference has not: {subject:?}");
        self.log.extend(reference);
        self.report.events += self.log.len() - old;
        for ((stream, id), promise) in &mut self.promises {
            let mut due = promise.due(&self.log[promise.position..]).collect::<Vec<_>>();
            promise.position = self.log.len();
            if *stream == LOG {
                due.clear();
            }
            self.report.delivered += due.len();
            for (name, endpoint) in [("reference", &mut self.reference), ("subject", &mut self.subject)] {
                settle(endpoint, *stream, *id, &due).await.with_context(|| {
                    format!(
                        "{name}: watch {id} of stream {stream}, from revision {}: {:?}",
                        promise.from, promise.request
                    )
                })?;
            }
        }
        Ok(())
    }

    async fn finish(&mut self) -> anyhow::Result<()> {
        // One more write after the last barrier: what was delivered too much shows behind it.
        for key in ["a", "k"] {
            self.barrier().await?;
            self.exchange(&Request::Put(PutRequest {
                key: key.into(),
                value: "the end".into(),
                ..Default::default()
            }))
            .await?;
        }
        self.barrier().await?;
        self.exchange(&Request::HashKv(HashKvRequest { revision: 0 })).await?;
        let all = RangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() };
        self.exchange(&Request::Range(all)).await?;
        self.exchange(&Request::LeaseLeases).await?;
        self.report.revision = self.known.revision;
        ensure!(self.lie.is_none(), "the planted fault found no place: the run is too short");
        Ok(())
    }
}

/// Takes from the log watcher everything up to `revision`.
async fn log_until(endpoint: &mut Endpoint, revision: i64) -> anyhow::Result<Vec<Event>> {
    let stream = &mut endpoint.streams[LOG];
    let id = *stream.delivered.keys().next().context("the log has a watcher")?;
    let mut events = Vec::new();
    loop {
        events.append(&mut stream.delivered.get_mut(&id).context("the log watcher stays")?.events);
        let last = events.last().and_then(|event| event.kv.as_ref()).map_or(0, |kv| kv.mod_revision);
        if last >= revision || (events.is_empty() && stream.told >= revision) {
            stream.told = stream.told.max(last);
            return Ok(events);
        }
        ensure!(
            stream.pump(PATIENCE).await?,
            "events up to revision {revision} are missing; the last is of {last}"
        );
    }
}

/// Compares what a watcher got with what was due.
async fn settle(endpoint: &mut Endpoint, stream: usize, id: i64, due: &[Event]) -> anyhow::Result<()> {
    let stream = &mut endpoint.streams[stream];
    loop {
        let got = &stream.delivered.get(&id).context("the watcher is not there")?.events;
        let common = got.iter().zip(due).take_while(|(got, due)| got == due).count();
        if common < got.len() {
            bail!("an event differs\n{}", difference(&due.get(common), &got.get(common)).unwrap_or_default());
        }
        if common == due.len() {
            break;
        }
        ensure!(
            stream.pump(PATIENCE).await?,
            "{} events are missing, the first is {:?}",
            due.len() - common,
            due.get(common)
        );
    }
    if let Some(delivered) = stream.delivered.get_mut(&id) {
        delivered.events.clear();
    }
    Ok(())
}
