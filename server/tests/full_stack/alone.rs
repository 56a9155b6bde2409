//! Whose thread carries a write out: the loop's for a client that is alone, the driver's as soon as there is another.

use api::etcdserverpb::kv_client::KvClient;
use tonic::transport::Channel;

use crate::member::{Running, put, run};

/// More than a connection has to be alone for.
const ROUNDS: usize = 100;

/// Every caller puts once, all at the same time, and again when all were answered.
async fn rounds(callers: &[KvClient<Channel>]) {
    for round in 0..ROUNDS {
        let mut calls = tokio::task::JoinSet::new();
        for (at, kv) in callers.iter().enumerate() {
            let mut kv = kv.clone();
            calls.spawn(async move { kv.put(put(&format!("k{at}"), &round.to_string())).await.map(drop) });
        }
        while let Some(ended) = calls.join_next().await {
            ended.unwrap().unwrap();
        }
    }
}

#[test]
fn only_a_client_that_is_alone_is_served_on_its_loop() {
    run(|folder| async move {
        let member = Running::start(folder.path());
        let one = KvClient::new(member.channel().await);
        rounds(&vec![one.clone(); 16]).await;
        assert_eq!(member.loop_turns(), 0, "sixteen calls at a time on one connection");
        let one = [one];
        rounds(&one).await;
        let turns = member.loop_turns();
        assert!(turns > 0 && turns < ROUNDS as u64, "after a while alone, not at once: {turns}");
        let mut many = Vec::new();
        for _ in 0..16 {
            many.push(KvClient::new(member.channel().await));
        }
        rounds(&many).await;
        assert_eq!(member.loop_turns(), turns, "sixteen connections");
        // What those ask for would wait with the loop, whenever they do.
        rounds(&one).await;
        assert_eq!(member.loop_turns(), turns, "beside idle connections");
        drop(many);
        // Their ends take a moment to arrive.
        for _ in 0..100 {
            rounds(&one).await;
            if member.loop_turns() > turns {
                break;
            }
        }
        assert!(member.loop_turns() > turns, "alone again");
        member.stop();
    });
}
