//! File descriptors: as many as the system allows, and never all of them for connections.
//!
//! A member that is out of them can't begin the next segment of its log. That is waited out like a lack of space, but
//! nobody should have to wait because of clients.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Not for connections: the log's segments, the database, the loops' own, and connections that are being turned away.
const KEPT: u64 = 64;

/// Raises the soft limit to the hard one, as etcd's runtime does at its start.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, ?current, "could not raise the limit of file descriptors");
    }
}

/// How many connections may be open at once.
pub(crate) fn for_connections() -> usize {
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| of_limit(limit, KEPT))
}

/// With few descriptors, half of them.
fn of_limit(limit: u64, kept: u64) -> usize {
    usize::try_from(limit.saturating_sub(kept).max(limit / 2)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_kept() {
        for (limit, connections) in [(20_000, 19_936), (1024, 960), (100, 50), (0, 0)] {
            assert_eq!(of_limit(limit, KEPT), connections, "{limit}");
        }
    }
}
