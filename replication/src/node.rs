//! One member's raft state, without clock, socket, file or thread.
//!
//! Inputs: [`Node::tick`], [`Node::propose`], [`Node::propose_membership`], [`Node::step`], [`Node::read_round`] and, for
//! work done, [`Node::persisted`] and [`Node::applied`]. Output: [`Node::ready`], as plain values. The same inputs in
//! the same order give the same outputs: raft draws election timeouts from the thread's random numbers, so after
//! every input they are replaced by one drawn from the configured seed.

use bytes::Bytes;
use raft::eraftpb::{Message as RaftMessage, MessageType};
use raft::{INVALID_ID, RawNode, ReadOnlyOption, StateRole};

use crate::Error;
use crate::agreement::LogRange;
use crate::inspect::{Dropped, LogView, inspect};
use crate::log::{MemoryLog, from_raft, to_raft};
use crate::membership::{Membership, MembershipChange, to_raft_change};
use crate::raft_logger;
use crate::read_rounds::ReadRounds;
use crate::ready::{HardState, Output, Persist, hard_state, message_from_raft, message_to_raft};
use crate::state_machine::{Leadership, Position, Refused};
use crate::transport::{Entry, EntryKind, Message, MessageKind};

/// Entries of one append message, in bytes, as in etcd.
const MESSAGE_BYTES: u64 = 1 << 20;
/// Append messages on their way to one follower, as in etcd.
const MESSAGES_IN_FLIGHT: usize = 512;

/// What a node is made with.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// This member; never 0.
    pub id: u64,
    /// Ticks without a leader until it campaigns, at least 2; the real number is drawn from [e, 2e).
    pub election_ticks: usize,
    /// Different at every start of every member.
    pub seed: u64,
    /// Bytes of proposals that may be uncommitted at a time; more are refused.
    pub uncommitted_bytes: u64,
    /// Committed entries handed out at a time, in bytes; at least one entry.
    pub committed_bytes: u64,
}

/// What storage says at start.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// The place before the first entry.
    pub before: Position,
    /// All entries after it.
    pub entries: Vec<Entry>,
    /// As last made durable.
    pub hard_state: HardState,
    /// The last entry whose effect the state machine has.
    pub applied: Position,
    /// The membership at that place.
    pub membership: Membership,
}

/// Where a proposal went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// Into the log of this leader. It is applied if this very entry is committed.
    Here(Position),
    /// To the leader. Whether it arrives is not known.
    Forwarded,
}

/// See the module.
pub struct Node {
    raw: RawNode<MemoryLog>,
    id: u64,
    membership: Membership,
    jitter: Jitter,
    leadership: Leadership,
    leadership_told: bool,
    /// Whether, and in which term, this member led when the last output was made.
    led: Option<u64>,
    reads: ReadRounds,
}

impl Node {
    /// Takes up where storage left off.
    pub fn new(config: &NodeConfig, restored: Restored) -> Result<Node, Error> {
        let Restored { before, entries, hard_state, applied, membership } = restored;
        let last = entries.last().map_or(before.index, |entry| entry.index);
        let range = LogRange { before, last, commit: hard_state.commit };
        let term_in_log = |index: u64| match index.checked_sub(before.index + 1) {
            None => before.term,
            Some(place) => entries[place as usize].term,
        };
        let mut index = before.index;
        for entry in &entries {
            index += 1;
            if entry.index != index {
                let why = format!("index {} where {index} was expected", entry.index);
                return Err(Error::Malformed { what: "recovered log", why });
            }
        }
        range.check_state(applied, term_in_log)?;
        // What is in the state was committed, even if the log was not told in time.
        let hard_state = raft::eraftpb::HardState {
            term: hard_state.term,
            vote: hard_state.vote,
            commit: hard_state.commit.max(applied.index),
            ..Default::default()
        };
        let mut log = MemoryLog::new(before, hard_state, membership.to_raft());
        log.append(entries.into_iter().map(to_raft));

        let raft_config = raft::Config {
            id: config.id,
            election_tick: config.election_ticks,
            heartbeat_tick: 1,
            applied: applied.index,
            max_size_per_msg: MESSAGE_BYTES,
            max_inflight_msgs: MESSAGES_IN_FLIGHT,
            check_quorum: true,
            pre_vote: true,
            read_only_option: ReadOnlyOption::Safe,
            skip_bcast_commit: false,
            batch_append: false,
            max_uncommitted_size: config.uncommitted_bytes,
            max_committed_size_per_ready: config.committed_bytes,
            ..raft::Config::default()
        };
        assert!(raft_config.check_quorum && raft_config.pre_vote, "the library's defaults are unsafe");
        assert!(raft_config.read_only_option == ReadOnlyOption::Safe, "reads never rely on clocks");
        let raw = RawNode::new(&raft_config, log, &raft_logger::logger())
            .map_err(|error| Error::Config(error.to_string()))?;
        let jitter = Jitter::new(config.seed, config.election_ticks);
        let reads = ReadRounds::new(config.id, config.seed);
        let mut node = Node {
            raw,
            id: config.id,
            membership,
            jitter,
            leadership: Leadership::default(),
            leadership_told: false,
            led: None,
            reads,
        };
        node.settle();
        Ok(node)
    }

    /// A heartbeat interval has passed.
    pub fn tick(&mut self) {
        self.raw.tick();
        self.settle();
        self.reads.tick();
    }

    /// Whether campaigning at once can do no harm and no good is done by waiting: nobody else votes, and everything
    /// committed is applied.
    pub fn could_campaign_alone(&self) -> bool {
        let log = &self.raw.raft.raft_log;
        let settled = log.applied == log.committed && log.persisted == log.last_index();
        settled && !self.is_leader() && self.is_sole_voter()
    }

    /// Campaigns if `could_campaign_alone`.
    pub fn campaign_if_alone(&mut self) {
        if self.could_campaign_alone() {
            let campaigned = self.raw.campaign();
            debug_assert!(campaigned.is_ok(), "a local message is always taken");
            self.settle();
        }
    }

    /// Adds one entry of proposals to the log, or passes it to the leader.
    pub fn propose(&mut self, data: Bytes) -> Result<Placed, Refused> {
        self.append(EntryKind::Proposals, data)
    }

    /// Whether a membership change proposed now would not be dropped: one is carried out at a time.
    pub fn may_change_membership(&self) -> bool {
        !self.is_leader() || !self.raw.raft.has_pending_conf()
    }

    /// Adds a membership entry; `data` as made by this crate.
    pub fn propose_membership(&mut self, data: Bytes) -> Result<Placed, Refused> {
        debug_assert!(self.may_change_membership());
        self.append(EntryKind::Membership, data)
    }

    fn append(&mut self, kind: EntryKind, data: Bytes) -> Result<Placed, Refused> {
        let entry = to_raft(Entry { index: 0, term: 0, kind, data });
        let message = RaftMessage {
            msg_type: MessageType::MsgPropose,
            from: self.id,
            entries: vec![entry].into(),
            ..RaftMessage::default()
        };
        if self.raw.step(message).is_err() {
            let raft = &self.raw.raft;
            return Err(match raft.state {
                StateRole::Leader if raft.lead_transferee.is_some() => Refused::NotLeader,
                StateRole::Leader if self.membership.voters.contains(&self.id) => Refused::TooMany,
                _ => Refused::NoLeader,
            });
        }
        if !self.is_leader() {
            return Ok(Placed::Forwarded);
        }
        let index = self.raw.raft.raft_log.last_index();
        Ok(Placed::Here(Position { index, term: self.raw.raft.term }))
    }

    /// A message of a peer. What does not stand up to inspection is dropped.
    pub fn step(&mut self, message: Message) -> Result<(), Dropped> {
        inspect(&message, &self.view_for(message.from))?;
        match message.kind {
            MessageKind::ReadRequest => self.reads.asked_by_peer(message.from, message.context),
            MessageKind::ReadResponse => {
                let index = if message.reject { Err(Refused::LeaderChanged) } else { Ok(message.index) };
                self.reads.answered_by_leader(&message.context, index);
            }
            _ => {
                let raft_message = message_to_raft(message).expect("raft has every other kind");
                let stepped = self.raw.step(raft_message);
                self.settle();
                stepped.map_err(|error| match error {
                    raft::Error::StepPeerNotFound => Dropped::NotMember,
                    _ => Dropped::OutOfPlace,
                })?;
            }
        }
        Ok(())
    }

    fn view_for(&self, sender: u64) -> LogView {
        let raft = &self.raw.raft;
        LogView {
            id: self.id,
            term: raft.term,
            last: raft.raft_log.last_index(),
            persisted: raft.raft_log.persisted,
            is_leader: self.is_leader(),
            sender_is_member: raft.prs().get(sender).is_some(),
            is_sole_voter: self.is_sole_voter(),
        }
    }

    /// Asks for the index from which on a linearizable read may be served. Answered in an output; a round has at most
    /// one answer, and none if leadership is never settled.
    pub fn read_round(&mut self, round: u64) {
        self.reads.begin(round, self.leadership);
    }

    /// Asks the leader to hand over to this member.
    pub fn transfer_leader(&mut self, to: u64) {
        if to != INVALID_ID {
            self.raw.transfer_leader(to);
            self.settle();
        }
    }

    /// Messages to this member got lost.
    pub fn unreachable(&mut self, member: u64) {
        self.raw.report_unreachable(member);
    }

    /// Whether `ready` has something.
    pub fn has_ready(&self) -> bool {
        !self.leadership_told || self.reads.has_output() || self.reads_can_go() || self.raw.has_ready()
    }

    fn reads_can_go(&self) -> bool {
        self.reads.has_held() && self.is_leader() && self.raw.raft.commit_to_current_term()
    }

    /// The next step of work, if there is any.
    pub fn ready(&mut self) -> Option<Output> {
        if self.reads_can_go() {
            for context in self.reads.release_held() {
                self.raw.read_index(context);
            }
        }
        if !self.has_ready() {
            return None;
        }
        let mut ready = self.raw.ready();
        // What a leader sends needs not wait for its own disk. But only once it has told its own term to its disk:
        // a message from before it led (a vote given) does.
        let term = self.raw.raft.term;
        let leads = self.is_leader().then_some(term);
        let settled_leader = leads.is_some() && leads == self.led;
        self.led = leads;
        let mut send: Vec<Message> =
            ready.take_messages().into_iter().filter_map(message_from_raft).collect();
        let mut send_after: Vec<Message> =
            ready.take_persisted_messages().into_iter().filter_map(message_from_raft).collect();
        if !settled_leader {
            send_after.splice(0..0, send.drain(..));
        }

        for state in ready.take_read_states() {
            self.reads.answered_by_raft(&state.request_ctx, state.index);
        }
        let committed = ready.take_committed_entries();
        let raft_entries = ready.take_entries();
        let persist = Persist {
            hard_state: ready.hs().map(hard_state),
            can_wait: !ready.must_sync(),
            entries: raft_entries.iter().cloned().map(from_raft).collect(),
        };
        assert!(ready.snapshot().is_empty(), "no snapshot is ever stepped");
        let number = ready.number();
        self.raw.mut_store().append(raft_entries);
        self.raw.advance_append_async(ready);

        send.extend(self.reads.take_messages());
        let leadership = (!self.leadership_told).then_some(self.leadership);
        self.leadership_told = true;
        Some(Output {
            number,
            leadership,
            send,
            persist,
            send_after,
            committed: committed.into_iter().map(from_raft).collect(),
            reads: self.reads.take_outcomes(),
        })
    }

    /// Everything that outputs up to this number wanted persisted is durable.
    pub fn persisted(&mut self, number: u64) {
        self.raw.on_persist_ready(number);
    }

    /// The state machine has executed everything up to this index.
    pub fn applied(&mut self, index: u64) {
        self.raw.advance_apply_to(index);
    }

    /// A committed change takes effect; the result is the membership from here on. A change that would leave no voter
    /// has no effect, on every member alike.
    pub fn apply_membership(&mut self, change: &MembershipChange) -> &Membership {
        if let Some(raft_change) = to_raft_change(change) {
            match self.raw.apply_conf_change(&raft_change) {
                Ok(conf_state) => self.membership = Membership::from_raft(&conf_state),
                Err(error) => {
                    tracing::error!(member_id = change.member_id, %error, "membership change has no effect")
                }
            }
            self.settle();
        }
        &self.membership
    }

    /// Lets applied entries go from memory until at most so many of them, and so many bytes, are kept.
    pub fn keep_applied(&mut self, entries: u64, bytes: u64) {
        let applied = self.raw.raft.raft_log.applied;
        self.raw.mut_store().keep_applied(applied, entries, bytes);
    }

    /// Current membership.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Whether this member alone decides.
    pub fn is_sole_voter(&self) -> bool {
        self.membership.voters == [self.id]
    }

    /// Whether there is no other member, not even a learner.
    pub fn is_alone(&self) -> bool {
        self.is_sole_voter() && self.membership.learners.is_empty()
    }

    /// Whether this member leads.
    pub fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// Who leads, as known here.
    pub fn leadership(&self) -> Leadership {
        self.leadership
    }

    /// Term, vote and commit index as they are now.
    pub fn hard_state(&self) -> HardState {
        hard_state(&self.raw.raft.hard_state())
    }

    /// Current term.
    pub fn term(&self) -> u64 {
        self.raw.raft.term
    }

    /// Commit index.
    pub fn commit(&self) -> u64 {
        self.raw.raft.raft_log.committed
    }

    /// Index of the last entry, durable or not.
    pub fn last_index(&self) -> u64 {
        self.raw.raft.raft_log.last_index()
    }

    /// Lengths of the entries that no output has wanted persisted yet.
    pub(crate) fn unwritten(&self) -> impl Iterator<Item = usize> {
        self.raw.raft.raft_log.unstable.entries.iter().map(|entry| entry.data.len())
    }

    /// Index of the first entry kept in memory, and the bytes kept.
    pub fn kept(&self) -> (u64, u64) {
        let log = self.raw.store();
        (log.first_kept(), log.bytes())
    }

    /// Whether this leader has applied the first entry of its term, and with it all that was committed before.
    pub fn applied_in_term(&self) -> bool {
        self.is_leader() && self.raw.raft.apply_to_current_term()
    }

    /// After every input: the election timeout becomes ours, a change of leader or term is noted.
    fn settle(&mut self) {
        let raft = &mut self.raw.raft;
        let is_leader = raft.state == StateRole::Leader;
        raft.set_randomized_election_timeout(self.jitter.timeout(raft.term, raft.state, raft.leader_id));
        let leadership = Leadership { leader: raft.leader_id, term: raft.term, is_leader };
        if leadership != self.leadership {
            self.leadership = leadership;
            self.leadership_told = false;
            self.reads.leadership_changed();
        }
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("id", &format_args!("{:x}", self.id))
            .field("leadership", &self.leadership)
            .field("commit", &self.commit())
            .field("last", &self.last_index())
            .finish_non_exhaustive()
    }
}

/// Draws election timeouts: a new one whenever term, role or leader are not what they were.
struct Jitter {
    seed: u64,
    election_ticks: usize,
    seen: (u64, StateRole, u64),
    draws: u64,
}

impl Jitter {
    fn new(seed: u64, election_ticks: usize) -> Jitter {
        Jitter { seed, election_ticks, seen: (0, StateRole::Follower, INVALID_ID), draws: 0 }
    }

    fn timeout(&mut self, term: u64, role: StateRole, leader: u64) -> usize {
        if self.seen != (term, role, leader) {
            self.seen = (term, role, leader);
            self.draws += 1;
        }
        let drawn = mix(self.seed ^ mix(self.draws)) % self.election_ticks as u64;
        self.election_ticks + drawn as usize
    }
}

/// The finalizer of splitmix64: neighboring inputs give unrelated outputs.
fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
