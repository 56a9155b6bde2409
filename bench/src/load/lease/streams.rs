//! One stream of keep-alives for each connection, opened when it is first used.

use std::collections::VecDeque;

use crate::client::{Client, Method, StreamId};

/// Above every client's number.
const TAGS: u64 = 1 << 40;

/// The streams of one thread's connections.
pub(super) struct Streams {
    open: Vec<Option<StreamId>>,
    /// Clients that wait for an answer on it, in the order in which they asked.
    waiting: Vec<VecDeque<usize>>,
}

impl Streams {
    pub(super) fn new(connections: usize) -> Streams {
        Streams { open: vec![None; connections], waiting: vec![VecDeque::new(); connections] }
    }

    /// Whether an event with this tag is of a stream.
    pub(super) fn owns(tag: u64) -> bool {
        tag >= TAGS
    }

    /// Sends a client's request.
    pub(super) fn send(&mut self, wire: &mut dyn Client, connection: usize, client: usize, message: &[u8]) {
        let stream = *self.open[connection]
            .get_or_insert_with(|| wire.open(connection, Method::LeaseKeepAlive, TAGS + connection as u64));
        self.waiting[connection].push_back(client);
        wire.send(stream, message);
    }

    /// The client whose answer has come: the first for which `is_its` holds, or else the first of all; and whether it held.
    pub(super) fn answered(
        &mut self,
        connection: usize,
        is_its: impl Fn(usize) -> bool,
    ) -> Option<(usize, bool)> {
        let waiting = &mut self.waiting[connection];
        let at = waiting.iter().position(|client| is_its(*client));
        Some((waiting.remove(at.unwrap_or(0))?, at.is_some()))
    }

    /// The stream has ended; who waited in vain.
    pub(super) fn ended(&mut self, connection: usize) -> impl Iterator<Item = usize> + use<> {
        self.open[connection] = None;
        std::mem::take(&mut self.waiting[connection]).into_iter()
    }

    /// Nothing more will be sent.
    pub(super) fn finish(&mut self, wire: &mut dyn Client) {
        self.open.iter_mut().filter_map(Option::take).for_each(|stream| wire.finish(stream));
    }
}
