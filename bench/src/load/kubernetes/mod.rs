//! `kubernetes`: what a control plane asks of its etcd.
//!
//! Requests are those of Kubernetes' storage (`client/v3/kubernetes` and `storage/etcd3`): an object is created by a transaction on
//! `mod_revision == 0`, changed and deleted by one on the `mod_revision` it was last seen with, with a read of it in the other
//! branch; lists come in pages of 500 at the revision of the first; one watch for each kind of object, with prev_kv and progress
//! notifications; Events hang on leases that are shared for a minute or a thousand of them; the compactor marks a revision every
//! five minutes and compacts to the one before.
//!
//! How often, for each node, at `--speed 1`:
//!
//! | what | how often | because |
//! |---|---|---|
//! | renewal of its Lease | every 10 s | the kubelet's default |
//! | its status | every 5 min | the same (`nodeStatusReportFrequency`), where nothing changes |
//! | pods created, and deleted | 0.004 a second | 20 a second with 5,000 nodes, the churn of Kubernetes' own scalability tests |
//! | changes of a pod | 5 for each one created | bound, started, ready; told to end, ended |
//! | Events | 6 for each one created | scheduled, pulling, pulled, created, started; killing |
//!
//! Besides, the cluster counts each kind of object every minute, and half a list a second asks past the API server's cache.
//! They come at random moments (Poisson), at their rates; what an object still waits for holds back its next change, as
//! it would its writer.
//!
//! Everything is checked: a transaction on the right `mod_revision` has to succeed, each write has to come back at
//! the watch of its kind, once, in order and with what was there before, and a list or count at a revision has to find as many objects as
//! were written up to it.

mod arguments;
mod clean;
mod compaction;
mod events;
mod list;
mod objects;
mod prepare;
mod requests;
mod resource;
mod work;

pub(crate) use arguments::{Cluster, KubernetesArguments};
pub(super) use work::ControlPlane;

/// Kinds of what is measured.
mod kind {
    pub(super) const RENEWAL: usize = 0;
    pub(super) const STATUS: usize = 1;
    pub(super) const CREATE: usize = 2;
    pub(super) const UPDATE: usize = 3;
    pub(super) const DELETE: usize = 4;
    pub(super) const EVENT: usize = 5;
    pub(super) const LIST: usize = 6;
    pub(super) const COUNT: usize = 7;
    pub(super) const COMPACTION: usize = 8;
    pub(super) const PAGE: usize = 9;
    pub(super) const GRANT: usize = 10;
    pub(super) const WATCH: usize = 11;

    pub(super) const NAMES: &[&str] = &[
        "lease renewal",
        "node status",
        "pod create",
        "pod update",
        "pod delete",
        "event create",
        "list",
        "count",
        "compaction",
        "list page",
        "lease grant",
        "watch event",
    ];

    /// Parts of others, and what comes of others.
    pub(super) const ASIDE: &[usize] = &[PAGE, GRANT, WATCH];
}
