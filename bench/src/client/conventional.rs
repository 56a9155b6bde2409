//! A conventional client, as most programs in Rust have one: tonic over hyper, one task a call. It is there to compare the lean one
//! with, and a server's figures as such programs see them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, LocalSet};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::secure::Secure;
use super::target::PATIENCE;
use super::timer::Timer;
use super::{Client, Events, Failure, Method, StreamId, Target, Until};
use crate::error::{Error, Result};

/// Connections of tonic, on a runtime of the thread that owns them.
pub(crate) struct Conventional {
    /// Before the runtime it belongs to.
    timer: Timer,
    runtime: Runtime,
    tasks: LocalSet,
    links: Vec<Link>,
    token: Option<MetadataValue<Ascii>>,
    shared: Rc<Shared>,
    streams: HashMap<StreamId, Open>,
    next: u32,
}

struct Link {
    channel: Channel,
    is_lost: Rc<RefCell<bool>>,
}

/// A stream's sending half, until it is finished, and its task.
struct Open {
    messages: Option<mpsc::UnboundedSender<Bytes>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    events: RefCell<Events>,
    came: Notify,
}

impl Conventional {
    /// Connects to the endpoints in turn.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the endpoint that could not be reached.
    pub(crate) fn connect(target: &Target, connections: usize) -> Result<Conventional> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::Wrong(format!("cannot start a runtime: {error}")))?;
        let timer = {
            let _within = runtime.enter();
            Timer::new().map_err(|error| Error::Wrong(format!("cannot make a timer: {error}")))?
        };
        let token = target.token.as_deref().map(MetadataValue::try_from).transpose();
        let token = token.map_err(|_| Error::Wrong("the server's token is no text".to_owned()))?;
        let tasks = LocalSet::new();
        let mut links = Vec::with_capacity(connections);
        for index in 0..connections {
            let failed =
                |error: tonic::transport::Error| Error::Usage(format!("{}: {error}", target.name(index)));
            let endpoint =
                Endpoint::from_shared(target.name(index)).map_err(failed)?.connect_timeout(PATIENCE);
            let connecting = async {
                match &target.tls {
                    None => endpoint.connect().await,
                    Some(config) => {
                        endpoint.connect_with_connector(Secure::new(target.endpoint(index), config)).await
                    }
                }
            };
            let channel = tasks.block_on(&runtime, connecting).map_err(failed)?;
            links.push(Link { channel, is_lost: Rc::default() });
        }
        Ok(Conventional {
            timer,
            runtime,
            tasks,
            links,
            token,
            shared: Rc::default(),
            streams: HashMap::new(),
            next: 1,
        })
    }

    fn request<T>(&self, body: T) -> Request<T> {
        let mut request = Request::new(body);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }
}

impl Shared {
    fn failed(&self, connection: usize, tag: u64, status: &Status, is_lost: &RefCell<bool>) {
        // What tonic itself says of a connection has a source; what a server says has none.
        let failure = match std::error::Error::source(status) {
            Some(source) => {
                *is_lost.borrow_mut() = true;
                Failure::Lost(Arc::from(source.to_string()))
            }
            None => Failure::Status { code: status.code() as u32, message: status.message().to_owned() },
        };
        self.events.borrow_mut().of(connection, tag, Instant::now()).failed(failure);
        self.came.notify_one();
    }
}

impl Client for Conventional {
    fn connections(&self) -> usize {
        self.links.len()
    }

    fn is_alive(&self, connection: usize) -> bool {
        !*self.links[connection].is_lost.borrow()
    }

    fn call(&mut self, connection: usize, method: Method, message: &[u8], tag: u64) {
        let request = self.request(Bytes::copy_from_slice(message));
        let mut grpc =
            Grpc::new(self.links[connection].channel.clone()).max_decoding_message_size(usize::MAX);
        let (shared, is_lost) = (self.shared.clone(), self.links[connection].is_lost.clone());
        self.tasks.spawn_local(async move {
            let answer = match grpc.ready().await {
                Ok(()) => grpc.unary(request, PathAndQuery::from_static(method.path()), Raw).await,
                Err(error) => Err(Status::from_error(Box::new(error))),
            };
            match answer {
                Ok(answer) => {
                    shared.events.borrow_mut().of(connection, tag, Instant::now()).answer(answer.get_ref());
                    shared.came.notify_one();
                }
                Err(status) => shared.failed(connection, tag, &status, &is_lost),
            }
        });
    }

    fn open(&mut self, connection: usize, method: Method, tag: u64) -> StreamId {
        let stream = StreamId { connection, number: self.next };
        self.next += 1;
        let (messages, outgoing) = mpsc::unbounded_channel();
        let request = self.request(UnboundedReceiverStream::new(outgoing));
        let mut grpc =
            Grpc::new(self.links[connection].channel.clone()).max_decoding_message_size(usize::MAX);
        let (shared, is_lost) = (self.shared.clone(), self.links[connection].is_lost.clone());
        let task = self.tasks.spawn_local(async move {
            let talk = async {
                grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
                let answer = grpc.streaming(request, PathAndQuery::from_static(method.path()), Raw).await?;
                let mut incoming = answer.into_inner();
                while let Some(message) = incoming.message().await? {
                    shared.events.borrow_mut().of(connection, tag, Instant::now()).message(&message);
                    shared.came.notify_one();
                }
                Ok(())
            };
            match talk.await {
                Ok(()) => {
                    shared.events.borrow_mut().of(connection, tag, Instant::now()).ended();
                    shared.came.notify_one();
                }
                Err(status) => shared.failed(connection, tag, &status, &is_lost),
            }
        });
        self.streams.insert(stream, Open { messages: Some(messages), task });
        stream
    }

    fn send(&mut self, stream: StreamId, message: &[u8]) {
        if let Some(messages) = self.streams.get(&stream).and_then(|open| open.messages.as_ref()) {
            // The other end is gone when the stream has ended.
            let _ = messages.send(Bytes::copy_from_slice(message));
        }
    }

    fn finish(&mut self, stream: StreamId) {
        if let Some(open) = self.streams.get_mut(&stream) {
            open.messages = None;
        }
    }

    fn cancel(&mut self, stream: StreamId) {
        if let Some(open) = self.streams.remove(&stream) {
            open.task.abort();
        }
    }

    fn turn(&mut self, until: Until, events: &mut Events) -> io::Result<()> {
        events.clear();
        let shared = self.shared.clone();
        let come = async {
            if shared.events.borrow().is_empty() {
                shared.came.notified().await;
            }
        };
        self.tasks.block_on(&self.runtime, async {
            match until {
                Until::Answer => come.await,
                Until::Time(at) => tokio::select! {
                    () = come => {}
                    over = self.timer.sleep_until(at) => over?,
                },
                Until::Now => tokio::task::yield_now().await,
            }
            io::Result::Ok(())
        })?;
        std::mem::swap(events, &mut self.shared.events.borrow_mut());
        self.streams.retain(|_, open| !open.task.is_finished());
        Ok(())
    }
}

/// Messages as they are on the wire: building and reading them is the caller's.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> std::result::Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> std::result::Result<Option<Bytes>, Status> {
        Ok(Some(bytes.copy_to_bytes(bytes.remaining())))
    }
}
