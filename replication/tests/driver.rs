//! The driver over a real log in a private directory.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

mod support;

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use replication::{Driver, Error, MembershipChange, MembershipKind, Position, ReadGate, Refused, Room};
use support::{Answer, IDENTITY, Recorder, Ticket, config, start};

/// Long enough that only a lost answer takes it.
const LOST: Duration = Duration::from_secs(30);

fn propose(driver: &Driver<Recorder>, caller: u64, answer: &Sender<(u64, Answer)>) {
    let proposal = Bytes::from(format!("proposal {caller}"));
    driver.proposer().propose(proposal, Ticket { caller, answer: answer.clone() }, Room::Needs).unwrap();
}

fn applied(answers: &Receiver<(u64, Answer)>) -> (u64, Position) {
    match answers.recv_timeout(LOST).expect("an answer") {
        (caller, Answer::Applied(at)) => (caller, at),
        refused => panic!("{refused:?}"),
    }
}

/// Proposals in the order of the log.
fn proposals(journal: &Mutex<support::Journal>) -> Vec<String> {
    let journal = journal.lock().unwrap();
    journal.applied.iter().map(|(_, data)| String::from_utf8(data.to_vec()).unwrap()).collect()
}

#[test]
fn a_new_member_leads_at_once_and_knows_its_members() {
    let dir = tempfile::tempdir().unwrap();
    let (state, journal) = Recorder::new();
    let driver = start(config(dir.path(), 1), state).unwrap();
    let (answer, answers) = channel();
    propose(&driver, 1, &answer);
    let (_, at) = applied(&answers);
    assert_eq!(
        at,
        Position { index: 3, term: 2 },
        "one membership entry at term 1, the leader's first at term 2"
    );
    let status = driver.status().clone();
    assert!(status.is_leader());
    assert_eq!((status.term(), status.leader(), status.leader_changes()), (2, IDENTITY.member_id, 1));
    driver.stop().unwrap();
    assert_eq!((status.commit(), status.applied(), status.proposals_pending()), (3, 3, 0));
    let journal = journal.lock().unwrap();
    assert_eq!(journal.changes[0].0, Position { index: 1, term: 1 });
    assert_eq!(journal.changes[0].1.context, "me");
    assert_eq!(journal.empty, [Position { index: 2, term: 2 }]);
    assert!(journal.leaderships.last().unwrap().is_leader);
}

#[test]
fn many_callers_are_applied_exactly_once_and_in_their_order() {
    const CALLERS: u64 = 8;
    const EACH: u64 = 200;
    let dir = tempfile::tempdir().unwrap();
    let (state, journal) = Recorder::new();
    let driver = start(config(dir.path(), 2), state).unwrap();
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let proposer = driver.proposer().clone();
            scope.spawn(move || {
                let (answer, answers) = channel();
                // Half of them wait for each answer, half have all in flight.
                for number in 0..EACH {
                    let ticket = Ticket { caller: number, answer: answer.clone() };
                    proposer.propose(Bytes::from(format!("{caller}/{number}")), ticket, Room::Needs).unwrap();
                    if caller % 2 == 0 {
                        assert_eq!(applied(&answers).0, number);
                    }
                }
                if caller % 2 == 1 {
                    (0..EACH).for_each(|number| assert_eq!(applied(&answers).0, number));
                }
            });
        }
    });
    let state = driver.stop().unwrap();
    let all = proposals(&journal);
    assert_eq!(all.len() as u64, CALLERS * EACH);
    for caller in 0..CALLERS {
        let prefix = format!("{caller}/");
        let own = all.iter().filter_map(|p| p.strip_prefix(&prefix)).map(|n| n.parse::<u64>().unwrap());
        assert!(own.eq(0..EACH), "caller {caller}");
    }
    assert!(state.at.index < CALLERS * EACH, "proposals share entries");
}

#[test]
fn a_lone_caller_carries_out_its_proposal_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (state, journal) = Recorder::new();
    let driver = start(config(dir.path(), 60), state).unwrap();
    let (answer, answers) = channel();
    let mut alone = 0;
    for caller in 0..300 {
        let ticket = Ticket { caller, answer: answer.clone() };
        let proposal = Bytes::from(format!("proposal {caller}"));
        driver.proposer().propose_alone(proposal, ticket, Room::Needs).unwrap();
        if driver.proposer().settle(true) {
            alone += 1;
            assert_eq!(answers.try_recv().map(|(caller, _)| caller), Ok(caller), "answered when it returns");
        } else {
            assert_eq!(applied(&answers).0, caller);
        }
    }
    assert!(alone > 0, "the driver is parked now and then");
    assert_eq!(driver.status().turns_by_callers(), alone);
    assert!(!driver.proposer().settle(true), "there is nothing to settle");
    driver.stop().unwrap();
    let expected: Vec<String> = (0..300).map(|caller| format!("proposal {caller}")).collect();
    assert_eq!(proposals(&journal), expected);
}

/// Runs a member that gets `count` proposals, and returns its state.
fn fill(config: replication::Config, state: Recorder, count: u64) -> Recorder {
    let driver = start(config, state).unwrap();
    let (answer, answers) = channel();
    for caller in 0..count {
        propose(&driver, caller, &answer);
        applied(&answers);
    }
    driver.stop().unwrap()
}

#[test]
fn a_restart_replays_exactly_what_the_state_does_not_have() {
    let dir = tempfile::tempdir().unwrap();
    let (state, journal) = Recorder::new();
    let end = fill(config(dir.path(), 3), state, 10);
    let whole = journal.lock().unwrap().clone();
    let seen = proposals(&journal);

    for (kept, (at, _)) in whole.applied.iter().enumerate() {
        let (mut state, journal) = Recorder::new();
        state.at = *at;
        state.conf_state = end.conf_state.clone();
        let driver = start(config(dir.path(), 100 + kept as u64), state).unwrap();
        let (answer, answers) = channel();
        propose(&driver, 0, &answer);
        applied(&answers);
        driver.stop().unwrap();
        let replayed = proposals(&journal);
        assert_eq!(replayed[..seen.len() - kept - 1], seen[kept + 1..], "state at {at:?}");
    }
}

#[test]
fn a_restart_with_nothing_new_replays_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let state = fill(config(dir.path(), 4), Recorder::new().0, 5);
    let (mut again, journal) = Recorder::new();
    (again.at, again.conf_state) = (state.at, state.conf_state);
    start(config(dir.path(), 5), again).unwrap().stop().unwrap();
    let journal = journal.lock().unwrap();
    assert!(journal.applied.is_empty() && journal.changes.is_empty());
    assert!(journal.empty.len() <= 1, "only a new leader's first entry: {:?}", journal.empty);
}

#[test]
fn dropped_without_stop_nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = HashSet::new();
    for round in 0..5 {
        let driver = start(config(dir.path(), 10 + round), Recorder::new().0).unwrap();
        let (answer, answers) = channel();
        let callers = round * 1000..round * 1000 + 300;
        callers.clone().for_each(|caller| propose(&driver, caller, &answer));
        for _ in 0..100 {
            acknowledged.insert(applied(&answers).0);
        }
        drop(driver);
        drop(answer);
        acknowledged.extend(answers.iter().map(|(caller, _)| caller));
    }
    let (state, journal) = Recorder::new();
    start(config(dir.path(), 20), state).unwrap().stop().unwrap();
    let all = proposals(&journal);
    let unique: HashSet<&String> = all.iter().collect();
    assert_eq!(unique.len(), all.len(), "nothing is applied twice");
    for caller in acknowledged {
        assert!(unique.contains(&format!("proposal {caller}")), "{caller} was acknowledged");
    }
}

#[test]
fn a_stop_answers_everything_queued() {
    let dir = tempfile::tempdir().unwrap();
    let (state, journal) = Recorder::new();
    let driver = start(config(dir.path(), 6), state).unwrap();
    let proposer = driver.proposer().clone();
    let (answer, answers) = channel();
    (0..500).for_each(|caller| propose(&driver, caller, &answer));
    driver.stop().unwrap();
    let ticket = Ticket { caller: 500, answer };
    let rejected = proposer.propose(Bytes::new(), ticket, Room::Needs).unwrap_err();
    assert_eq!(rejected.why, Refused::Stopped);
    drop(rejected);
    let answers: Vec<_> = answers.try_iter().collect();
    assert_eq!(answers.len(), 500);
    assert!(answers.iter().all(|(_, answer)| matches!(answer, Answer::Applied(_))));
    assert_eq!(proposals(&journal).len(), 500);
}

#[test]
fn reads_need_no_round_once_a_sole_voter_leads_and_see_what_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (state, journal) = Recorder::new();
    let driver = start(config(dir.path(), 7), state).unwrap();
    // Whether or not it leads yet, a read that waits is answered.
    let (done, answer) = channel();
    match driver.reads().read_index() {
        ReadGate::Now => {}
        ReadGate::Wait(wait) => {
            wait.then(move |index| done.send(index).unwrap());
            assert!(
                answer.recv_timeout(LOST).unwrap().unwrap() >= 2,
                "not before the first entry of its term"
            );
        }
    }
    let (answer, answers) = channel();
    for caller in 0..200 {
        propose(&driver, caller, &answer);
        applied(&answers);
        assert!(matches!(driver.reads().read_index(), ReadGate::Now));
        assert_eq!(journal.lock().unwrap().applied.len() as u64, caller + 1);
    }
    let reads = driver.reads().clone();
    driver.stop().unwrap();
    let ReadGate::Wait(wait) = reads.read_index() else { panic!("no reads after the end") };
    let (done, answer) = channel();
    wait.then(move |index| done.send(index).unwrap());
    assert_eq!(answer.recv_timeout(LOST).unwrap(), Err(Refused::Stopped));
}

#[test]
fn too_large_and_too_many_are_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (state, journal) = Recorder::new();
    let mut config = config(dir.path(), 8);
    config.limits.proposal_bytes = 1000;
    config.limits.pending_bytes = 3000;
    let driver = start(config, state).unwrap();
    let (answer, answers) = channel();
    let try_propose = |bytes: usize| {
        let ticket = Ticket { caller: 0, answer: answer.clone() };
        driver
            .proposer()
            .propose(Bytes::from(vec![0; bytes]), ticket, Room::Needs)
            .map_err(|rejected| rejected.why)
    };
    assert_eq!(try_propose(1001), Err(Refused::TooLarge));
    // Answers take the journal's lock: nothing is answered while it is held.
    let held = journal.lock().unwrap();
    let refused = (0..10).find_map(|_| try_propose(1000).err());
    assert_eq!(refused, Some(Refused::TooMany));
    drop(held);
    for _ in 0..3 {
        applied(&answers);
    }
    // Room is made before the answer goes out.
    assert_eq!(try_propose(1000), Ok(()));
    applied(&answers);
    let status = driver.status().clone();
    driver.stop().unwrap();
    assert_eq!((status.proposals_pending(), status.proposals_failed()), (0, 2));
}

#[test]
fn proposals_larger_than_a_batch_go_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (state, journal) = Recorder::new();
    let mut config = config(dir.path(), 9);
    config.limits.batch_bytes = 1000;
    let driver = start(config, state).unwrap();
    let (answer, answers) = channel();
    let sizes = [10, 2000, 10, 400, 400, 400, 1 << 20, 0, 0];
    for (caller, size) in sizes.into_iter().enumerate() {
        let ticket = Ticket { caller: caller as u64, answer: answer.clone() };
        driver.proposer().propose(Bytes::from(vec![caller as u8; size]), ticket, Room::Needs).unwrap();
    }
    for caller in 0..sizes.len() as u64 {
        assert_eq!(applied(&answers).0, caller);
    }
    driver.stop().unwrap();
    let journal = journal.lock().unwrap();
    assert!(journal.applied.iter().map(|(_, data)| data.len()).eq(sizes));
}

#[test]
fn a_learner_can_be_added_and_removed_and_the_change_survives() {
    let dir = tempfile::tempdir().unwrap();
    let (state, journal) = Recorder::new();
    let driver = start(config(dir.path(), 30), state).unwrap();
    let (answer, answers) = channel();
    let kinds = [MembershipKind::AddLearner, MembershipKind::Update, MembershipKind::Remove];
    // All at once: they are carried out one after the other.
    for kind in kinds {
        let change = MembershipChange { kind, member_id: 77, context: Bytes::from_static(b"it") };
        driver.proposer().propose_membership(change, Ticket { caller: 0, answer: answer.clone() }).unwrap();
    }
    let places: Vec<Position> = kinds.iter().map(|_| applied(&answers).1).collect();
    assert!(places.is_sorted());
    let after_first = {
        let journal = journal.lock().unwrap();
        assert!(journal.changes.iter().skip(1).map(|(_, change)| change.kind).eq(kinds));
        journal.changes[1].0
    };
    driver.stop().unwrap();

    // The state was stored when the learner was there: its membership counts, and the removal is replayed.
    let (mut state, journal) = Recorder::new();
    state.at = after_first;
    let membership = replication::Membership { voters: vec![IDENTITY.member_id], learners: vec![77] };
    state.conf_state = membership.encode();
    let end = start(config(dir.path(), 31), state).unwrap().stop().unwrap();
    assert_eq!(journal.lock().unwrap().changes.len(), 2);
    let membership = replication::Membership::decode(&end.conf_state).unwrap();
    assert_eq!((membership.voters, membership.learners), (vec![IDENTITY.member_id], vec![]));
}

#[test]
fn a_log_that_does_not_fit_the_state_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let state = fill(config(dir.path(), 40), Recorder::new().0, 5);
    let try_start = |at: Position, change: &dyn Fn(&mut replication::Config)| {
        let mut config = config(dir.path(), 41);
        change(&mut config);
        let (mut recorder, _) = Recorder::new();
        recorder.at = at;
        recorder.conf_state = state.conf_state.clone();
        start(config, recorder).map(drop).unwrap_err()
    };
    let ahead = Position { index: state.at.index + 100, term: state.at.term };
    assert!(
        matches!(try_start(ahead, &|_| {}), Error::LogBehindState { applied, .. } if applied == ahead.index)
    );
    let other_term = Position { index: state.at.index, term: state.at.term + 1 };
    assert!(matches!(try_start(other_term, &|_| {}), Error::TermMismatch { .. }));
    let foreign = |config: &mut replication::Config| config.identity.cluster_id += 1;
    assert!(matches!(try_start(state.at, &foreign), Error::ForeignLog { found_cluster: 0xc1, .. }));
    let missing = |config: &mut replication::Config| config.wal_dir.set_file_name("elsewhere");
    assert!(matches!(try_start(state.at, &missing), Error::LogBehindState { last: 0, .. }));
    assert!(!dir.path().join("elsewhere").exists(), "nothing is made for a state that has lost its log");
    let nonsense: [&dyn Fn(&mut replication::Config); 3] =
        [&|config| config.election_ticks = 1, &|config| config.limits.pending = 0, &|config| {
            config.wal.segment_bytes = 2 * config.limits.proposal_bytes as u64
        }];
    for nonsense in nonsense {
        assert!(matches!(try_start(state.at, nonsense), Error::Config(_)));
        // Before the log is looked at, and long before it is replayed.
        assert!(matches!(try_start(ahead, nonsense), Error::Config(_)));
    }
}

#[test]
fn what_is_released_is_not_replayed_and_not_needed() {
    let dir = tempfile::tempdir().unwrap();
    let small = |seed| {
        let mut config = config(dir.path(), seed);
        config.wal.segment_bytes = 64 << 10;
        config.limits.proposal_bytes = 8 << 10;
        config.limits.batch_bytes = 8 << 10;
        config
    };
    let (state, _) = Recorder::new();
    state.releases.store(true, Ordering::Relaxed);
    let driver = start(small(50), state).unwrap();
    let (answer, answers) = channel();
    for caller in 0..100 {
        let ticket = Ticket { caller, answer: answer.clone() };
        driver.proposer().propose(Bytes::from(vec![1; 8 << 10]), ticket, Room::Needs).unwrap();
        applied(&answers);
    }
    let end = driver.stop().unwrap();

    let behind = start(small(51), Recorder::new().0).map(drop).unwrap_err();
    assert!(matches!(behind, Error::StateBehindLog { applied: 0, first } if first > 50), "{behind}");
    let (mut state, journal) = Recorder::new();
    (state.at, state.conf_state) = (end.at, end.conf_state);
    let again = fill(small(52), state, 1);
    assert_eq!(proposals(&journal), ["proposal 0"]);
    assert!(again.at > end.at);
}
