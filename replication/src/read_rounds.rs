//! Read rounds under way: who asked, and under which context.
//!
//! raft matches acknowledgments to rounds by bytes that the caller chooses, and releases stale reads if it ever sees
//! the same bytes twice. So a context is (incarnation, member, counter), made here and used once, and only a leader
//! hands contexts to raft. A follower asks the leader with a context of its own, which raft never sees.

use std::collections::BTreeMap;
use std::mem;

use bytes::{Buf, BufMut, Bytes};

use crate::ready::ReadOutcome;
use crate::state_machine::{Leadership, Refused};
use crate::transport::{Message, MessageKind};

/// Questions of peers under way at a leader; what is beyond is dropped, and asked again by the peer.
const FROM_PEERS: usize = 1024;
/// Ticks after which a follower asks again, as often as etcd at its default heartbeat.
const ASK_AGAIN: u64 = 5;

#[derive(Clone, Debug)]
enum Asker {
    Local(u64),
    Peer { member: u64, context: Bytes },
}

/// A context to be given to raft.
pub(crate) type Context = Vec<u8>;

pub(crate) struct ReadRounds {
    id: u64,
    incarnation: u64,
    counter: u64,
    ticks: u64,
    leader: u64,
    /// At a leader that has not committed anything in its term yet: raft would drop the question.
    held: Vec<Asker>,
    /// Given to raft.
    in_raft: BTreeMap<u64, Asker>,
    /// Asked of the leader: counter to (round, tick of asking).
    at_leader: BTreeMap<u64, (u64, u64)>,
    outcomes: Vec<ReadOutcome>,
    messages: Vec<Message>,
}

impl ReadRounds {
    pub(crate) fn new(id: u64, incarnation: u64) -> ReadRounds {
        ReadRounds {
            id,
            incarnation,
            counter: 0,
            ticks: 0,
            leader: 0,
            held: Vec::new(),
            in_raft: BTreeMap::new(),
            at_leader: BTreeMap::new(),
            outcomes: Vec::new(),
            messages: Vec::new(),
        }
    }

    fn context(&self, counter: u64) -> Context {
        let mut context = Vec::with_capacity(24);
        context.put_u64_le(self.incarnation);
        context.put_u64_le(self.id);
        context.put_u64_le(counter);
        context
    }

    /// The counter in a context, if this start of this member made it.
    fn counter_of(&self, mut context: &[u8]) -> Option<u64> {
        let ours = context.len() == 24
            && context.get_u64_le() == self.incarnation
            && context.get_u64_le() == self.id;
        ours.then(|| context.get_u64_le())
    }

    fn next_counter(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Begins a round of this member.
    pub(crate) fn begin(&mut self, round: u64, leadership: Leadership) {
        if leadership.is_leader {
            self.held.push(Asker::Local(round));
        } else if leadership.leader != 0 {
            self.leader = leadership.leader;
            self.ask_leader(round);
        } else {
            self.outcomes.push(ReadOutcome { round, index: Err(Refused::NoLeader) });
        }
    }

    fn ask_leader(&mut self, round: u64) {
        let counter = self.next_counter();
        self.at_leader.insert(counter, (round, self.ticks));
        let context = Bytes::from(self.context(counter));
        self.messages.push(Message {
            to: self.leader,
            from: self.id,
            context,
            ..Message::empty(MessageKind::ReadRequest)
        });
    }

    /// Asks again what has had no answer for a while, under a new context; the old one stays good.
    pub(crate) fn tick(&mut self) {
        self.ticks += 1;
        let now = self.ticks;
        let overdue = |asked: u64| now.saturating_sub(asked) >= ASK_AGAIN;
        let again: Vec<(u64, u64)> = self
            .at_leader
            .iter()
            .filter(|(_, (_, asked))| overdue(*asked))
            .map(|(c, (r, _))| (*c, *r))
            .collect();
        for (counter, round) in again {
            self.at_leader.remove(&counter);
            self.ask_leader(round);
        }
    }

    pub(crate) fn asked_by_peer(&mut self, member: u64, context: Bytes) {
        let under_way = self.held.len() + self.in_raft.len();
        if under_way < FROM_PEERS && context.len() == 24 {
            self.held.push(Asker::Peer { member, context });
        }
    }

    pub(crate) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Contexts for raft, one for each question held so far.
    pub(crate) fn release_held(&mut self) -> Vec<Context> {
        let held = mem::take(&mut self.held);
        let give = |asker| {
            let counter = self.next_counter();
            self.in_raft.insert(counter, asker);
            self.context(counter)
        };
        held.into_iter().map(give).collect()
    }

    pub(crate) fn answered_by_raft(&mut self, context: &[u8], index: u64) {
        let asker = self.counter_of(context).and_then(|counter| self.in_raft.remove(&counter));
        match asker {
            Some(Asker::Local(round)) => self.outcomes.push(ReadOutcome { round, index: Ok(index) }),
            Some(Asker::Peer { member, context }) => self.messages.push(Message {
                to: member,
                from: self.id,
                index,
                context,
                ..Message::empty(MessageKind::ReadResponse)
            }),
            None => {}
        }
    }

    pub(crate) fn answered_by_leader(&mut self, context: &[u8], index: Result<u64, Refused>) {
        let asked = self.counter_of(context).and_then(|counter| self.at_leader.remove(&counter));
        if let Some((round, _)) = asked {
            self.outcomes.push(ReadOutcome { round, index });
        }
    }

    /// Nothing under way can be trusted to be answered. Peers ask again by themselves.
    pub(crate) fn leadership_changed(&mut self) {
        let local = |asker: Asker| match asker {
            Asker::Local(round) => Some(round),
            Asker::Peer { .. } => None,
        };
        let rounds = mem::take(&mut self.held).into_iter().filter_map(local);
        let rounds = rounds.chain(mem::take(&mut self.in_raft).into_values().filter_map(local));
        let rounds = rounds.chain(mem::take(&mut self.at_leader).into_values().map(|(round, _)| round));
        self.outcomes.extend(rounds.map(|round| ReadOutcome { round, index: Err(Refused::LeaderChanged) }));
        self.messages.clear();
    }

    pub(crate) fn has_output(&self) -> bool {
        !self.outcomes.is_empty() || !self.messages.is_empty()
    }

    pub(crate) fn take_outcomes(&mut self) -> Vec<ReadOutcome> {
        mem::take(&mut self.outcomes)
    }

    pub(crate) fn take_messages(&mut self) -> Vec<Message> {
        mem::take(&mut self.messages)
    }
}
