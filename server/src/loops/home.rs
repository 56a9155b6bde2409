//! What the connections of one loop share, and how the inbox's contents reach them.

use std::cell::{Cell, RefCell};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use tokio::sync::Notify;

use super::inbox::{Completion, Contents, Inbox, Parcel};
use super::listener::Serves;
use super::{LoopId, Options};
use crate::grpc::{CallId, ConnectionWaker, Services};
use crate::metrics::{GrpcShard, Metrics};

/// Arena for answers. Small, because one frame that a slow client does not take keeps its whole chunk alive.
const ARENA_CHUNK: usize = 16 << 10;

/// Any other call among so many shows that others would have to wait.
const ALONE_AFTER: u32 = 32;

/// One loop, as its connections see it.
pub(crate) struct Home {
    pub(crate) id: LoopId,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) services: Arc<dyn Services>,
    pub(crate) options: Arc<Options>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) arena: RefCell<BytesMut>,
    mailboxes: RefCell<Vec<Option<Rc<Mailbox>>>>,
    vacant: RefCell<Vec<u32>>,
    spare: RefCell<Contents>,
    arrivals: RefCell<Vec<(TcpStream, Serves)>>,
    generation: Cell<u32>,
    turn: Cell<usize>,
    /// The connection of the last call, and how many of its calls were the loop's only ones.
    only: Cell<(u32, u32)>,
    open: Cell<usize>,
    stop_by: Cell<Option<Instant>>,
    stop_bell: Notify,
}

/// Where one connection finds what came for it.
pub(crate) struct Mailbox {
    pub(crate) index: u32,
    pub(crate) completions: RefCell<Vec<Completion>>,
    pub(crate) wakes: RefCell<Vec<CallId>>,
    pub(crate) waker: Arc<ConnectionWaker>,
}

impl Home {
    pub(crate) fn new(
        id: LoopId,
        inbox: Arc<Inbox>,
        services: Arc<dyn Services>,
        options: Arc<Options>,
        metrics: Arc<Metrics>,
    ) -> Home {
        Home {
            id,
            inbox,
            services,
            options,
            metrics,
            arena: RefCell::new(BytesMut::with_capacity(ARENA_CHUNK)),
            mailboxes: RefCell::default(),
            vacant: RefCell::default(),
            spare: RefCell::default(),
            arrivals: RefCell::default(),
            generation: Cell::new(0),
            turn: Cell::new(0),
            only: Cell::new((0, 0)),
            open: Cell::new(0),
            stop_by: Cell::new(None),
            stop_bell: Notify::new(),
        }
    }

    /// The loop's counters of gRPC calls; only this thread writes them.
    pub(crate) fn grpc(&self) -> &GrpcShard {
        self.metrics.grpc_shard(self.id.index())
    }

    /// A number that no call of this loop has had for four billion calls.
    pub(crate) fn next_generation(&self) -> u32 {
        let next = self.generation.get().wrapping_add(1);
        self.generation.set(next);
        next
    }

    pub(crate) fn next_turn(&self, of: usize) -> usize {
        let turn = self.turn.get();
        self.turn.set((turn + 1) % of);
        turn
    }

    /// A call of a connection; whether it waits for another thread, and nothing else of the connection is under way.
    pub(crate) fn note_call(&self, connection: u32, only: bool) {
        let (last, count) = self.only.get();
        let count = if only && last == connection { count.saturating_add(1) } else { 0 };
        self.only.set((connection, count));
    }

    /// Whether this loop has served nothing but calls of this connection for a while, each by itself, and there is no
    /// other connection, busy or idle. Then it may wait for the disk in another thread's stead: nobody else waits with it.
    pub(crate) fn is_alone(&self, connection: u32) -> bool {
        let (last, count) = self.only.get();
        last == connection && count >= ALONE_AFTER && self.has_one_connection()
    }

    pub(crate) fn has_one_connection(&self) -> bool {
        self.open.get() == 1
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop_by.get().is_some()
    }

    /// When whatever is still open is to be ended, once a stop was asked for.
    pub(crate) fn stop_by(&self) -> Option<Instant> {
        self.stop_by.get()
    }

    /// Resolves once a stop was asked for.
    pub(crate) async fn stopping(&self) {
        let bell = self.stop_bell.notified();
        if !self.is_stopping() {
            bell.await;
        }
    }

    /// Connections of any kind that have not ended.
    pub(crate) fn open_connections(&self) -> usize {
        self.open.get()
    }

    /// Counts a connection until the guard is dropped.
    pub(crate) fn enter(self: &Rc<Home>) -> OpenGuard {
        self.open.set(self.open.get() + 1);
        self.metrics.connection_opened();
        OpenGuard(self.clone())
    }

    pub(crate) fn take_arrivals(&self) -> Vec<(TcpStream, Serves)> {
        std::mem::take(&mut self.arrivals.borrow_mut())
    }

    /// Gives a gRPC connection an address for completions and wakes.
    pub(crate) fn register(&self, waker: Arc<ConnectionWaker>) -> Rc<Mailbox> {
        let mut mailboxes = self.mailboxes.borrow_mut();
        let index = self.vacant.borrow_mut().pop().unwrap_or_else(|| {
            mailboxes.push(None);
            (mailboxes.len() - 1) as u32
        });
        let mailbox =
            Rc::new(Mailbox { index, completions: RefCell::default(), wakes: RefCell::default(), waker });
        mailboxes[index as usize] = Some(mailbox.clone());
        mailbox
    }

    pub(crate) fn unregister(&self, mailbox: &Mailbox) {
        self.mailboxes.borrow_mut()[mailbox.index as usize] = None;
        self.vacant.borrow_mut().push(mailbox.index);
    }

    /// Empties the inbox: posts to the service first, then answers and wakes to their connections.
    pub(crate) fn deliver(&self) {
        // A post may wake streams of this loop, which fills the inbox again. Two rounds settle that; whatever keeps
        // coming is found at the next turn or before the loop sleeps.
        for _ in 0..2 {
            if !self.inbox.is_filled() {
                return;
            }
            let mut contents = self.spare.take();
            self.inbox.take(&mut contents);
            for parcel in contents.parcels.drain(..) {
                match parcel {
                    Parcel::Post(item) => self.services.on_post(self.id, item),
                    Parcel::Wake(id) => self.with_mailbox(id, |mailbox| mailbox.wakes.borrow_mut().push(id)),
                    Parcel::Connection(stream, serves) => {
                        self.arrivals.borrow_mut().push((stream, serves));
                        self.inbox.nudge();
                    }
                    Parcel::Stop(deadline) => {
                        self.stop_by.set(Some(deadline));
                        self.stop_bell.notify_waiters();
                        self.wake_all();
                        self.inbox.nudge();
                    }
                }
            }
            for (id, answer) in contents.completions.drain(..) {
                self.with_mailbox(id, |mailbox| mailbox.completions.borrow_mut().push((id, answer)));
            }
            *self.spare.borrow_mut() = contents;
        }
    }

    fn with_mailbox(&self, id: CallId, put: impl FnOnce(&Mailbox)) {
        let mailboxes = self.mailboxes.borrow();
        if let Some(Some(mailbox)) = mailboxes.get(id.connection as usize) {
            put(mailbox);
            mailbox.waker.wake_connection();
        }
    }

    fn wake_all(&self) {
        for mailbox in self.mailboxes.borrow().iter().flatten() {
            mailbox.waker.wake_connection();
        }
    }
}

impl Mailbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.completions.borrow().is_empty() && self.wakes.borrow().is_empty()
    }
}

/// One open connection; see `Home::enter`.
pub(crate) struct OpenGuard(Rc<Home>);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.metrics.connection_closed();
        if self.0.is_stopping() {
            self.0.inbox.nudge();
        }
    }
}
