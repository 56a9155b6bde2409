//! What a cluster must live through.

use super::*;

fn seeds() -> u64 {
    std::env::var("GRAVEN_SIM_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(40)
}

fn settled(voters: u64) -> Cluster {
    let mut cluster = Cluster::new(1, voters);
    cluster.calm(400).unwrap();
    cluster
}

#[test]
fn three_members_agree_whatever_happens() {
    let mut acknowledged = 0;
    let mut rounds = 0;
    for seed in 0..seeds() {
        let mut cluster = Cluster::new(seed, 3);
        cluster.run(6000).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        acknowledged += cluster.checks.fates.values().filter(|fate| matches!(fate, Fate::Applied(_))).count();
        rounds += cluster.checks.rounds_done;
    }
    let per_seed = |count: u64| count / seeds();
    assert!(per_seed(acknowledged as u64) > 20, "the runs do something: {acknowledged} applied");
    assert!(per_seed(rounds) > 5, "the runs do something: {rounds} reads");
}

#[test]
fn one_member_survives_any_crash() {
    for seed in 0..seeds() {
        let mut cluster = Cluster::new(seed, 1);
        cluster.run(3000).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

#[test]
fn a_seed_decides_everything() {
    let trace = |seed| {
        let mut cluster = Cluster::new(seed, 3);
        cluster.run(4000).unwrap();
        cluster.trace
    };
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}

#[test]
fn a_follower_passes_proposals_on_and_hears_of_them() {
    let mut cluster = settled(3);
    let leader = cluster.leader().unwrap();
    let follower = (leader + 1) % 3;
    let ticket = cluster.checks.fates.len() as u64;
    cluster.propose(follower);
    assert_eq!(cluster.checks.fates[&ticket], Fate::Pending);
    cluster.calm(30).unwrap();
    assert!(matches!(cluster.checks.fates[&ticket], Fate::Applied(_)));
}

#[test]
fn a_lost_proposal_is_refused_as_unknown() {
    let mut cluster = settled(3);
    let follower = (cluster.leader().unwrap() + 1) % 3;
    let ticket = cluster.checks.fates.len() as u64;
    cluster.propose(follower);
    cluster.take_output(follower);
    cluster.carry_out(follower).unwrap();
    assert!(cluster.network.iter().any(|message| message.kind == MessageKind::Propose));
    cluster.network.retain(|message| message.kind != MessageKind::Propose);
    cluster.calm(500).unwrap();
    assert_eq!(cluster.checks.fates[&ticket], Fate::Refused(Refused::LeaderChanged));
}

#[test]
fn a_deposed_leader_s_tail_is_replaced_and_its_callers_refused() {
    let mut cluster = settled(3);
    let old = cluster.leader().unwrap();
    cluster.cut_off.insert(cluster.members[old].id);
    let first = cluster.checks.fates.len() as u64;
    for _ in 0..3 {
        cluster.propose(old);
        cluster.take_output(old);
        cluster.carry_out(old).unwrap();
    }
    let tail = cluster.members[old].disk.entries.len();
    cluster.network.clear();
    // The other two go on without it.
    let others: Vec<usize> = (0..3).filter(|at| *at != old).collect();
    let mut new = None;
    for _ in 0..400 {
        for at in others.iter().copied() {
            cluster.tick(at);
            cluster.take_output(at);
            cluster.carry_out(at).unwrap();
        }
        let old_id = cluster.members[old].id;
        for message in std::mem::take(&mut cluster.network) {
            if message.to != old_id {
                cluster.hand_over(message).unwrap();
            }
        }
        new = others.iter().copied().find(|at| cluster.members[*at].node.as_ref().unwrap().is_leader());
    }
    let new = new.expect("two of three have a leader");
    let after = cluster.checks.fates.len() as u64;
    cluster.propose(new);
    cluster.calm(400).unwrap();
    for ticket in first..first + 3 {
        assert_eq!(cluster.checks.fates[&ticket], Fate::Refused(Refused::Overwritten));
    }
    assert!(matches!(cluster.checks.fates[&after], Fate::Applied(_)));
    let terms: Vec<u64> = cluster.members[old].disk.entries.iter().map(|entry| entry.term).collect();
    assert!(terms[tail - 3..].iter().all(|term| *term > terms[tail - 4]), "{terms:?}");
}

#[test]
fn leadership_can_be_handed_over_while_proposals_are_under_way() {
    let mut cluster = settled(3);
    let old = cluster.leader().unwrap();
    let heir = (old + 1) % 3;
    let ticket = cluster.checks.fates.len() as u64;
    cluster.propose(old);
    let heir_id = cluster.members[heir].id;
    cluster.members[old].node.as_mut().unwrap().transfer_leader(heir_id);
    cluster.calm(30).unwrap();
    assert_eq!(cluster.leader(), Some(heir));
    assert!(matches!(cluster.checks.fates[&ticket], Fate::Applied(_)), "the new leader commits it");
}

#[test]
fn a_leader_without_a_quorum_steps_down_and_confirms_no_read() {
    let mut cluster = settled(3);
    let old = cluster.leader().unwrap();
    cluster.cut_off.insert(cluster.members[old].id);
    let done = cluster.checks.rounds_done;
    cluster.read(old);
    for _ in 0..60 {
        cluster.tick(old);
        cluster.take_output(old);
        cluster.carry_out(old).unwrap();
        cluster.network.clear();
    }
    let node = cluster.members[old].node.as_ref().unwrap();
    assert!(!node.is_leader());
    assert_eq!(cluster.checks.rounds_done, done);
    assert!(cluster.members[old].rounds.is_empty(), "the caller has been told");
}

#[test]
fn members_come_and_go_one_at_a_time() {
    let mut cluster = settled(1);
    // A joining member learns the membership from the log.
    let empty = Disk::default();
    for id in [2, 3] {
        cluster.add_member(id, empty.clone());
        let leader = cluster.leader().unwrap();
        let ticket = cluster.propose_change(leader, MembershipKind::AddLearner, id);
        assert!(!cluster.members[leader].node.as_ref().unwrap().may_change_membership());
        cluster.calm(100).unwrap();
        assert!(matches!(cluster.checks.fates[&ticket], Fate::Applied(_)));
        let leader = cluster.leader().unwrap();
        cluster.propose_change(leader, MembershipKind::AddVoter, id);
        cluster.calm(100).unwrap();
    }
    for member in &cluster.members {
        assert_eq!(member.node.as_ref().unwrap().membership().voters, [1, 2, 3]);
    }
    let leader = cluster.leader().unwrap();
    let gone = (leader + 1) % 3;
    let gone_id = cluster.members[gone].id;
    cluster.propose_change(leader, MembershipKind::Remove, gone_id);
    cluster.calm(100).unwrap();
    cluster.crash(gone);
    cluster.members.remove(gone);
    let seed_before = cluster.trace;
    cluster.run(3000).unwrap();
    assert_ne!(cluster.trace, seed_before);
    assert_eq!(cluster.members[0].node.as_ref().unwrap().membership().voters.len(), 2);
}

#[test]
fn the_last_voter_can_t_be_removed() {
    let mut cluster = settled(1);
    let ticket = cluster.propose_change(0, MembershipKind::Remove, 1);
    cluster.calm(30).unwrap();
    assert!(matches!(cluster.checks.fates[&ticket], Fate::Applied(_)));
    assert_eq!(cluster.members[0].node.as_ref().unwrap().membership().voters, [1]);
    cluster.run(500).unwrap();
}
