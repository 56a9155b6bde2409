//! Three drivers in one process, each with its own log; messages go from queue to queue.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use replication::{Bootstrap, Driver, InitialMember, Message, Proposer, ReadGate, Room, Transport};
use support::{Answer, Journal, Recorder, Ticket, config};

const LOST: Duration = Duration::from_secs(60);

type Inboxes = Arc<Mutex<BTreeMap<u64, Proposer<Ticket>>>>;

struct InMemory {
    inboxes: Inboxes,
    told: Arc<Mutex<Vec<u64>>>,
}

impl Transport for InMemory {
    fn send(&mut self, messages: Vec<Message>) {
        for message in messages {
            let to = self.inboxes.lock().unwrap().get(&message.to).cloned();
            if let Some(inbox) = to {
                inbox.deliver(vec![message]);
            }
        }
    }

    fn members(&mut self, ids: &[u64]) {
        *self.told.lock().unwrap() = ids.to_vec();
    }
}

struct Running {
    id: u64,
    driver: Driver<Recorder>,
    journal: Arc<Mutex<Journal>>,
    told: Arc<Mutex<Vec<u64>>>,
}

fn start(dir: &Path, id: u64, inboxes: &Inboxes) -> Running {
    let mut config = config(&dir.join(id.to_string()), id);
    config.identity.member_id = id;
    config.bootstrap =
        Bootstrap::New((1..=3).map(|id| InitialMember { id, context: Bytes::new() }).collect());
    config.tick = Duration::from_millis(10);
    let (state, journal) = Recorder::new();
    let told = Arc::default();
    let transport = InMemory { inboxes: Arc::clone(inboxes), told: Arc::clone(&told) };
    let driver = replication::start(config, support::io(), state, Box::new(transport)).unwrap();
    inboxes.lock().unwrap().insert(id, driver.proposer().clone());
    Running { id, driver, journal, told }
}

/// Proposes until it is applied: what is refused may come twice in the log, what is applied is there.
fn insist(member: &Running, what: &str) {
    let (answer, answers) = channel();
    loop {
        let ticket = Ticket { caller: 0, answer: answer.clone() };
        member.driver.proposer().propose(Bytes::from(what.to_owned()), ticket, Room::Needs).unwrap();
        match answers.recv_timeout(LOST).expect("an answer") {
            (_, Answer::Applied(_)) => return,
            (_, Answer::Refused(_)) => {}
        }
    }
}

fn proposals(journal: &Mutex<Journal>) -> Vec<Bytes> {
    journal.lock().unwrap().applied.iter().map(|(_, data)| data.clone()).collect()
}

/// A linearizable read through this member: what its state shows then.
fn read(member: &Running) -> Vec<Bytes> {
    let (done, answer) = channel();
    loop {
        if let ReadGate::Wait(wait) = member.driver.reads().read_index() {
            let done = done.clone();
            wait.then(move |index| done.send(index).unwrap());
            if answer.recv_timeout(LOST).expect("an answer").is_ok() {
                return proposals(&member.journal);
            }
        } else {
            panic!("no member may read alone where three vote");
        }
    }
}

#[test]
fn three_members_serve_from_anywhere_and_survive_the_leader() {
    let dir = tempfile::tempdir().unwrap();
    let inboxes = Inboxes::default();
    let mut members: Vec<Running> = (1..=3).map(|id| start(dir.path(), id, &inboxes)).collect();
    for number in 0..30 {
        insist(&members[number % 3], &format!("early {number}"));
        let seen = read(&members[(number + 1) % 3]);
        let expected = Bytes::from(format!("early {number}"));
        assert!(seen.contains(&expected), "a read after {number} was acknowledged does not see it");
    }
    assert_eq!(*members[0].told.lock().unwrap(), [1, 2, 3]);

    let leader = members[0].driver.status().leader();
    let gone = members.remove(members.iter().position(|member| member.id == leader).unwrap());
    inboxes.lock().unwrap().remove(&leader);
    gone.driver.stop().unwrap();
    for number in 0..20 {
        insist(&members[number % 2], &format!("late {number}"));
    }
    let seen = read(&members[1]);
    assert!(seen.contains(&Bytes::from("early 29")) && seen.contains(&Bytes::from("late 19")));

    // It comes back with its log and an empty state, and gets to where the others are.
    let back = start(dir.path(), leader, &inboxes);
    insist(&back, "back");
    let there = read(&back);
    let others = read(&members[0]);
    let common = there.len().min(others.len());
    assert_eq!(there[..common], others[..common], "the same in the same order");
    assert!(there.contains(&Bytes::from("late 0")) && there.contains(&Bytes::from("back")));
    for member in members.into_iter().chain([back]) {
        member.driver.stop().unwrap();
    }
}
