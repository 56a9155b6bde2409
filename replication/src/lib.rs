//! Raft behind a sans-I/O node and one driver thread.
