//! Messages that no honest member sends. A member may drop them or believe them, but it never panics.

use super::*;

fn kinds() -> [MessageKind; 13] {
    use MessageKind::{
        Append, AppendResponse, Heartbeat, HeartbeatResponse, PreVote, PreVoteResponse, Propose, ReadRequest,
        ReadResponse, TimeoutNow, TransferLeader, Vote, VoteResponse,
    };
    [
        Append,
        AppendResponse,
        Heartbeat,
        HeartbeatResponse,
        PreVote,
        PreVoteResponse,
        Propose,
        ReadRequest,
        ReadResponse,
        TimeoutNow,
        TransferLeader,
        Vote,
        VoteResponse,
    ]
}

fn number(rng: &mut ChaCha8Rng, near: u64) -> u64 {
    match rng.random_range(0..20) {
        0 => u64::MAX,
        1 => 0,
        2 => rng.random(),
        3 => near.saturating_add(1000),
        _ => near.saturating_add(rng.random_range(0..6)).saturating_sub(3),
    }
}

fn entries(rng: &mut ChaCha8Rng, index: u64, log_term: u64, term: u64) -> Vec<Entry> {
    let count = rng.random_range(0..4);
    let mut index = index;
    let mut last_term = log_term;
    let mut entry = |_| {
        index = if rng.random_ratio(1, 20) { number(rng, index) } else { index.saturating_add(1) };
        last_term = if rng.random_ratio(1, 20) { number(rng, term) } else { last_term.max(1) };
        let id = crate::batch::BatchId { origin: 9, incarnation: 9, sequence: rng.random_range(0..9) };
        let (kind, data) = match rng.random_range(0..8) {
            0 => (EntryKind::Membership, Bytes::from_static(b"nonsense")),
            1 => (EntryKind::Proposals, Bytes::from_static(b"nonsense")),
            2 => {
                let kinds = [MembershipKind::AddVoter, MembershipKind::AddLearner, MembershipKind::Remove];
                let kind = kinds[rng.random_range(0..3)];
                let change =
                    MembershipChange { kind, member_id: rng.random_range(1..6), context: Bytes::new() };
                (EntryKind::Membership, encode_change(id, &change))
            }
            3 => (EntryKind::Proposals, Bytes::new()),
            _ => {
                let mut batch = BatchWriter::with_capacity(0);
                batch.push(&b"a proposal"[..]);
                (EntryKind::Proposals, batch.finish(id))
            }
        };
        Entry { index, term: last_term, kind, data }
    };
    (0..count).map(&mut entry).collect()
}

fn message(rng: &mut ChaCha8Rng, node: &Node, id: u64) -> Message {
    let kind = kinds()[rng.random_range(0..13)];
    let no_term = matches!(kind, MessageKind::Propose | MessageKind::ReadRequest | MessageKind::ReadResponse);
    let term = if no_term && rng.random_ratio(9, 10) { 0 } else { number(rng, node.term()) };
    let index = number(rng, node.last_index());
    let log_term = number(rng, node.term());
    let with_entries = matches!(kind, MessageKind::Append | MessageKind::Propose) || rng.random_ratio(1, 20);
    Message {
        to: if rng.random_ratio(1, 50) { number(rng, id) } else { id },
        from: rng.random_range(0..5),
        term,
        log_term,
        index,
        entries: if with_entries { entries(rng, index, log_term, term) } else { Vec::new() },
        commit: number(rng, node.commit()),
        commit_term: number(rng, node.term()),
        reject: rng.random_ratio(1, 3),
        reject_hint: number(rng, node.last_index()),
        request_snapshot: if rng.random_ratio(1, 20) { number(rng, 1) } else { 0 },
        priority: if rng.random_ratio(1, 20) { rng.random_range(-1..2) } else { 0 },
        context: if rng.random_ratio(1, 5) { Bytes::from_static(b"CampaignTransfer") } else { Bytes::new() },
        ..Message::empty(kind)
    }
}

fn carry_out_all(node: &mut Node, disk: &mut Disk, applied: &mut u64) {
    node.campaign_if_alone();
    while let Some(output) = node.ready() {
        disk.write(&output.persist);
        node.persisted(output.number);
        for entry in output.committed {
            assert_eq!(entry.index, *applied + 1);
            *applied = entry.index;
            if entry.kind == EntryKind::Membership {
                let (_, change) = decode_change(entry.data).expect("inspected");
                node.apply_membership(&change);
            }
        }
        node.applied(*applied);
    }
}

#[test]
fn no_message_of_a_peer_ends_the_process() {
    let seeds = std::env::var("GRAVEN_SIM_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(40);
    let mut believed = 0;
    for seed in 0..seeds {
        println!("seed {seed}");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let voters = if seed % 4 == 0 { vec![1] } else { vec![1, 2, 3] };
        let membership = Membership { voters, learners: vec![] };
        let config =
            NodeConfig { id: 1, election_ticks: 5, seed, uncommitted_bytes: 64 << 20, committed_bytes: 1000 };
        let mut disk = Disk::default();
        let mut node = Node::new(&config, Restored { membership, ..Restored::default() }).unwrap();
        let mut applied = 0;
        for _ in 0..3000 {
            match rng.random_range(0..20) {
                0 | 1 => node.tick(),
                2 => drop(node.propose(Bytes::new())),
                3 => node.transfer_leader(rng.random_range(1..5)),
                4 => node.read_round(rng.random()),
                5 => node.unreachable(rng.random_range(1..5)),
                _ => {
                    let message = message(&mut rng, &node, 1);
                    believed += u64::from(node.step(message).is_ok());
                }
            }
            if rng.random_ratio(2, 3) {
                carry_out_all(&mut node, &mut disk, &mut applied);
            }
        }
    }
    assert!(believed > seeds * 100, "most of it is not even well-formed: {believed}");
}

#[test]
fn what_would_end_raft_is_dropped_by_name() {
    use crate::Dropped;
    let mut cluster = Cluster::new(3, 3);
    cluster.calm(400).unwrap();
    let leader = cluster.leader().unwrap();
    let follower = (leader + 1) % 3;
    let (leader_id, follower_id) = (cluster.members[leader].id, cluster.members[follower].id);
    let node = cluster.members[follower].node.as_mut().unwrap();
    let (term, last) = (node.term(), node.last_index());
    let from_leader = |kind| Message { to: follower_id, from: leader_id, term, ..Message::empty(kind) };

    let lost_tail = Message { commit: last + 1, ..from_leader(MessageKind::Heartbeat) };
    assert_eq!(node.step(lost_tail), Err(Dropped::CommitBeyondLog));
    let handed_on = from_leader(MessageKind::TransferLeader);
    assert_eq!(node.step(handed_on), Err(Dropped::NotLeader));
    let without_term = Message { term: 0, ..from_leader(MessageKind::Append) };
    assert_eq!(node.step(without_term), Err(Dropped::Term));
    let entry = Entry { index: last + 2, term, kind: EntryKind::Proposals, data: Bytes::new() };
    let gap =
        Message { index: last, log_term: term, entries: vec![entry], ..from_leader(MessageKind::Append) };
    assert_eq!(node.step(gap), Err(Dropped::Entries));
    let nowhere = Message { index: last + 5, log_term: 0, ..from_leader(MessageKind::Append) };
    assert_eq!(node.step(nowhere), Err(Dropped::Term));
    let own = Message { from: follower_id, ..from_leader(MessageKind::Heartbeat) };
    assert_eq!(node.step(own), Err(Dropped::Address));

    let node = cluster.members[leader].node.as_mut().unwrap();
    let to_leader = |kind| Message { to: leader_id, from: follower_id, term, ..Message::empty(kind) };
    let beyond = Message { index: last + 1, ..to_leader(MessageKind::AppendResponse) };
    assert_eq!(node.step(beyond), Err(Dropped::AckBeyondLog));
    let empty = Message { term: 0, ..to_leader(MessageKind::Propose) };
    assert_eq!(node.step(empty), Err(Dropped::Entries));
}
