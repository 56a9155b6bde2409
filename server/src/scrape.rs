//! Gauges and counters that are looked up when somebody asks for the metrics.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use crate::cluster::Members;
use crate::maintenance::StoreSizes;
use crate::metrics::{Metrics, render_wal_sync};
use crate::watch::Hub;

/// What never changes while the member runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) member_id: u64,
    pub(crate) quota_bytes: i64,
}

/// Has every scrape read the member's own counters.
pub(crate) fn connect(
    metrics: &Arc<Metrics>,
    facts: Facts,
    status: replication::Status,
    reader: engine::Reader,
    sizes: Arc<StoreSizes>,
    hub: Arc<Hub>,
    members: Members,
) {
    metrics.server_id.with_label_values(&[&format!("{:x}", facts.member_id)]).set(1);
    metrics.server_quota_backend_bytes.set(facts.quota_bytes);
    if let Some(version) = &members.get().cluster_version {
        metrics.set_cluster_version(version);
    }
    let log = status.clone();
    metrics.on_render(move |text| {
        if let Some(wal) = log.wal() {
            render_wal_sync(&wal.sync_latency, text);
        }
    });
    let syncs_seen = Mutex::new(Vec::new());
    metrics.on_scrape(move |families| {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        families.server_has_leader.set(i64::from(status.leader() != 0));
        families.server_is_leader.set(i64::from(status.is_leader()));
        families.server_is_learner.set(i64::from(status.is_learner()));
        families.server_proposals_committed_total.set(signed(status.commit()));
        families.server_proposals_applied_total.set(signed(status.applied()));
        families.server_proposals_pending.set(signed(status.proposals_pending()));
        raise(&families.server_proposals_failed_total, status.proposals_failed());
        raise(&families.server_leader_changes_seen_total, status.leader_changes());
        raise(&families.loop_turns_total, status.turns_by_callers());
        families.mvcc_db_total_size_in_bytes.set(signed(sizes.file_bytes()));
        families.mvcc_db_total_size_in_use_in_bytes.set(signed(sizes.in_use_bytes()));
        let view = reader.view();
        families.debugging_mvcc_current_revision.set(view.revision());
        families.debugging_mvcc_compact_revision.set(view.compact_revision());
        if let Ok(keys) = view.count(&engine::KeyRange::all(), 0) {
            families.debugging_mvcc_keys_total.set(signed(keys));
        }
        let watch = hub.counters();
        families.debugging_mvcc_watch_stream_total.set(watch.streams.load(Ordering::Relaxed));
        families.debugging_mvcc_watcher_total.set(watch.watchers.load(Ordering::Relaxed));
        families.debugging_mvcc_slow_watcher_total.set(watch.lagging.load(Ordering::Relaxed));
        raise(&families.debugging_mvcc_events_total, watch.events.load(Ordering::Relaxed));
        if let Some(wal) = status.wal() {
            families.disk_wal_write_bytes_total.set(signed(wal.bytes));
            let mut seen = syncs_seen.lock().unwrap_or_else(PoisonError::into_inner);
            carry_over(&wal.sync_latency, &mut seen, |seconds| {
                families.disk_wal_fsync_duration_seconds.observe(seconds);
                // One call writes and syncs; etcd's second histogram has nothing else to show.
                families.disk_wal_write_duration_seconds.observe(seconds);
            });
        }
    });
}

/// Reports what a histogram of the log gained since the last scrape, at the resolution it was counted with.
fn carry_over(latencies: &wal::Histogram, seen: &mut Vec<u64>, mut observe: impl FnMut(f64)) {
    let longest = latencies.max();
    for (at, (bound, count)) in latencies.buckets().enumerate() {
        if seen.len() <= at {
            seen.push(0);
        }
        let seconds = bound.unwrap_or(longest).as_secs_f64();
        for _ in seen[at]..count {
            observe(seconds);
        }
        seen[at] = count;
    }
}

/// Brings a counter up to what was counted elsewhere.
fn raise(counter: &prometheus::IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
