//! One watcher: what it wants and how far it has got.

use api::etcdserverpb::WatchCreateRequest;
use api::etcdserverpb::watch_create_request::FilterType;
use engine::KeyRange;

/// Where a watcher stands. Its cursor `next` alone says what it still has to see: everything from `next` on.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) range: KeyRange,
    /// Lowest main revision that was not delivered to, or ruled out for, this watcher.
    pub(super) next: i64,
    /// Synced: gets events as they are posted. Otherwise it is lagging and reads history from `next` on.
    pub(super) synced: bool,
    /// As requested: below it no progress is told. 0 for a watcher of what is new.
    pub(super) start: i64,
    pub(super) previous: bool,
    pub(super) fragment: bool,
    pub(super) progress: bool,
    /// Whether events went out since the last tick of the progress timer.
    pub(super) active: bool,
    no_put: bool,
    no_delete: bool,
    /// Revision and place of this watcher's newest delivery, so that further events of the revision join it.
    pub(super) open: Option<(i64, usize)>,
}

impl Watcher {
    pub(super) fn new(range: KeyRange, request: &WatchCreateRequest, current: i64) -> Watcher {
        let filter = |kind: FilterType| request.filters.contains(&(kind as i32));
        let start = request.start_revision;
        let next = if start == 0 { current + 1 } else { start };
        Watcher {
            range,
            next,
            synced: next > current,
            start,
            previous: request.prev_kv,
            fragment: request.fragment,
            progress: request.progress_notify,
            active: false,
            no_put: filter(FilterType::Noput),
            no_delete: filter(FilterType::Nodelete),
            open: None,
        }
    }

    /// Whether the watcher is shown a change of this revision and kind, its range being known to contain the key.
    pub(super) fn shows(&self, revision: i64, delete: bool) -> bool {
        let filtered = if delete { self.no_delete } else { self.no_put };
        !filtered && revision >= self.next
    }
}
