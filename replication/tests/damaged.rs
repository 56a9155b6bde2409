//! A log that was found damaged takes nothing, from whomever it comes, until it has begun anew.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

mod support;

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use replication::{
    Bootstrap, Driver, InitialMember, MembershipChange, MembershipKind, Message, Proposer, ReadGate, Refused,
    Room, Transport,
};
use support::{Answer, Health, Journal, Recorder, Ticket};

const LOST: Duration = Duration::from_secs(60);

struct Callers {
    answer: Sender<(u64, Answer)>,
    answers: Receiver<(u64, Answer)>,
}

impl Callers {
    fn new() -> Callers {
        let (answer, answers) = channel();
        Callers { answer, answers }
    }

    fn ticket(&self) -> Ticket {
        Ticket { caller: 0, answer: self.answer.clone() }
    }

    fn answer(&self) -> Answer {
        self.answers.recv_timeout(LOST).expect("an answer").1
    }

    fn propose(&self, driver: &Driver<Recorder>, what: &'static str) -> Answer {
        driver.proposer().propose(Bytes::from(what), self.ticket(), Room::Needs).unwrap();
        self.answer()
    }
}

fn data(journal: &Mutex<Journal>) -> Vec<Bytes> {
    journal.lock().unwrap().applied.iter().map(|(_, data)| data.clone()).collect()
}

#[test]
fn alone_it_refuses_proposals_and_membership_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (state, journal) = Recorder::new();
    let health = Arc::clone(&state.health);
    let mut config = support::config(dir.path(), 1);
    config.tick = Duration::from_millis(10);
    let driver = support::start(config, state).unwrap();
    let callers = Callers::new();
    assert!(matches!(callers.propose(&driver, "before"), Answer::Applied(_)));
    let changes = journal.lock().unwrap().changes.len();
    health.damage();
    for room in [Room::Needs, Room::Frees] {
        driver.proposer().propose(Bytes::from("during"), callers.ticket(), room).unwrap();
        assert_eq!(callers.answer(), Answer::Refused(Refused::LogDamaged));
    }
    let change = MembershipChange { kind: MembershipKind::AddLearner, member_id: 7, context: Bytes::new() };
    driver.proposer().propose_membership(change.clone(), callers.ticket()).unwrap();
    assert_eq!(callers.answer(), Answer::Refused(Refused::LogDamaged));
    assert!(matches!(driver.reads().read_index(), ReadGate::Now), "reads go on");
    health.store();
    assert!(matches!(callers.propose(&driver, "after"), Answer::Applied(_)));
    assert_eq!(data(&journal), ["before", "after"]);
    assert_eq!(journal.lock().unwrap().changes.len(), changes);

    // The same change is no trouble now.
    driver.proposer().propose_membership(change, callers.ticket()).unwrap();
    assert!(matches!(callers.answer(), Answer::Applied(_)));
    driver.stop().unwrap();
    assert!(journal.lock().unwrap().failed.is_none());
}

/// Killed between the finding of damage and the new segment, it is refused at its next start, by file and place, and is left as it
/// is. A restored copy opens and has everything.
#[test]
fn killed_before_the_log_began_anew_it_refuses_to_start_and_says_where_it_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = Recorder::new();
    let health = Arc::clone(&state.health);
    let mut config = support::config(dir.path(), 1);
    config.tick = Duration::from_millis(10);
    let driver = support::start(config, state).unwrap();
    let callers = Callers::new();
    for what in ["one", "two", "three"] {
        assert!(matches!(callers.propose(&driver, what), Answer::Applied(_)));
    }
    // Scrubbing has found it. On disk it is made once nobody writes any more; nobody reads it before.
    health.damage();
    drop(driver);
    let segment = dir.path().join("wal/0000000000000001.wal");
    let sound = std::fs::read(&segment).unwrap();
    let at = sound.windows(3).position(|bytes| bytes == b"two").unwrap();
    let mut left = sound.clone();
    left[at] ^= 0x10;
    std::fs::write(&segment, &left).unwrap();

    let found = support::start(support::config(dir.path(), 2), Recorder::new().0).err().unwrap();
    let replication::Error::Wal(wal::Error::Damaged(damage)) = &found else { panic!("{found}") };
    assert_eq!(damage.path, segment);
    assert!(damage.offset as usize <= at && at - damage.offset as usize <= 512, "{at}: {damage}");
    let words = found.to_string();
    assert!(
        words.contains(segment.to_str().unwrap()) && words.contains(&damage.offset.to_string()),
        "{words}"
    );
    assert!(std::fs::read(&segment).unwrap() == left, "a refused log was changed");

    std::fs::write(&segment, sound).unwrap();
    let (state, journal) = Recorder::new();
    support::start(support::config(dir.path(), 3), state).unwrap().stop().unwrap();
    assert_eq!(data(&journal), ["one", "two", "three"]);
}

type Inboxes = Arc<Mutex<BTreeMap<u64, Proposer<Ticket>>>>;

struct InMemory(Inboxes);

impl Transport for InMemory {
    fn send(&mut self, messages: Vec<Message>) {
        for message in messages {
            let to = self.0.lock().unwrap().get(&message.to).cloned();
            if let Some(inbox) = to {
                inbox.deliver(vec![message]);
            }
        }
    }

    fn members(&mut self, _: &[u64]) {}
}

struct Member {
    id: u64,
    driver: Driver<Recorder>,
    journal: Arc<Mutex<Journal>>,
    health: Arc<Health>,
}

fn start(dir: &std::path::Path, id: u64, inboxes: &Inboxes) -> Member {
    let mut config = support::config(&dir.join(id.to_string()), id);
    config.identity.member_id = id;
    config.bootstrap =
        Bootstrap::New((1..=3).map(|id| InitialMember { id, context: Bytes::new() }).collect());
    // Whoever leads goes on leading, however busy the machine is.
    config.tick = Duration::from_millis(100);
    let (state, journal) = Recorder::new();
    let health = Arc::clone(&state.health);
    let transport = Box::new(InMemory(Arc::clone(inboxes)));
    let driver = replication::start(config, support::io(), state, transport).unwrap();
    inboxes.lock().unwrap().insert(id, driver.proposer().clone());
    Member { id, driver, journal, health }
}

/// Until it is applied on this member.
fn insist(member: &Member, callers: &Callers, what: &'static str) {
    while !matches!(callers.propose(&member.driver, what), Answer::Applied(_)) {}
}

#[test]
fn entries_of_a_peer_are_dropped_and_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let inboxes = Inboxes::default();
    let members: Vec<Member> = (1..=3).map(|id| start(dir.path(), id, &inboxes)).collect();
    let callers = Callers::new();
    insist(&members[0], &callers, "before");
    let leader = members[0].driver.status().leader();
    let (ill, others): (Vec<_>, Vec<_>) =
        members.iter().partition(|member| member.id == if leader == 1 { 2 } else { 1 });
    let ill = ill[0];
    insist(ill, &callers, "here too");
    ill.health.damage();
    let dropped = ill.driver.status().messages_dropped();
    // The two others are enough, whatever becomes of the leadership.
    for _ in 0..5 {
        insist(others[0], &callers, "during");
    }
    assert!(!data(&ill.journal).iter().any(|data| data == "during"), "nothing was written behind the damage");
    assert!(ill.driver.status().messages_dropped() > dropped, "but dropped");
    ill.health.store();
    insist(ill, &callers, "after");
    let there = data(&ill.journal);
    assert!(there.iter().any(|data| data == "during"), "what was dropped came again");
    for member in members {
        member.driver.stop().unwrap();
        assert!(member.journal.lock().unwrap().failed.is_none());
    }
}
