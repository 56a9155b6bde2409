//! Metrics under etcd's names.
//!
//! Two kinds: what other parts set through handles ([`Families`], the `prometheus` crate's types), and what the front
//! end counts for every call in plain per-loop cells. [`Metrics::render`] writes all of it as `/metrics` shows it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Encoder, Registry, TextEncoder};

mod grpc;
mod names;
mod operations;
mod process;
mod registry;
mod wal_sync;

pub(crate) use grpc::{ClientCounter, GrpcShard};
pub use names::Families;
pub(crate) use operations::{Executed, Operations};
pub(crate) use wal_sync::render as render_wal_sync;

type Refresh = Box<dyn Fn(&Families) + Send + Sync>;

type Text = Box<dyn Fn(&mut String) + Send + Sync>;

/// All metrics of a member.
pub struct Metrics {
    families: Families,
    registry: Registry,
    shards: Box<[GrpcShard]>,
    requests: grpc::ClientRequests,
    pub(crate) connections: AtomicUsize,
    refresh: Mutex<Vec<Refresh>>,
    texts: Mutex<Vec<Text>>,
}

impl std::ops::Deref for Metrics {
    type Target = Families;

    fn deref(&self) -> &Families {
        &self.families
    }
}

impl Metrics {
    /// Everything at zero, for a front end with that many loops. `server_version` is etcd's, for example `3.7.1`.
    pub fn new(loops: usize, server_version: &str) -> Metrics {
        let registry = Registry::new();
        let families = Families::register(&registry);
        families.server_version.with_label_values(&[server_version]).set(1);
        Metrics {
            families,
            registry,
            shards: (0..loops.max(1)).map(|_| GrpcShard::default()).collect(),
            requests: grpc::ClientRequests::default(),
            connections: AtomicUsize::new(0),
            refresh: Mutex::default(),
            texts: Mutex::default(),
        }
    }

    /// The version of the cluster, for example `3.7.0`; the label shows `3.7`.
    pub fn set_cluster_version(&self, version: &str) {
        let shown = version.rsplit_once('.').map_or(version, |(shown, _)| shown);
        self.families.cluster_version.reset();
        self.families.cluster_version.with_label_values(&[shown]).set(1);
    }

    /// A compaction has come to its end on disk, now.
    pub(crate) fn compaction_ended(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.families.debugging_mvcc_db_compaction_last.set(now.as_secs().cast_signed());
    }

    /// Has `refresh` called before each scrape, for gauges that are cheaper to look up than to keep.
    pub fn on_scrape(&self, refresh: impl Fn(&Families) + Send + Sync + 'static) {
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(refresh));
    }

    /// Has `write` called at each scrape to add families of its own in the text format.
    pub(crate) fn on_render(&self, write: impl Fn(&mut String) + Send + Sync + 'static) {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(write));
    }

    /// The text format, version 0.0.4.
    pub fn render(&self) -> String {
        for refresh in &*self.refresh.lock().unwrap_or_else(PoisonError::into_inner) {
            refresh(&self.families);
        }
        let mut text = Vec::with_capacity(128 << 10);
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("registered families have values of their own type");
        let mut text = String::from_utf8(text).expect("the text format is UTF-8");
        grpc::render(&self.shards, &self.requests, &mut text);
        process::render(&mut text);
        for write in &*self.texts.lock().unwrap_or_else(PoisonError::into_inner) {
            write(&mut text);
        }
        text
    }

    /// The content type of `render`.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    pub(crate) fn grpc_shard(&self, index: usize) -> &GrpcShard {
        &self.shards[index.min(self.shards.len() - 1)]
    }

    pub(crate) fn connection_opened(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn connection_closed(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::{Code, Method};

    #[test]
    fn the_text_has_every_family_once_with_its_type() {
        let metrics = Metrics::new(2, "3.7.1");
        metrics.set_cluster_version("3.7.0");
        metrics.mvcc_put_total.inc_by(3);
        metrics.server_proposals_applied_total.set(9);
        metrics.disk_wal_fsync_duration_seconds.observe(0.003);
        metrics.server_apply_duration_seconds.with_label_values(&["v3", "Put", "true"]).observe(0.1);
        metrics.on_scrape(|families| families.debugging_mvcc_keys_total.set(42));
        for shard in [0, 1] {
            metrics.grpc_shard(shard).started(Method::Put);
            metrics.grpc_shard(shard).handled(Method::Put, Code::OutOfRange);
            metrics.grpc_shard(shard).received(Method::Put, 10);
        }
        let text = metrics.render();
        let mut names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let families = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), families, "a family was written twice");
        for line in [
            "etcd_server_version{server_version=\"3.7.1\"} 1",
            "etcd_cluster_version{cluster_version=\"3.7\"} 1",
            "# TYPE etcd_mvcc_put_total counter",
            "etcd_mvcc_put_total 3",
            "# TYPE etcd_server_proposals_applied_total gauge",
            "etcd_server_proposals_applied_total 9",
            "# TYPE etcd_disk_wal_write_bytes_total gauge",
            "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.002\"} 0",
            "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.004\"} 1",
            "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"8.192\"} 1",
            "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"+Inf\"} 1",
            "etcd_disk_wal_fsync_duration_seconds_count 1",
            "etcd_server_apply_duration_seconds_count{op=\"Put\",success=\"true\",version=\"v3\"} 1",
            "etcd_debugging_mvcc_keys_total 42",
            "etcd_network_client_grpc_received_bytes_total 20",
            "grpc_server_started_total{grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 2",
            "grpc_server_handled_total{grpc_code=\"OutOfRange\",grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 2",
            "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Watch\",grpc_service=\"etcdserverpb.Watch\",grpc_type=\"bidi_stream\"} 0",
            "grpc_server_msg_sent_total{grpc_method=\"Snapshot\",grpc_service=\"etcdserverpb.Maintenance\",grpc_type=\"server_stream\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "missing: {line}\n{text}");
        }
        assert!(text.contains("\nprocess_resident_memory_bytes "));
        assert!(text.ends_with('\n'));
    }
}
