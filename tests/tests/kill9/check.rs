//! Judges one round from what the clients were told and what the server holds afterwards.
//!
//! The replayed history is the server's own account. It must hold every acknowledged write at its revision, exactly as
//! written; anything else in it must be a write that was under way when the server died. A watcher that was there before
//! and resumed must have seen exactly this account. Playing it on the state before the round must give the state after.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use api::mvccpb::{Event, KeyValue, event::EventType};
use bytes::Bytes;

/// A write of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// Key, value, lease.
    Put(Bytes, Bytes, i64),
    Delete(Bytes),
    /// Puts of different keys in one transaction.
    Txn(Vec<(Bytes, Bytes, i64)>),
    Grant(i64),
    Revoke(i64),
}

/// A write the server acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Ack {
    pub(crate) revision: i64,
    pub(crate) write: Write,
}

/// Everything a server holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) revision: i64,
    pub(crate) keys: BTreeMap<Bytes, KeyValue>,
    /// The keys each lease says are its own, sorted.
    pub(crate) leases: BTreeMap<i64, Vec<Bytes>>,
}

/// What is known about a round.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) acks: Vec<Ack>,
    /// Sent and not answered: at most one of each client.
    pub(crate) pending: Vec<Write>,
    /// The events of the watcher that was there all the time.
    pub(crate) resumed: Vec<Event>,
    /// The events of a watcher that began after the kill with the first revision of the round.
    pub(crate) replayed: Vec<Event>,
    pub(crate) after: State,
}

/// Whether the server kept its word from `base` through the round.
pub(crate) fn verdict(base: &State, round: &Round) -> anyhow::Result<()> {
    let highest = round.acks.iter().map(|ack| ack.revision).max().unwrap_or(0);
    let revision = round.after.revision;
    ensure!(
        revision >= base.revision && revision >= highest,
        "revision {revision} after {highest} was acknowledged"
    );
    watchers_agree(&round.resumed, &round.replayed)?;

    let mut acked: BTreeMap<i64, &Write> = BTreeMap::new();
    for Ack { revision, write } in &round.acks {
        if changes_keys(write, base, &round.replayed, *revision) {
            let other = acked.insert(*revision, write);
            ensure!(other.is_none(), "revision {revision} was acknowledged for {write:?} and for {other:?}");
        }
    }
    let mut pending = round.pending.clone();
    let mut keys = base.keys.clone();
    let mut last = base.revision;
    for events in round.replayed.chunk_by(|a, b| modified(a) == modified(b)) {
        let revision = modified(&events[0]);
        ensure!(revision == last + 1, "the history goes from revision {last} to {revision}");
        last = revision;
        match acked.remove(&revision) {
            Some(write) => {
                ensure!(
                    matches(write, events, &keys),
                    "revision {revision} was acknowledged for {write:?} but holds {events:?}"
                );
            }
            None => {
                let at = pending
                    .iter()
                    .position(|write| matches(write, events, &keys))
                    .with_context(|| format!("nobody wrote what revision {revision} holds: {events:?}"))?;
                pending.swap_remove(at);
            }
        }
        for event in events {
            play(&mut keys, event)?;
        }
    }
    ensure!(last == revision, "the history ends with revision {last}, the server says {revision}");
    if let Some((revision, write)) = acked.first_key_value() {
        bail!("revision {revision}, acknowledged for {write:?}, is not in the history");
    }
    for (key, kv) in &keys {
        ensure!(
            round.after.keys.get(key) == Some(kv),
            "{kv:?} should be there, there is {:?}",
            round.after.keys.get(key)
        );
    }
    ensure!(
        keys.len() == round.after.keys.len(),
        "there are {} keys, not {}",
        round.after.keys.len(),
        keys.len()
    );
    leases(base, round)
}

fn modified(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}

fn watchers_agree(resumed: &[Event], replayed: &[Event]) -> anyhow::Result<()> {
    for (at, event) in replayed.iter().enumerate() {
        ensure!(
            resumed.get(at) == Some(event),
            "event {at} of the round is {event:?}, but the resumed watcher saw {:?} after {:?}",
            resumed.get(at),
            at.checked_sub(1).and_then(|before| resumed.get(before))
        );
    }
    ensure!(
        resumed.len() == replayed.len(),
        "the resumed watcher saw more: {:?}",
        &resumed[replayed.len()..]
    );
    Ok(())
}

/// A grant has no revision of its own, and a revocation only when the lease had keys.
fn changes_keys(write: &Write, base: &State, replayed: &[Event], revision: i64) -> bool {
    match write {
        Write::Grant(_) => false,
        Write::Revoke(id) => {
            let mut keys = base.keys.clone();
            for event in replayed.iter().take_while(|event| modified(event) < revision) {
                // What cannot be played is reported by the main pass.
                _ = play(&mut keys, event);
            }
            // The header of a revocation without keys repeats the revision of some other write.
            keys.values().any(|kv| kv.lease == *id)
        }
        _ => true,
    }
}

/// Whether `events`, of one revision, are what `write` does to `keys`.
fn matches(write: &Write, events: &[Event], keys: &BTreeMap<Bytes, KeyValue>) -> bool {
    let is_put = |event: &Event, key: &Bytes, value: &Bytes, lease: i64| {
        event.r#type() == EventType::Put
            && event.kv.as_ref().is_some_and(|kv| kv.key == key && kv.value == value && kv.lease == lease)
    };
    let is_delete = |event: &Event, key: &Bytes| {
        event.r#type() == EventType::Delete && event.kv.as_ref().is_some_and(|kv| kv.key == key)
    };
    match write {
        Write::Put(key, value, lease) => events.len() == 1 && is_put(&events[0], key, value, *lease),
        Write::Delete(key) => events.len() == 1 && is_delete(&events[0], key),
        Write::Txn(puts) => {
            events.len() == puts.len()
                && events
                    .iter()
                    .zip(puts)
                    .all(|(event, (key, value, lease))| is_put(event, key, value, *lease))
        }
        Write::Grant(_) => false,
        Write::Revoke(id) => {
            let owned: Vec<_> = keys.values().filter(|kv| kv.lease == *id).map(|kv| &kv.key).collect();
            events.len() == owned.len() && events.iter().zip(owned).all(|(event, key)| is_delete(event, key))
        }
    }
}

fn play(keys: &mut BTreeMap<Bytes, KeyValue>, event: &Event) -> anyhow::Result<()> {
    let kv = event.kv.as_ref().context("an event has a key")?;
    let old = keys.remove(&kv.key);
    if event.r#type() == EventType::Delete {
        ensure!(old.is_some(), "{event:?} deletes what is not there");
        return Ok(());
    }
    let (create, version) = old.map_or((kv.mod_revision, 1), |old| (old.create_revision, old.version + 1));
    ensure!(
        kv.create_revision == create && kv.version == version,
        "{kv:?} should be version {version} since {create}"
    );
    keys.insert(kv.key.clone(), kv.clone());
    Ok(())
}

fn leases(base: &State, round: &Round) -> anyhow::Result<()> {
    let mut expected: BTreeMap<i64, bool> = base.leases.keys().map(|id| (*id, true)).collect();
    for Ack { write, .. } in &round.acks {
        match write {
            Write::Grant(id) => _ = expected.insert(*id, true),
            Write::Revoke(id) => _ = expected.insert(*id, false),
            _ => {}
        }
    }
    let unsure =
        |id: i64| round.pending.iter().any(|write| *write == Write::Grant(id) || *write == Write::Revoke(id));
    for (id, there) in &expected {
        ensure!(
            unsure(*id) || round.after.leases.contains_key(id) == *there,
            "lease {id} should be there: {there}"
        );
    }
    for (id, said) in &round.after.leases {
        ensure!(unsure(*id) || expected.contains_key(id), "nobody granted lease {id}");
        let owned: Vec<_> =
            round.after.keys.values().filter(|kv| kv.lease == *id).map(|kv| kv.key.clone()).collect();
        ensure!(*said == owned, "lease {id} has the keys {said:?}, but {owned:?} are attached to it");
    }
    for kv in round.after.keys.values().filter(|kv| kv.lease != 0) {
        ensure!(
            round.after.leases.contains_key(&kv.lease),
            "{kv:?} is attached to a lease that does not exist"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(
        key: &'static str,
        value: &'static str,
        create: i64,
        revision: i64,
        version: i64,
        lease: i64,
    ) -> Event {
        let kv = KeyValue {
            key: key.into(),
            value: value.into(),
            create_revision: create,
            mod_revision: revision,
            version,
            lease,
        };
        Event { r#type: 0, kv: Some(kv), prev_kv: None }
    }

    fn delete(key: &'static str, revision: i64) -> Event {
        let kv = KeyValue { key: key.into(), mod_revision: revision, ..Default::default() };
        Event { r#type: 1, kv: Some(kv), prev_kv: None }
    }

    fn ack(revision: i64, write: Write) -> Ack {
        Ack { revision, write }
    }

    /// A round in which everything is right: puts, a delete, a txn, a write under way that got through, leases.
    fn good() -> (State, Round) {
        let base = State { revision: 1, leases: [(7, vec![]), (8, vec![])].into(), ..State::default() };
        let history = vec![
            put("a", "1", 2, 2, 1, 7),
            put("b", "2", 3, 3, 1, 8),
            put("a", "3", 2, 4, 2, 7),
            delete("b", 5),
            put("c", "4", 6, 6, 1, 8),
            put("d", "4", 6, 6, 1, 0),
            delete("c", 7),
            put("e", "5", 8, 8, 1, 0),
        ];
        let keys = [&history[2], &history[5], &history[7]].map(|event| event.kv.clone().unwrap());
        let after = State {
            revision: 8,
            keys: keys.into_iter().map(|kv| (kv.key.clone(), kv)).collect(),
            leases: [(7, vec!["a".into()]), (9, vec![])].into(),
        };
        let round = Round {
            acks: vec![
                ack(2, Write::Put("a".into(), "1".into(), 7)),
                ack(3, Write::Put("b".into(), "2".into(), 8)),
                ack(4, Write::Put("a".into(), "3".into(), 7)),
                ack(4, Write::Grant(9)),
                ack(5, Write::Delete("b".into())),
                ack(6, Write::Txn(vec![("c".into(), "4".into(), 8), ("d".into(), "4".into(), 0)])),
                ack(7, Write::Revoke(8)),
            ],
            pending: vec![Write::Put("x".into(), "lost".into(), 0), Write::Put("e".into(), "5".into(), 0)],
            resumed: history.clone(),
            replayed: history,
            after,
        };
        (base, round)
    }

    #[test]
    fn a_good_round_passes() {
        let (base, round) = good();
        verdict(&base, &round).unwrap();
    }

    /// Each planted fault, one a time, is found, and for its own reason.
    #[test]
    fn every_planted_fault_is_found() {
        type Fault = (&'static str, fn(&mut Round), &'static str);
        let faults: &[Fault] = &[
            (
                "acknowledged write lost at the end",
                |r| {
                    r.acks.push(ack(9, Write::Put("z".into(), "9".into(), 0)));
                },
                "revision 8 after 9",
            ),
            (
                "acknowledged write not in the history",
                |r| {
                    r.acks[2] = ack(8, Write::Put("q".into(), "9".into(), 0));
                },
                "nobody wrote what revision 4",
            ),
            (
                "value altered",
                |r| {
                    for list in [&mut r.resumed, &mut r.replayed] {
                        list[1].kv.as_mut().unwrap().value = "other".into();
                    }
                },
                "revision 3 was acknowledged",
            ),
            (
                "value altered in the state only",
                |r| {
                    r.after.keys.get_mut(&Bytes::from("a")).unwrap().value = "other".into();
                },
                "should be there, there is",
            ),
            (
                "key resurrected",
                |r| {
                    let kv = r.replayed[1].kv.clone().unwrap();
                    r.after.keys.insert(kv.key.clone(), kv);
                },
                "there are 4 keys",
            ),
            ("event seen twice", |r| r.resumed.insert(3, r.resumed[2].clone()), "the resumed watcher saw"),
            ("event missed", |r| _ = r.resumed.remove(3), "the resumed watcher saw"),
            ("events swapped", |r| r.resumed.swap(2, 3), "the resumed watcher saw"),
            ("event seen that is gone", |r| r.resumed.push(put("y", "9", 9, 9, 1, 0)), "saw more"),
            (
                "half a transaction",
                |r| {
                    r.resumed.remove(5);
                    r.replayed.remove(5);
                },
                "revision 6 was acknowledged",
            ),
            (
                "revision left out",
                |r| {
                    r.resumed.remove(3);
                    r.replayed.remove(3);
                },
                "from revision 4 to 6",
            ),
            ("write of nobody", |r| r.pending.clear(), "nobody wrote what revision 8"),
            ("revision lower", |r| r.after.revision = 7, "the history ends with revision 8"),
            (
                "one revision for two",
                |r| {
                    r.acks.push(ack(3, Write::Put("z".into(), "9".into(), 0)));
                },
                "revision 3 was acknowledged for",
            ),
            ("lease gone", |r| _ = r.after.leases.remove(&9), "lease 9 should be there"),
            ("lease back", |r| _ = r.after.leases.insert(8, vec![]), "lease 8 should be there"),
            ("lease without its key", |r| _ = r.after.leases.insert(7, vec![]), "are attached to it"),
            (
                "version wrong",
                |r| {
                    for list in [&mut r.resumed, &mut r.replayed] {
                        list[2].kv.as_mut().unwrap().version = 3;
                    }
                },
                "should be version 2",
            ),
        ];
        for (name, plant, reason) in faults {
            let (base, mut round) = good();
            plant(&mut round);
            let found = verdict(&base, &round).expect_err(name);
            assert!(format!("{found:#}").contains(reason), "{name}: {found:#}");
        }
    }
}
