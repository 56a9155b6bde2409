//! What a watcher sees: exact responses, and against a plain list of all events under random stalls and compactions.

use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use api::mvccpb::event::EventType;
use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::time::Duration;

use super::harness::Harness;

fn create(key: &str) -> WatchCreateRequest {
    WatchCreateRequest { key: Bytes::copy_from_slice(key.as_bytes()), ..WatchCreateRequest::default() }
}

fn request(create: WatchCreateRequest) -> WatchRequest {
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
}

fn cancel(watch_id: i64) -> WatchRequest {
    WatchRequest { request_union: Some(RequestUnion::CancelRequest(WatchCancelRequest { watch_id })) }
}

fn progress() -> WatchRequest {
    WatchRequest { request_union: Some(RequestUnion::ProgressRequest(WatchProgressRequest {})) }
}

/// One line a response: `#id rN [created] [canceled[=reason]] [compacted=N] [more] events`.
fn lines(responses: &[WatchResponse]) -> Vec<String> {
    responses.iter().map(line).collect()
}

fn line(r: &WatchResponse) -> String {
    let mut text = format!("#{} r{}", r.watch_id, r.header.as_ref().map_or(-1, |h| h.revision));
    if r.created {
        text.push_str(" created");
    }
    if r.canceled {
        text.push_str(" canceled");
    }
    if !r.cancel_reason.is_empty() {
        text.push_str(&format!("={}", r.cancel_reason));
    }
    if r.compact_revision != 0 {
        text.push_str(&format!(" compacted={}", r.compact_revision));
    }
    if r.fragment {
        text.push_str(" more");
    }
    for event in &r.events {
        let kv = event.kv.as_ref().expect("an event has a key");
        let key = String::from_utf8_lossy(&kv.key);
        match event.r#type() {
            EventType::Put => {
                text.push_str(&format!(
                    " {key}={}@{}v{}",
                    String::from_utf8_lossy(&kv.value),
                    kv.mod_revision,
                    kv.version
                ));
            }
            EventType::Delete => text.push_str(&format!(" -{key}@{}", kv.mod_revision)),
        }
        if let Some(previous) = &event.prev_kv {
            text.push_str(&format!(
                "(was {}@{})",
                String::from_utf8_lossy(&previous.value),
                previous.mod_revision
            ));
        }
    }
    text
}

fn step(h: &mut Harness) {
    h.publish();
    h.turn();
}

#[test]
fn live_events_come_one_revision_a_response() {
    let mut h = Harness::new(usize::MAX);
    let s = h.open();
    h.request(s, &request(WatchCreateRequest { range_end: Bytes::from_static(b"c"), ..create("a") }));
    h.put(b"a", b"1");
    h.put_all(&[b"b", b"a"], b"2");
    h.put(b"c", b"3");
    h.delete(&[b"a", b"b", b"c"]);
    step(&mut h);
    assert_eq!(
        lines(&h.responses(s)),
        ["#0 r1 created", "#0 r2 a=1@2v1", "#0 r3 b=2@3v1 a=2@3v2", "#0 r5 -a@5 -b@5"]
    );
}

#[test]
fn history_comes_first_and_then_what_is_new() {
    let mut h = Harness::new(usize::MAX);
    let s = h.open();
    for value in [b"1", b"2", b"3"] {
        h.put(b"a", value);
    }
    step(&mut h);
    h.request(s, &request(WatchCreateRequest { start_revision: 3, prev_kv: true, ..create("a") }));
    h.put(b"a", b"4");
    step(&mut h);
    assert_eq!(
        lines(&h.responses(s)),
        ["#0 r4 created", "#0 r4 a=2@3v2(was 1@2) a=3@4v3(was 2@3)", "#0 r5 a=4@5v4(was 3@4)"]
    );
}

#[test]
fn a_future_start_is_silent_until_then() {
    let mut h = Harness::new(usize::MAX);
    let s = h.open();
    h.request(s, &request(WatchCreateRequest { start_revision: 4, ..create("a") }));
    h.request(s, &progress());
    for value in [b"1", b"2", b"3"] {
        h.put(b"a", value);
        step(&mut h);
    }
    assert_eq!(lines(&h.responses(s)), ["#0 r1 created", "#0 r4 a=3@4v3"]);
}

#[test]
fn refused_creations_leave_the_stream_open() {
    let mut h = Harness::new(usize::MAX);
    let s = h.open();
    let before_start = WatchCreateRequest { start_revision: -1, ..create("a") };
    let empty = WatchCreateRequest { range_end: Bytes::from_static(b"a"), ..create("b") };
    let chosen = WatchCreateRequest { watch_id: 7, ..create("a") };
    for create in [before_start, empty, chosen.clone(), chosen, create("a")] {
        h.request(s, &request(create));
    }
    assert_eq!(
        lines(&h.responses(s)),
        [
            "#-1 r1 created canceled=etcdserver: mvcc: required revision has been compacted",
            "#-1 r1 created canceled=mvcc: watcher range is empty",
            "#7 r1 created",
            "#-1 r1 created canceled=mvcc: duplicate watch ID provided on the WatchStream",
            "#0 r1 created",
        ]
    );
    assert!(h.ended(s).is_none());
    assert_eq!(h.hub.counters().watchers.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[test]
fn automatic_ids_skip_chosen_ones() {
    let mut h = Harness::new(usize::MAX);
    let s = h.open();
    for watch_id in [1, 0, 0, 0] {
        h.request(s, &request(WatchCreateRequest { watch_id, ..create("a") }));
    }
    let ids: Vec<_> = h.responses(s).iter().map(|r| r.watch_id).collect();
    assert_eq!(ids, [1, 0, 2, 3]);
}

#[test]
fn a_start_before_the_compaction_is_canceled_with_its_revision() {
    let mut h = Harness::new(usize::MAX);
    let s = h.open();
    for value in [b"1", b"2", b"3"] {
        h.put(b"a", value);
    }
    h.compact(3);
    step(&mut h);
    for start_revision in [2, 3] {
        h.request(s, &request(WatchCreateRequest { start_revision, prev_kv: true, ..create("a") }));
    }
    assert_eq!(
        lines(&h.responses(s)),
        ["#0 r4 created", "#0 r0 canceled compacted=3", "#1 r4 created", "#1 r4 a=2@3v2 a=3@4v3(was 2@3)"]
    );
}

#[test]
fn the_id_of_a_compacted_watcher_stays_taken_until_it_is_canceled() {
    let mut h = Harness::new(usize::MAX);
    let s = h.open();
    for value in [b"1", b"2"] {
        h.put(b"a", value);
    }
    h.compact(3);
    step(&mut h);
    let lost = WatchCreateRequest { start_revision: 2, watch_id: 1, ..create("a") };
    h.request(s, &request(lost.clone()));
    h.request(s, &request(lost));
    for _ in 0..2 {
        h.request(s, &request(create("a")));
    }
    h.request(s, &progress());
    for _ in 0..2 {
        h.request(s, &cancel(1));
    }
    h.request(s, &progress());
    assert_eq!(
        lines(&h.responses(s)),
        [
            "#1 r3 created",
            "#1 r0 canceled compacted=3",
            "#-1 r3 created canceled=mvcc: duplicate watch ID provided on the WatchStream",
            "#0 r3 created",
            "#2 r3 created",
            "#1 r3 canceled",
            "#-1 r3",
        ]
    );
}

#[test]
fn canceling_is_answered_once_and_only_for_known_ids() {
    let mut h = Harness::new(usize::MAX);
    let s = h.open();
    h.request(s, &request(create("a")));
    h.put(b"a", b"1");
    h.publish();
    for id in [5, 0, 0] {
        h.request(s, &cancel(id));
    }
    h.turn();
    assert_eq!(lines(&h.responses(s)), ["#0 r1 created", "#0 r2 canceled"]);
    assert_eq!(h.hub.counters().watchers.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn filters_drop_events_and_empty_responses() {
    let mut h = Harness::new(usize::MAX);
    let s = h.open();
    for filters in [vec![0], vec![1], vec![0, 1], vec![9]] {
        h.request(s, &request(WatchCreateRequest { filters, ..create("a") }));
    }
    h.put(b"a", b"1");
    h.delete(&[b"a"]);
    step(&mut h);
    let mut seen = lines(&h.responses(s)).split_off(4);
    seen.sort();
    assert_eq!(seen, ["#0 r3 -a@3", "#1 r2 a=1@2v1", "#3 r2 a=1@2v1", "#3 r3 -a@3"]);
}

#[test]
fn progress_waits_for_events_that_are_on_their_way() {
    let mut h = Harness::new(usize::MAX);
    let s = h.open();
    h.request(s, &progress());
    h.request(s, &request(create("a")));
    h.request(s, &progress());
    h.put(b"a", b"1");
    h.put(b"b", b"1");
    h.publish();
    h.request(s, &progress());
    assert_eq!(lines(&h.responses(s)), ["#0 r1 created", "#-1 r1"]);
    h.turn();
    assert_eq!(lines(&h.responses(s)), ["#0 r2 a=1@2v1", "#-1 r3"]);
}

#[test]
fn periodic_progress_goes_to_quiet_watchers_that_want_it() {
    let mut h = Harness::new(usize::MAX);
    let s = h.open();
    for (key, progress_notify) in [("a", true), ("b", true), ("c", false)] {
        h.request(s, &request(WatchCreateRequest { progress_notify, ..create(key) }));
    }
    h.put(b"a", b"1");
    step(&mut h);
    h.responses(s);
    h.now += Duration::from_secs(661);
    h.turn();
    assert_eq!(lines(&h.responses(s)), ["#1 r2"]);
    h.now += Duration::from_secs(661);
    h.turn();
    assert_eq!(lines(&h.responses(s)), ["#0 r2", "#1 r2"]);
}

#[test]
fn a_stalled_client_holds_nothing_up_and_catches_up() {
    let mut h = Harness::new(usize::MAX);
    let (slow, fast) = (h.open(), h.open());
    for s in [slow, fast] {
        h.request(s, &request(create("a")));
        h.responses(s);
    }
    h.stall(slow, true);
    for n in 0..500 {
        h.put(b"a", format!("{n:0100}").as_bytes());
        step(&mut h);
    }
    assert_eq!(h.responses(fast).len(), 500);
    assert!(h.buffered(slow) < 1024, "{} bytes wait for a client that reads nothing", h.buffered(slow));
    let early = h.responses(slow);
    h.stall(slow, false);
    h.turn();
    let late = h.responses(slow);
    let revisions: Vec<_> = early
        .iter()
        .chain(&late)
        .flat_map(|r| &r.events)
        .map(|e| e.kv.as_ref().unwrap().mod_revision)
        .collect();
    assert_eq!(revisions, (2..502).collect::<Vec<_>>());
    assert_eq!(h.hub.counters().lagging.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn closing_leaves_nothing_behind() {
    let mut h = Harness::new(usize::MAX);
    for _ in 0..3 {
        let s = h.open();
        for key in ["a", "b"] {
            h.request(s, &request(WatchCreateRequest { start_revision: 1, ..create(key) }));
        }
        h.close(s);
    }
    let counters = h.hub.counters();
    for counter in [&counters.streams, &counters.watchers, &counters.lagging] {
        assert_eq!(counter.load(std::sync::atomic::Ordering::Relaxed), 0);
    }
    assert!(!h.hub.expects_events(crate::loops::LoopId(0)));
}

#[test]
fn a_message_that_is_no_watch_request_ends_the_stream() {
    let mut h = Harness::new(usize::MAX);
    let s = h.open();
    h.raw(s, b"\xff\xff\xff");
    assert!(h.ended(s).is_some());
}

/// What a watcher must have seen, from a plain list of all events.
struct Expected {
    create: WatchCreateRequest,
    start: i64,
    seen: Vec<(i64, Bytes, bool)>,
    compacted: Option<i64>,
}

#[test]
fn every_watcher_sees_every_event_once_in_order() {
    for seed in 0..30 {
        run_random(seed);
    }
}

fn run_random(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut h = Harness::new(if seed.is_multiple_of(2) { usize::MAX } else { 200 });
    let streams: Vec<_> = (0..3).map(|_| h.open()).collect();
    let mut history: Vec<(i64, Bytes, bool)> = Vec::new();
    let mut watchers: BTreeMap<(usize, i64), Expected> = BTreeMap::new();
    let mut next_id = 1;
    for _ in 0..600 {
        match rng.random_range(0..12) {
            0 if watchers.len() < 40 => {
                let s = streams[rng.random_range(0..streams.len())];
                let current = h.store.revision();
                let lowest = h.store.compact_revision().max(1);
                let start_revision = match rng.random_range(0..4) {
                    0 => rng.random_range(lowest..=current.max(lowest)),
                    1 => current + rng.random_range(1..5),
                    _ => 0,
                };
                let key = [b"abcd"[rng.random_range(0..4)]];
                let range_end = match rng.random_range(0..3) {
                    0 => Bytes::new(),
                    1 => Bytes::from_static(b"\0"),
                    _ => Bytes::copy_from_slice(&[key[0] + 2]),
                };
                let create = WatchCreateRequest {
                    key: Bytes::copy_from_slice(&key),
                    range_end,
                    start_revision,
                    watch_id: next_id,
                    prev_kv: rng.random_bool(0.3),
                    fragment: rng.random_bool(0.3),
                    filters: if rng.random_bool(0.2) { vec![0] } else { vec![] },
                    ..WatchCreateRequest::default()
                };
                // The view is what was published, not what the store holds by now.
                let published = h.hub_revision();
                let start = if start_revision == 0 { published + 1 } else { start_revision };
                h.request(s, &request(create.clone()));
                watchers.insert((s, next_id), Expected { create, start, seen: Vec::new(), compacted: None });
                next_id += 1;
            }
            1 => h.stall(streams[rng.random_range(0..streams.len())], rng.random_bool(0.5)),
            2 if rng.random_bool(0.2) && h.store.revision() > h.store.compact_revision().max(1) => {
                let at = rng.random_range(h.store.compact_revision().max(1) + 1..=h.store.revision());
                h.compact(at);
            }
            3 | 4 => h.publish(),
            5 | 6 => h.turn(),
            7 => {
                let keys: Vec<&[u8]> =
                    [&b"a"[..], b"b", b"c", b"d"].into_iter().filter(|_| rng.random_bool(0.5)).collect();
                h.delete(&keys);
            }
            _ => {
                let keys: Vec<&[u8]> =
                    [&b"a"[..], b"b", b"c", b"d"].into_iter().filter(|_| rng.random_bool(0.4)).collect();
                h.put_all(&keys, &vec![b'x'; rng.random_range(0..60)]);
            }
        }
        history.extend(h.take_log());
        collect(&mut h, &streams, &mut watchers, seed);
    }
    for s in &streams {
        h.stall(*s, false);
    }
    step(&mut h);
    collect(&mut h, &streams, &mut watchers, seed);
    for ((_, id), watcher) in &watchers {
        let range = engine::KeyRange::from_etcd(watcher.create.key.clone(), watcher.create.range_end.clone());
        let no_put = watcher.create.filters.contains(&0);
        let mut expected: Vec<_> = history
            .iter()
            .filter(|(revision, key, delete)| {
                *revision >= watcher.start && range.contains(key) && (*delete || !no_put)
            })
            .cloned()
            .collect();
        if let Some(compacted) = watcher.compacted {
            // Cut off by a compaction: what was seen is a whole beginning, and what is missing lies below or after it.
            assert!(expected.starts_with(&watcher.seen), "seed {seed} watcher {id}: {:?}", watcher.seen);
            let missing = expected.get(watcher.seen.len()).map_or(i64::MAX, |(revision, ..)| *revision);
            let cursor_reached = watcher.seen.last().map_or(watcher.start, |(revision, ..)| revision + 1);
            assert!(
                cursor_reached < compacted || missing < compacted,
                "seed {seed} watcher {id} was canceled without need"
            );
            expected.truncate(watcher.seen.len());
        }
        assert_eq!(watcher.seen, expected, "seed {seed} watcher {id} {:?}", watcher.create);
    }
}

fn collect(h: &mut Harness, streams: &[usize], watchers: &mut BTreeMap<(usize, i64), Expected>, seed: u64) {
    for s in streams {
        for response in h.responses(*s) {
            let watcher = watchers.get_mut(&(*s, response.watch_id)).expect("a watcher of ours");
            if response.canceled {
                assert!(watcher.compacted.is_none(), "seed {seed}");
                watcher.compacted = Some(response.compact_revision);
            }
            for event in &response.events {
                assert!(watcher.compacted.is_none(), "seed {seed}: events after the end");
                let kv = event.kv.as_ref().expect("an event has a key");
                watcher.seen.push((kv.mod_revision, kv.key.clone(), event.r#type() == EventType::Delete));
            }
        }
    }
}

#[test]
fn a_post_wakes_only_the_streams_it_concerns() {
    let mut harness = Harness::new(1 << 20);
    for at in 0..1000 {
        let stream = harness.open();
        harness.request(stream, &request(create(&format!("k{at}"))));
    }
    harness.turn();
    harness.put(b"k7", b"1");
    harness.put(b"nobody's", b"1");
    harness.put(b"k500", b"1");
    harness.put(b"k7", b"2");
    harness.publish();
    // Waits for what is posted, though none of it is for its watcher.
    harness.request(800, &progress());
    harness.post();
    assert_eq!(harness.woken(), [7, 500, 800]);
    harness.turn();
    assert_eq!(harness.woken(), [0; 0]);
    for (stream, responses) in [(7, 3), (500, 2), (800, 2), (9, 1)] {
        assert_eq!(harness.responses(stream).len(), responses, "stream {stream}");
    }
    // Each answer to a progress request is given once.
    harness.put(b"k9", b"1");
    harness.publish();
    harness.post();
    assert_eq!(harness.woken(), [9]);
}
