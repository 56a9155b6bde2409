//! Opening the log, or making a new one.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::Error;
use crate::agreement::LogRange;
use crate::batch::{BatchId, encode_change};
use crate::config::{Bootstrap, Config, Identity, InitialMember};
use crate::membership::{Membership, MembershipChange, MembershipKind};
use crate::node::Restored;
use crate::ready::HardState;
use crate::replay::Replay;
use crate::state_machine::{Position, StateMachine};
use crate::storage::{from_wal, to_wal};
use crate::transport::{Entry, EntryKind};

/// The log as found or made, before anything runs.
pub struct Log {
    pub(crate) wal: wal::Wal,
    pub(crate) identity: Identity,
    before: Position,
    entries: Vec<Entry>,
    hard_state: HardState,
    replayed: u64,
}

/// A log whose headers have said whose it is. Nothing else of it was looked at, unless it was made or verified just
/// now.
pub struct Opening {
    config: Config,
    io: Arc<dyn wal::Io>,
    identity: Identity,
    applied: Position,
    /// Complete already.
    open: Option<Log>,
}

impl Opening {
    /// Finds the log in `config.wal_dir`. If there is none, a new one is made as `config.bootstrap` says, but only if
    /// the state has nothing applied: a state without its log has lost entries.
    pub fn begin(config: &Config, io: Arc<dyn wal::Io>, applied: Position) -> Result<Opening, Error> {
        config.check()?;
        let config = config.clone();
        if exists(&config, &*io)? {
            let identity = identity_of(&wal::metadata(&config.wal_dir, Arc::clone(&io))?.0)?;
            return Ok(Opening { config, io, identity, applied, open: None });
        }
        if applied.index > 0 {
            return Err(Error::LogBehindState { applied: applied.index, last: 0 });
        }
        let identity = config.identity;
        let metadata = wal::Metadata(encode_identity(identity));
        let start = wal::Start { index: 0, term: 0 };
        let wal = wal::Wal::create(&config.wal_dir, Arc::clone(&io), metadata, start, config.wal.clone())?;
        let mut log = Log {
            wal,
            identity,
            before: Position::default(),
            entries: Vec::new(),
            hard_state: HardState::default(),
            replayed: 0,
        };
        log.bootstrap(&config.bootstrap)?;
        Ok(Opening { config, io, identity, applied, open: Some(log) })
    }

    /// Whose log it is.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Refuses a log that is not `expected`'s.
    pub fn expect(&self, expected: Identity) -> Result<(), Error> {
        if self.identity == expected {
            return Ok(());
        }
        Err(Error::ForeignLog {
            found_member: self.identity.member_id,
            found_cluster: self.identity.cluster_id,
            member: expected.member_id,
            cluster: expected.cluster_id,
        })
    }

    /// Reads and verifies all of it, and compares it with the state's place; for a caller that goes on to change
    /// something before there is a state to apply to.
    pub fn verify(self) -> Result<Opening, Error> {
        let (config, io, applied) = (self.config.clone(), Arc::clone(&self.io), self.applied);
        let log = self.finish()?;
        log.check_state(applied)?;
        Ok(Opening { config, io, identity: log.identity, applied, open: Some(log) })
    }

    /// Reads and verifies all of it.
    fn finish(self) -> Result<Log, Error> {
        let Opening { config, io, identity, applied, open } = self;
        if let Some(log) = open {
            return Ok(log);
        }
        let (wal, recovered) = wal::Wal::open(&config.wal_dir, io, config.wal.clone())?;
        Log::found(&config, identity, wal, recovered, applied)
    }

    /// Reads and verifies all of it, and applies to `state` what is known to be agreed while the rest is still being
    /// read; then compares the log with the state, as it was before and as it is. After an error the state in memory is
    /// worthless, and nothing of it was stored: it is not asked to maintain itself. A log that is open already is left
    /// to the driver.
    pub fn replay<S: StateMachine>(self, state: &mut S) -> Result<Log, Error> {
        let Opening { config, io, identity, open, .. } = self;
        if let Some(log) = open {
            return Ok(log);
        }
        let applied = state.applied();
        let mut replay = Replay::new(state);
        let show = &mut |passage| replay.follow(passage);
        let (wal, recovered) =
            wal::Wal::open_following(&config.wal_dir, io, config.wal.clone(), applied.index, show)?;
        let log = Log::found(&config, identity, wal, recovered, applied)?;
        log.check_state(applied)?;
        let replayed = replay.finish(|index| log.term_at(index))?;
        Ok(Log { replayed, ..log })
    }
}

impl Log {
    /// How many proposals were applied while it was read.
    pub fn replayed(&self) -> u64 {
        self.replayed
    }

    fn found(
        config: &Config,
        identity: Identity,
        wal: wal::Wal,
        recovered: wal::Recovered,
        applied: Position,
    ) -> Result<Log, Error> {
        if identity_of(&recovered.metadata.0)? != identity {
            return Err(Error::Metadata("its segments name two members".to_owned()));
        }
        if let Some(torn) = &recovered.torn_tail {
            tracing::warn!(
                ?torn,
                "the last batch of the log was cut short by a crash; it had not been acknowledged"
            );
        }
        let hard_state =
            recovered.hard_state.map(|hs| HardState { term: hs.term, vote: hs.vote, commit: hs.commit });
        let mut log = Log {
            wal,
            identity,
            before: Position { index: recovered.start.index, term: recovered.start.term },
            entries: recovered.entries.into_iter().map(from_wal).collect::<Result<_, Error>>()?,
            hard_state: hard_state.unwrap_or_default(),
            replayed: 0,
        };
        // A crash right after the log was made.
        if log.before.index == 0 && log.entries.is_empty() && hard_state.is_none() && applied.index == 0 {
            log.bootstrap(&config.bootstrap)?;
        }
        Ok(log)
    }

    /// As etcd begins a cluster: the initial members are the first entries, at term 1, and committed.
    fn bootstrap(&mut self, bootstrap: &Bootstrap) -> Result<(), Error> {
        let Bootstrap::New(members) = bootstrap else { return Ok(()) };
        self.entries = bootstrap_entries(members);
        self.hard_state = HardState { term: 1, vote: 0, commit: members.len() as u64 };
        let entries: Vec<wal::Entry> = self.entries.iter().map(to_wal).collect();
        let hard_state = crate::storage::hard_state_to_wal(self.hard_state);
        self.wal.append(&wal::Batch { entries: &entries, hard_state: Some(hard_state) })?;
        Ok(())
    }

    /// Refuses a state that this log does not continue, before anything is made of it.
    fn check_state(&self, applied: Position) -> Result<(), Error> {
        let last = self.entries.last().map_or(self.before.index, |entry| entry.index);
        let range = LogRange { before: self.before, last, commit: self.hard_state.commit };
        range
            .check_state(applied, |index| self.term_at(index).expect("only what the log covers is asked for"))
    }

    fn term_at(&self, index: u64) -> Option<u64> {
        match index.checked_sub(self.before.index + 1) {
            None => (index == self.before.index).then_some(self.before.term),
            Some(place) => self.entries.get(usize::try_from(place).ok()?).map(|entry| entry.term),
        }
    }

    /// What the node starts from, given the state machine; and the log itself.
    pub(crate) fn restore<S: StateMachine>(self, state: &S) -> Result<(Restored, wal::Wal), Error> {
        let Log { wal, before, entries, hard_state, .. } = self;
        let membership = Membership::decode(&state.conf_state())?;
        let applied = state.applied();
        Ok((Restored { before, entries, hard_state, applied, membership }, wal))
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("identity", &self.identity)
            .field("before", &self.before)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opening").field("identity", &self.identity).finish_non_exhaustive()
    }
}

pub(crate) fn bootstrap_entries(members: &[InitialMember]) -> Vec<Entry> {
    let entry = |(place, member): (usize, &InitialMember)| {
        let kind = MembershipKind::AddVoter;
        let change = MembershipChange { kind, member_id: member.id, context: member.context.clone() };
        let index = place as u64 + 1;
        // Nobody waits for it, and all members write the same bytes.
        let id = BatchId { origin: 0, incarnation: 0, sequence: index };
        Entry { index, term: 1, kind: EntryKind::Membership, data: encode_change(id, &change) }
    };
    members.iter().enumerate().map(entry).collect()
}

fn exists(config: &Config, io: &dyn wal::Io) -> Result<bool, Error> {
    let dir = &config.wal_dir;
    let failed = |source| wal::Error::Io { operation: "list", path: dir.clone(), offset: 0, source };
    Ok(wal::exists(dir, io).map_err(failed)?)
}

const METADATA_VERSION: u8 = 1;

/// `version u8 = 1 | cluster id u64 | member id u64`, little-endian.
fn encode_identity(identity: Identity) -> Bytes {
    let mut out = BytesMut::with_capacity(17);
    out.put_u8(METADATA_VERSION);
    out.put_u64_le(identity.cluster_id);
    out.put_u64_le(identity.member_id);
    out.freeze()
}

/// Whose log it is, from the metadata its segments carry.
pub fn identity_of(mut metadata: &[u8]) -> Result<Identity, Error> {
    if metadata.len() != 17 || metadata.get_u8() != METADATA_VERSION {
        return Err(Error::Metadata("unknown version or length".to_owned()));
    }
    let identity = Identity { cluster_id: metadata.get_u64_le(), member_id: metadata.get_u64_le() };
    if identity.member_id == 0 {
        return Err(Error::Metadata("member 0".to_owned()));
    }
    Ok(identity)
}
