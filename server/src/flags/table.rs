//! Every flag, in the order in which the help shows them.

/// What a flag's text must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// `true`, `false` and Go's other spellings; may stand without a value.
    Bool,
    /// A signed decimal integer.
    Int,
    /// An unsigned decimal integer.
    Uint,
    /// An unsigned decimal integer of 32 bits.
    Uint32,
    /// A Go duration such as `1m30s`.
    Duration,
    /// One of a fixed set.
    OneOf(&'static [&'static str]),
}

/// How far a flag goes today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Used,
    Inert,
    Absent,
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) default: &'static str,
    pub(super) effect: Effect,
    pub(super) help: &'static str,
}

const fn flag(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    effect: Effect,
    help: &'static str,
) -> Flag {
    Flag { name, kind, default, effect, help }
}

use Effect::{Absent, Inert, Used};
use Kind::{Bool, Duration, Int, OneOf, Text, Uint, Uint32};

/// Every flag, in the order in which the help shows them.
pub(super) const FLAGS: &[Flag] = &[
    // Member
    flag("name", Text, "default", Used, "Human-readable name for this member."),
    flag("data-dir", Text, "", Used, "Path to the data directory; <name>.graven when empty."),
    flag("wal-dir", Text, "", Used, "Path to a dedicated directory for the write-ahead log."),
    flag("snapshot-count", Uint, "10000", Used, "Applied entries between two checkpoints."),
    flag("snapshot-catchup-entries", Uint, "5000", Used, "Entries kept for a slow follower."),
    flag("heartbeat-interval", Uint, "100", Used, "Milliseconds between heartbeats."),
    flag("election-timeout", Uint, "1000", Used, "Milliseconds before an election starts."),
    flag("initial-election-tick-advance", Bool, "true", Inert, "Fast-forward the first election."),
    flag("listen-peer-urls", Text, "http://localhost:2380", Used, "URLs to listen on for peers."),
    flag("listen-client-urls", Text, "http://localhost:2379", Used, "URLs to listen on for clients."),
    flag("listen-client-http-urls", Text, "", Absent, "URLs to listen on for HTTP only."),
    flag("max-snapshots", Uint, "5", Inert, "Deprecated in etcd; no effect."),
    flag("max-wals", Uint, "5", Inert, "Segments are recycled by themselves."),
    flag("memory-mlock", Bool, "false", Absent, "Lock the database's pages in memory."),
    flag("quota-backend-bytes", Int, "0", Used, "Size at which writes are refused; reported only today."),
    flag("backend-bbolt-freelist-type", Text, "map", Inert, "Tunes bbolt; there is none here."),
    flag("backend-batch-interval", Duration, "0s", Inert, "Tunes bbolt; there is none here."),
    flag("backend-batch-limit", Int, "0", Inert, "Tunes bbolt; there is none here."),
    flag("max-txn-ops", Uint, "128", Used, "Most operations in one transaction."),
    flag("max-request-bytes", Uint, "1572864", Used, "Largest request in bytes."),
    flag("max-concurrent-streams", Uint32, "4294967295", Used, "Most streams of one connection."),
    flag("grpc-keepalive-min-time", Duration, "5s", Used, "Least time between two pings of a client."),
    flag(
        "grpc-keepalive-interval",
        Duration,
        "2h0m0s",
        Used,
        "Time between two pings of the server; 0 is off.",
    ),
    flag("grpc-keepalive-timeout", Duration, "20s", Used, "Time a ping may stay unanswered; 0 is off."),
    flag("socket-reuse-port", Bool, "false", Used, "Set SO_REUSEPORT on listeners."),
    flag("socket-reuse-address", Bool, "false", Inert, "SO_REUSEADDR is always set, as in etcd."),
    flag("enable-grpc-gateway", Bool, "true", Inert, "The JSON gateway is not there yet."),
    flag("raft-read-timeout", Duration, "5s", Inert, "Tunes etcd's peer connections."),
    flag("raft-write-timeout", Duration, "5s", Inert, "Tunes etcd's peer connections."),
    flag("feature-gates", Text, "", Absent, "Feature gates, A=true,B=false."),
    // Clustering
    flag(
        "initial-advertise-peer-urls",
        Text,
        "http://localhost:2380",
        Used,
        "Peer URLs told to the cluster.",
    ),
    flag(
        "initial-cluster",
        Text,
        "default=http://localhost:2380",
        Used,
        "Members at bootstrap, name=url,...",
    ),
    flag("initial-cluster-state", OneOf(&["new", "existing"]), "new", Used, "new or existing."),
    flag("initial-cluster-token", Text, "etcd-cluster", Used, "Token that sets this cluster apart."),
    flag("advertise-client-urls", Text, "http://localhost:2379", Used, "Client URLs told to the cluster."),
    flag("discovery-token", Text, "", Absent, "Token of v3 discovery."),
    flag("discovery-endpoints", Text, "", Absent, "Endpoints of v3 discovery."),
    flag("discovery-dial-timeout", Duration, "2s", Inert, "Tunes discovery."),
    flag("discovery-request-timeout", Duration, "5s", Inert, "Tunes discovery."),
    flag("discovery-keepalive-time", Duration, "2s", Inert, "Tunes discovery."),
    flag("discovery-keepalive-timeout", Duration, "6s", Inert, "Tunes discovery."),
    flag("discovery-insecure-transport", Bool, "true", Inert, "Tunes discovery."),
    flag("discovery-insecure-skip-tls-verify", Bool, "false", Inert, "Tunes discovery."),
    flag("discovery-cert", Text, "", Absent, "Discovery over TLS."),
    flag("discovery-key", Text, "", Absent, "Discovery over TLS."),
    flag("discovery-cacert", Text, "", Absent, "Discovery over TLS."),
    flag("discovery-user", Text, "", Absent, "Discovery with a password."),
    flag("discovery-password", Text, "", Absent, "Discovery with a password."),
    flag("discovery-fallback", OneOf(&["exit", "proxy"]), "exit", Inert, "Only exit is left in etcd."),
    flag("discovery-srv", Text, "", Absent, "DNS domain to find the cluster by."),
    flag("discovery-srv-name", Text, "", Absent, "Suffix of the DNS service name."),
    flag("strict-reconfig-check", Bool, "true", Inert, "Refuse reconfigurations that lose quorum."),
    flag("pre-vote", Bool, "true", Inert, "Always on."),
    flag(
        "auto-compaction-mode",
        OneOf(&["periodic", "revision"]),
        "periodic",
        Inert,
        "periodic or revision.",
    ),
    flag("auto-compaction-retention", Text, "0", Absent, "History kept by automatic compaction; 0 is off."),
    flag(
        "v2-deprecation",
        OneOf(&["write-only", "write-only-skip-check", "write-only-drop-data", "gone"]),
        "write-only",
        Inert,
        "Deprecated in etcd; no effect.",
    ),
    // Security
    flag("cert-file", Text, "", Absent, "Certificate of the client listeners."),
    flag("key-file", Text, "", Absent, "Key of the client listeners."),
    flag("client-cert-file", Text, "", Absent, "Certificate the server uses as a client."),
    flag("client-key-file", Text, "", Absent, "Key the server uses as a client."),
    flag("client-cert-auth", Bool, "false", Absent, "Ask clients for certificates."),
    flag("client-crl-file", Text, "", Absent, "Revoked client certificates."),
    flag("client-cert-allowed-hostname", Text, "", Absent, "Names a client certificate may carry."),
    flag("trusted-ca-file", Text, "", Absent, "Authorities of client certificates."),
    flag("auto-tls", Bool, "false", Absent, "Make a certificate for the client listeners."),
    flag("peer-cert-file", Text, "", Absent, "Certificate of the peer listeners."),
    flag("peer-key-file", Text, "", Absent, "Key of the peer listeners."),
    flag("peer-client-cert-file", Text, "", Absent, "Certificate for dialing peers."),
    flag("peer-client-key-file", Text, "", Absent, "Key for dialing peers."),
    flag("peer-client-cert-auth", Bool, "false", Absent, "Ask peers for certificates."),
    flag("peer-trusted-ca-file", Text, "", Absent, "Authorities of peer certificates."),
    flag("peer-auto-tls", Bool, "false", Absent, "Make a certificate for the peer listeners."),
    flag("peer-cert-allowed-cn", Text, "", Absent, "Common names a peer certificate may carry."),
    flag("peer-cert-allowed-hostname", Text, "", Absent, "Names a peer certificate may carry."),
    flag("peer-crl-file", Text, "", Absent, "Revoked peer certificates."),
    flag("peer-skip-client-san-verification", Bool, "false", Absent, "Skip the SAN check of peers."),
    flag("self-signed-cert-validity", Uint, "1", Inert, "Years a made certificate is valid."),
    flag("cipher-suites", Text, "", Absent, "TLS cipher suites."),
    flag("cors", Text, "*", Absent, "Origins allowed by CORS."),
    flag("host-whitelist", Text, "*", Absent, "Host names accepted in HTTP requests."),
    flag("tls-min-version", Text, "TLS1.2", Absent, "Lowest TLS version."),
    flag("tls-max-version", Text, "", Absent, "Highest TLS version."),
    // Auth
    flag("auth-token", Text, "simple", Absent, "Kind of auth token."),
    flag("bcrypt-cost", Uint, "10", Inert, "Cost of password hashes."),
    flag("auth-token-ttl", Uint, "300", Inert, "Seconds an auth token lives."),
    // Profiling, monitoring, tracing
    flag("enable-pprof", Bool, "false", Absent, "Serve profiles over HTTP."),
    flag("metrics", OneOf(&["basic", "extensive"]), "basic", Inert, "basic or extensive."),
    flag("listen-metrics-urls", Text, "", Absent, "URLs that serve only metrics and health."),
    flag("enable-distributed-tracing", Bool, "false", Absent, "Export OpenTelemetry traces."),
    flag("distributed-tracing-address", Text, "localhost:4317", Inert, "Collector's address."),
    flag("distributed-tracing-service-name", Text, "etcd", Inert, "Service name in traces."),
    flag("distributed-tracing-instance-id", Text, "", Inert, "Instance id in traces."),
    flag("distributed-tracing-sampling-rate", Int, "0", Inert, "Samples per million."),
    // Logging
    flag("logger", Text, "zap", Used, "zap, the only one."),
    flag("log-outputs", Text, "default", Used, "default, stderr, stdout or a file path."),
    flag("log-level", Text, "info", Used, "debug, info, warn, error, panic or fatal."),
    flag("log-format", Text, "json", Used, "json or console."),
    flag("enable-log-rotation", Bool, "false", Absent, "Rotate log files."),
    flag(
        "log-rotation-config-json",
        Text,
        r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}"#,
        Inert,
        "How log files are rotated.",
    ),
    flag(
        "warning-unary-request-duration",
        Duration,
        "300ms",
        Inert,
        "Duration above which a request is logged.",
    ),
    // Features and tuning
    flag("corrupt-check-time", Duration, "0s", Absent, "Time between two corruption checks among members."),
    flag("compact-hash-check-time", Duration, "1m0s", Inert, "Time between two comparisons of hashes."),
    flag("compaction-batch-limit", Int, "0", Inert, "Slices are bounded by time here."),
    flag("compaction-sleep-interval", Duration, "0s", Inert, "Slices are bounded by time here."),
    flag("watch-progress-notify-interval", Duration, "0s", Used, "Time between two progress notifications."),
    flag("warning-apply-duration", Duration, "100ms", Inert, "Duration above which an apply is logged."),
    flag("bootstrap-defrag-threshold-megabytes", Uint, "0", Inert, "See --auto-defragment."),
    flag("max-learners", Int, "1", Inert, "Most learners in the cluster."),
    flag("downgrade-check-time", Duration, "5s", Inert, "Time between two downgrade checks."),
    // Unsafe
    flag("force-new-cluster", Bool, "false", Absent, "Start a one-member cluster from this data."),
    flag("unsafe-no-fsync", Bool, "false", Absent, "Graven never runs without durable writes."),
    // Program
    flag("config-file", Text, "", Absent, "Path to a configuration file."),
    flag("version", Bool, "false", Used, "Print the version and exit."),
    // Graven's own
    flag(
        "wal-sync-method",
        OneOf(&["auto", "ring", "direct-dsync", "dsync", "fdatasync"]),
        "auto",
        Used,
        "Durable-write method of the log; auto measures once for each device and kernel.",
    ),
    flag("wal-segment-bytes", Uint, "67108864", Used, "Length of a log segment, a multiple of 4096."),
    flag(
        "checkpoint-bytes",
        Uint,
        "0",
        Used,
        "Bytes of changes in memory that begin a checkpoint; 0 takes a 64th of the memory, from 16 MiB to 256 MiB.",
    ),
    flag("loops", Uint, "0", Used, "Network threads; 0 takes one per core."),
    flag(
        "auto-defragment",
        Bool,
        "true",
        Used,
        "Keep the database's file within 1.3 times of what it holds, or 16 MiB, in the background.",
    ),
    flag(
        "scrub-interval",
        Duration,
        "24h0m0s",
        Used,
        "Time in which every stored byte is read and verified once; 0 is off.",
    ),
    flag(
        "disk-stall-warning",
        Duration,
        "100ms",
        Used,
        "Duration of a durable write of the log above which it is logged; 0 is off.",
    ),
];

/// Flags that etcd accepts with a warning and does nothing about.
pub(super) const IGNORED: &[&str] = &[
    "cluster-active-size",
    "cluster-remove-delay",
    "cluster-sync-interval",
    "config",
    "force",
    "max-result-buffer",
    "max-retry-attempts",
    "peer-heartbeat-interval",
    "peer-election-timeout",
    "retry-interval",
    "snapshot",
    "v",
    "vv",
    "test.coverprofile",
    "test.outputdir",
];
