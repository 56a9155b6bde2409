//! What a member runs with: flags checked against each other and turned into values of their own types.
//!
//! Everything here is decided before the data directory is touched.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use engine::CheckpointPolicy;

use crate::flags::Flags;
use crate::memory;

/// A flag's value that can't be used; the text names the flag, as etcd's does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

fn refuse<T>(text: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError(text.into()))
}

/// A member of the initial cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialMember {
    /// Its name.
    pub name: String,
    /// Its peer URLs, sorted.
    pub peer_urls: Vec<String>,
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Tab-separated words.
    Console,
}

/// Everything a member needs to know to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The member's name.
    pub name: String,
    /// Where everything durable lives.
    pub data_dir: PathBuf,
    /// The log's own directory, if it is not in `data_dir`.
    pub wal_dir: Option<PathBuf>,
    /// Applied entries between two checkpoints.
    pub snapshot_count: u64,
    /// Entries kept in memory for slow followers.
    pub catch_up_entries: u64,
    /// Time of one raft tick.
    pub heartbeat: Duration,
    /// Time after which a follower starts an election.
    pub election: Duration,
    /// Addresses to serve clients on, with the URL each came from.
    pub client_listeners: Vec<Listener>,
    /// Addresses to serve peers on.
    pub peer_listeners: Vec<Listener>,
    /// Client URLs that other members and clients are told.
    pub advertise_client_urls: Vec<String>,
    /// Members at bootstrap.
    pub initial_cluster: Vec<InitialMember>,
    /// Token that goes into ids at bootstrap.
    pub initial_cluster_token: String,
    /// Most operations in a transaction.
    pub max_txn_ops: usize,
    /// Largest request in bytes.
    pub max_request_bytes: usize,
    /// Most streams of one connection.
    pub max_concurrent_streams: u32,
    /// Least time between two pings of a client.
    pub keepalive_min_time: Duration,
    /// Time between two pings of the server, if any.
    pub keepalive_interval: Option<Duration>,
    /// Time a ping may stay unanswered, if bounded.
    pub keepalive_timeout: Option<Duration>,
    /// SO_REUSEPORT on listeners.
    pub reuse_port: bool,
    /// Backend quota in bytes as Status reports it.
    pub quota_bytes: i64,
    /// Time between two progress notifications of a watch.
    pub progress_interval: Duration,
    /// Durable-write method of the log, by its flag's word.
    pub wal_method: String,
    /// Length of a log segment.
    pub segment_bytes: u64,
    /// Bytes of changes in memory that begin a checkpoint.
    pub checkpoint_bytes: usize,
    /// Network threads.
    pub loops: usize,
    /// Whether the engine's file is kept small without being asked.
    pub auto_defragment: bool,
    /// Time in which everything stored is verified once, if at all.
    pub scrub_interval: Option<Duration>,
    /// Duration of a durable write of the log above which it is logged, if any.
    pub disk_stall_warning: Option<Duration>,
    /// Log level in etcd's word.
    pub log_level: String,
    /// Form of the log.
    pub log_format: LogFormat,
    /// Where log lines go: `default`, `stderr`, `stdout` or a path.
    pub log_output: String,
    /// Lines to log once there is a log.
    pub notices: Vec<String>,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The URL as given.
    pub url: String,
    /// Where it binds.
    pub address: SocketAddr,
}

const DEFAULT_QUOTA: i64 = 2 * 1024 * 1024 * 1024;
const DEFAULT_PROGRESS: Duration = Duration::from_secs(10 * 60);
const LEAST_PROGRESS: Duration = Duration::from_millis(100);
const LONGEST_ELECTION_MS: u64 = 50_000;

impl Config {
    /// Checks the flags against each other.
    pub fn from_flags(flags: &Flags) -> Result<Self, ConfigError> {
        let mut notices = flags.notices.clone();
        let (log_level, log_format, log_output) = log_settings(flags)?;
        if flags.is_given("listen-client-urls") && !flags.is_given("advertise-client-urls") {
            return refuse("--advertise-client-urls is required when --listen-client-urls is set explicitly");
        }
        let client_listeners = listeners(flags, "listen-client-urls")?;
        let peer_listeners = listeners(flags, "listen-peer-urls")?;
        let advertise_client_urls = urls(flags, "advertise-client-urls")?;
        for url in &advertise_client_urls {
            if port_of(url).is_none() && !url.starts_with("unix") {
                return refuse(format!(
                    "--advertise-client-urls {:?} must be in the format \"host:port\", \"unix:/path/to/socket\" or \"unixs:/path/to/socket\" (missing port in address)",
                    flags.text("advertise-client-urls")
                ));
            }
        }
        let advertise_peer_urls = urls(flags, "initial-advertise-peer-urls")?;
        for url in &advertise_peer_urls {
            if port_of(url).is_none() || url.contains("://:") {
                return refuse(format!(
                    "--initial-advertise-peer-urls {:?} must be \"host:port\" (missing port in address)",
                    flags.text("initial-advertise-peer-urls")
                ));
            }
        }
        let (heartbeat, election) = timing(flags)?;
        let name = flags.text("name").to_owned();
        if name.is_empty() {
            return refuse("--name must not be empty");
        }
        if name == "default" {
            notices.push("the server is using default name; --name sets another".to_owned());
        }
        let data_dir = match flags.text("data-dir") {
            "" => {
                let dir = format!("{name}.graven");
                notices.push(format!("'data-dir' was empty; using default: {dir}"));
                PathBuf::from(dir)
            }
            dir => PathBuf::from(dir),
        };
        let wal_dir = Some(flags.text("wal-dir")).filter(|dir| !dir.is_empty()).map(PathBuf::from);
        // As in etcd, a member that exists knows who it is; what the flags say about bootstrap is for new ones.
        let exists = crate::data_dir::holds_log(&data_dir, wal_dir.as_deref());
        let initial_cluster = match exists {
            true => vec![InitialMember { name: name.clone(), peer_urls: advertise_peer_urls }],
            false => initial_cluster(flags, &name, &advertise_peer_urls)?,
        };
        if !exists && flags.text("initial-cluster-state") == "existing" {
            return refuse(
                "--initial-cluster-state existing is not supported yet: a member can't join another",
            );
        }
        let max_txn_ops = at_least_one(flags, "max-txn-ops")?;
        let max_request_bytes = at_least_one(flags, "max-request-bytes")?;
        if max_request_bytes > crate::limits::LARGEST_REQUEST_BYTES {
            return refuse(format!(
                "--max-request-bytes must be at most {} (set to {max_request_bytes})",
                crate::limits::LARGEST_REQUEST_BYTES
            ));
        }
        if max_request_bytes > 10 * 1024 * 1024 {
            notices.push("--max-request-bytes is over the recommended 10485760".to_owned());
        }
        let quota = flags.int("quota-backend-bytes");
        let progress = flags.duration("watch-progress-notify-interval");
        Ok(Self {
            name,
            data_dir,
            wal_dir,
            snapshot_count: at_least_one(flags, "snapshot-count")? as u64,
            catch_up_entries: flags.uint("snapshot-catchup-entries"),
            heartbeat,
            election,
            client_listeners,
            peer_listeners,
            advertise_client_urls,
            initial_cluster,
            initial_cluster_token: flags.text("initial-cluster-token").to_owned(),
            max_txn_ops,
            max_request_bytes,
            max_concurrent_streams: flags.uint("max-concurrent-streams") as u32,
            keepalive_min_time: flags.duration("grpc-keepalive-min-time"),
            keepalive_interval: nonzero(flags.duration("grpc-keepalive-interval")),
            keepalive_timeout: nonzero(flags.duration("grpc-keepalive-timeout")),
            reuse_port: flags.bool("socket-reuse-port"),
            quota_bytes: if quota == 0 { DEFAULT_QUOTA } else { quota },
            progress_interval: match progress {
                Duration::ZERO => DEFAULT_PROGRESS,
                given => given.max(LEAST_PROGRESS),
            },
            auto_defragment: flags.bool("auto-defragment"),
            scrub_interval: nonzero(flags.duration("scrub-interval")),
            disk_stall_warning: nonzero(flags.duration("disk-stall-warning")),
            wal_method: flags.text("wal-sync-method").to_owned(),
            segment_bytes: segment_bytes(flags, max_request_bytes)?,
            checkpoint_bytes: match flags.uint("checkpoint-bytes") {
                0 => CheckpointPolicy::dirty_bytes_for(memory::bytes()),
                bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
            },
            loops: match flags.uint("loops") {
                0 => std::thread::available_parallelism().map_or(1, usize::from),
                n if n <= crate::limits::MOST_LOOPS as u64 => n as usize,
                n => {
                    return refuse(format!(
                        "--loops must be at most {} (set to {n})",
                        crate::limits::MOST_LOOPS
                    ));
                }
            },
            log_level,
            log_format,
            log_output,
            notices,
        })
    }
}

fn nonzero(duration: Duration) -> Option<Duration> {
    (duration != Duration::ZERO).then_some(duration)
}

/// A segment must be able to carry the largest entry twice, and is written in whole blocks.
fn segment_bytes(flags: &Flags, max_request_bytes: usize) -> Result<u64, ConfigError> {
    let bytes = flags.uint("wal-segment-bytes");
    let least = crate::limits::least_segment_bytes(max_request_bytes);
    if bytes < least || bytes > crate::limits::LARGEST_SEGMENT_BYTES || !bytes.is_multiple_of(4096) {
        return refuse(format!(
            "--wal-segment-bytes must be a multiple of 4096 from {least} to {} (set to {bytes})",
            crate::limits::LARGEST_SEGMENT_BYTES
        ));
    }
    Ok(bytes)
}

fn at_least_one(flags: &Flags, name: &str) -> Result<usize, ConfigError> {
    match usize::try_from(flags.uint(name)) {
        Ok(0) => refuse(format!("--{name} must be >0 (set to 0)")),
        Ok(n) => Ok(n),
        Err(_) => refuse(format!("--{name} is too large")),
    }
}

fn log_settings(flags: &Flags) -> Result<(String, LogFormat, String), ConfigError> {
    match flags.text("logger") {
        "zap" => {}
        "capnslog" => return refuse("--logger=capnslog is removed in v3.5"),
        other => return refuse(format!("unknown logger option {other:?}")),
    }
    let level = flags.text("log-level");
    if !["debug", "info", "warn", "error", "dpanic", "panic", "fatal"].contains(&level) {
        return refuse(format!("unrecognized --log-level {level:?}"));
    }
    let format = match flags.text("log-format") {
        "json" => LogFormat::Json,
        "console" => LogFormat::Console,
        other => return refuse(format!("unknown log format: {other}, supported values json, console")),
    };
    let output = flags.text("log-outputs");
    if output.contains(',') {
        return refuse("multi logoutput is not supported yet: --log-outputs takes one");
    }
    Ok((level.to_owned(), format, output.to_owned()))
}

fn timing(flags: &Flags) -> Result<(Duration, Duration), ConfigError> {
    let (heartbeat, election) = (flags.uint("heartbeat-interval"), flags.uint("election-timeout"));
    if heartbeat == 0 {
        return refuse("--heartbeat-interval must be >0 (set to 0ms)");
    }
    if election == 0 {
        return refuse("--election-timeout must be >0 (set to 0ms)");
    }
    if election < heartbeat.saturating_mul(5) {
        return refuse(format!(
            "--election-timeout[{election}ms] should be at least as 5 times as --heartbeat-interval[{heartbeat}ms]"
        ));
    }
    if election > LONGEST_ELECTION_MS {
        return refuse(format!(
            "--election-timeout[{election}ms] is too long, and should be set less than {LONGEST_ELECTION_MS}ms"
        ));
    }
    Ok((Duration::from_millis(heartbeat), Duration::from_millis(election)))
}

/// The URLs of a comma list, checked for scheme and host.
fn urls(flags: &Flags, name: &str) -> Result<Vec<String>, ConfigError> {
    let mut list = Vec::new();
    for url in flags.text(name).split(',').map(str::trim) {
        let Some((scheme, rest)) = url.split_once("://") else {
            return refuse(format!(
                "invalid value {url:?} for flag -{name}: URL scheme must be http, https, unix, or unixs: {url}"
            ));
        };
        match scheme {
            "http" => {}
            "https" => return refuse(format!("--{name}: TLS is not supported yet ({url})")),
            "unix" | "unixs" => {
                return refuse(format!("--{name}: unix sockets are not supported yet ({url})"));
            }
            _ => {
                return refuse(format!(
                    "invalid value {url:?} for flag -{name}: URL scheme must be http, https, unix, or unixs: {url}"
                ));
            }
        }
        if rest.trim_end_matches('/').contains('/') {
            return refuse(format!(
                "invalid value {url:?} for flag -{name}: URL must not contain a path: {url}"
            ));
        }
        list.push(url.trim_end_matches('/').to_owned());
    }
    list.sort();
    Ok(list)
}

fn port_of(url: &str) -> Option<u16> {
    let (_, host) = url.split_once("://")?;
    let (name, port) = host.rsplit_once(':')?;
    if name.is_empty() && host.len() > port.len() + 1 {
        return None;
    }
    port.parse().ok()
}

fn listeners(flags: &Flags, name: &str) -> Result<Vec<Listener>, ConfigError> {
    let mut list: Vec<Listener> = Vec::new();
    for url in urls(flags, name)? {
        let (_, host) = url.split_once("://").expect("checked by urls");
        let Some((name_part, port)) = host.rsplit_once(':') else {
            return refuse(format!(
                "invalid value {url:?} for flag -{name}: URL address does not have the form \"host:port\": {url}"
            ));
        };
        let Ok(port) = port.parse::<u16>() else {
            return refuse(format!(
                "invalid value {url:?} for flag -{name}: URL address does not have the form \"host:port\": {url}"
            ));
        };
        let bare = name_part.trim_start_matches('[').trim_end_matches(']');
        let ip = match bare {
            "localhost" => IpAddr::from([127, 0, 0, 1]),
            _ => match bare.parse::<IpAddr>() {
                Ok(ip) => ip,
                Err(_) => return refuse(format!("expected IP in URL for binding ({url})")),
            },
        };
        let address = SocketAddr::new(ip, port);
        if port != 0 && list.iter().any(|other| other.address == address) {
            continue;
        }
        list.push(Listener { url: url.clone(), address });
    }
    Ok(list)
}

/// `name=url,name=url2`: repeated names gather their URLs.
fn initial_cluster(
    flags: &Flags,
    name: &str,
    advertise: &[String],
) -> Result<Vec<InitialMember>, ConfigError> {
    // A name or an advertised URL of one's own moves the default cluster along, as in etcd.
    let text = if flags.is_given("initial-cluster") {
        flags.text("initial-cluster").to_owned()
    } else {
        advertise.iter().map(|url| format!("{name}={url}")).collect::<Vec<_>>().join(",")
    };
    let mut members: Vec<InitialMember> = Vec::new();
    for part in text.split(',') {
        let Some((member, url)) = part.split_once('=') else {
            return refuse(format!("--initial-cluster: {part:?} is not of the form name=url"));
        };
        let url = url.trim_end_matches('/').to_owned();
        if !url.starts_with("http://") || port_of(&url).is_none() {
            return refuse(format!("--initial-cluster: {part:?} has no URL of the form http://host:port"));
        }
        if members.iter().any(|m| m.peer_urls.contains(&url)) {
            return refuse(format!("initial cluster {text} has duplicate url"));
        }
        match members.iter_mut().find(|m| m.name == member) {
            Some(known) => known.peer_urls.push(url),
            None => members.push(InitialMember { name: member.to_owned(), peer_urls: vec![url] }),
        }
    }
    members.iter_mut().for_each(|m| m.peer_urls.sort());
    let Some(own) = members.iter().find(|m| m.name == name) else {
        return refuse(format!("couldn't find local name {name:?} in the initial cluster configuration"));
    };
    if own.peer_urls != advertise {
        let missing = |from: &[String], of: &[String]| {
            of.iter().filter(|url| !from.contains(url)).cloned().collect::<Vec<_>>().join(",")
        };
        let unannounced = missing(advertise, &own.peer_urls);
        if !unannounced.is_empty() {
            return refuse(format!(
                "--initial-cluster has {name}={unannounced} but missing from --initial-advertise-peer-urls={}",
                advertise.join(",")
            ));
        }
        return refuse(format!(
            "--initial-advertise-peer-urls has {} but missing from --initial-cluster={text}",
            missing(&own.peer_urls, advertise)
        ));
    }
    if members.len() > 1 {
        return refuse(
            "--initial-cluster names more than one member: clusters of several are not supported yet",
        );
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::Parsed;

    fn config(line: &str) -> Result<Config, ConfigError> {
        let words = line.split_whitespace().map(str::to_owned);
        match Flags::parse(words, []).expect("the flags themselves are fine") {
            Parsed::Run(flags) => Config::from_flags(&flags),
            Parsed::Help => panic!("asked for help"),
        }
    }

    #[test]
    fn defaults_are_etcds() {
        let c = config("").unwrap();
        assert_eq!(c.data_dir, PathBuf::from("default.graven"));
        assert_eq!(c.client_listeners[0].address.to_string(), "127.0.0.1:2379");
        assert_eq!(c.peer_listeners[0].address.to_string(), "127.0.0.1:2380");
        assert_eq!(c.quota_bytes, 2_147_483_648);
        assert_eq!(c.initial_cluster[0].peer_urls, ["http://localhost:2380"]);
        assert_eq!((c.heartbeat.as_millis(), c.election.as_millis()), (100, 1000));
        assert_eq!(
            (c.auto_defragment, c.scrub_interval, c.disk_stall_warning),
            (true, Some(Duration::from_secs(24 * 3600)), Some(Duration::from_millis(100)))
        );
        let off = config("--auto-defragment=false --scrub-interval 0 --disk-stall-warning 0").unwrap();
        assert_eq!((off.auto_defragment, off.scrub_interval, off.disk_stall_warning), (false, None, None));
        assert_eq!(c.segment_bytes, crate::limits::SEGMENT_BYTES);
    }

    #[test]
    fn a_name_moves_the_default_cluster_along() {
        let c = config("--name a --initial-advertise-peer-urls http://10.0.0.1:2380").unwrap();
        assert_eq!(c.initial_cluster[0].name, "a");
        assert_eq!(c.initial_cluster[0].peer_urls, ["http://10.0.0.1:2380"]);
        assert_eq!(c.data_dir, PathBuf::from("a.graven"));
    }

    #[test]
    fn bootstrap_flags_do_not_matter_to_a_member_that_exists() {
        let tmp = tempfile::tempdir().unwrap();
        let wal = tmp.path().join("member/wal");
        let lines = [
            "--initial-cluster-state existing",
            "--initial-cluster a=http://h:1",
            "--name x --initial-cluster x=http://h:1,y=http://g:1",
        ];
        for line in lines {
            assert!(config(&format!("--data-dir {} {line}", tmp.path().display())).is_err(), "{line}");
        }
        std::fs::create_dir_all(&wal).unwrap();
        std::fs::write(wal.join("0000000000000001.wal"), b"").unwrap();
        for line in lines {
            config(&format!("--data-dir {} {line}", tmp.path().display()))
                .unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }

    #[test]
    fn refusals_have_etcds_texts() {
        let cases = [
            (
                "--listen-client-urls http://127.0.0.1:1",
                "--advertise-client-urls is required when --listen-client-urls is set explicitly",
            ),
            (
                "--listen-client-urls http://foo:1 --advertise-client-urls http://foo:1",
                "expected IP in URL for binding (http://foo:1)",
            ),
            ("--listen-peer-urls http://foo:2379", "expected IP in URL for binding (http://foo:2379)"),
            ("--heartbeat-interval 0", "--heartbeat-interval must be >0 (set to 0ms)"),
            ("--election-timeout 0", "--election-timeout must be >0 (set to 0ms)"),
            (
                "--election-timeout 499",
                "--election-timeout[499ms] should be at least as 5 times as --heartbeat-interval[100ms]",
            ),
            (
                "--election-timeout 50001",
                "--election-timeout[50001ms] is too long, and should be set less than 50000ms",
            ),
            ("--logger capnslog", "--logger=capnslog is removed in v3.5"),
            ("--logger x", "unknown logger option \"x\""),
            ("--log-format x", "unknown log format: x, supported values json, console"),
            ("--log-level loud", "unrecognized --log-level \"loud\""),
            (
                "--name b --initial-cluster a=http://h:1",
                "couldn't find local name \"b\" in the initial cluster configuration",
            ),
            (
                "--initial-cluster default=http://h:1",
                "--initial-cluster has default=http://h:1 but missing from --initial-advertise-peer-urls=http://localhost:2380",
            ),
            (
                "--name a --initial-cluster a=http://h:1,b=http://h:1",
                "initial cluster a=http://h:1,b=http://h:1 has duplicate url",
            ),
            (
                "--initial-advertise-peer-urls http://h",
                "--initial-advertise-peer-urls \"http://h\" must be \"host:port\" (missing port in address)",
            ),
            (
                "--advertise-client-urls http://h",
                "--advertise-client-urls \"http://h\" must be in the format \"host:port\", \"unix:/path/to/socket\" or \"unixs:/path/to/socket\" (missing port in address)",
            ),
            (
                "--listen-peer-urls 127.0.0.1:2380",
                "invalid value \"127.0.0.1:2380\" for flag -listen-peer-urls: URL scheme must be http, https, unix, or unixs: 127.0.0.1:2380",
            ),
            (
                "--listen-peer-urls ftp://127.0.0.1:1",
                "invalid value \"ftp://127.0.0.1:1\" for flag -listen-peer-urls: URL scheme must be http, https, unix, or unixs: ftp://127.0.0.1:1",
            ),
            (
                "--listen-peer-urls https://127.0.0.1:1",
                "--listen-peer-urls: TLS is not supported yet (https://127.0.0.1:1)",
            ),
            (
                "--listen-peer-urls http://127.0.0.1",
                "invalid value \"http://127.0.0.1\" for flag -listen-peer-urls: URL address does not have the form \"host:port\": http://127.0.0.1",
            ),
            (
                "--listen-peer-urls http://127.0.0.1:1/x",
                "invalid value \"http://127.0.0.1:1/x\" for flag -listen-peer-urls: URL must not contain a path: http://127.0.0.1:1/x",
            ),
            ("--max-txn-ops 0", "--max-txn-ops must be >0 (set to 0)"),
            ("--max-request-bytes 0", "--max-request-bytes must be >0 (set to 0)"),
            ("--snapshot-count 0", "--snapshot-count must be >0 (set to 0)"),
            (
                "--wal-segment-bytes 1048577",
                "--wal-segment-bytes must be a multiple of 4096 from 3276800 to 1073741824 (set to 1048577)",
            ),
            (
                "--max-request-bytes 1000 --wal-segment-bytes 4096",
                "--wal-segment-bytes must be a multiple of 4096 from 262144 to 1073741824 (set to 4096)",
            ),
            (
                "--initial-cluster-state existing",
                "--initial-cluster-state existing is not supported yet: a member can't join another",
            ),
            ("--loops 100000", "--loops must be at most 256 (set to 100000)"),
        ];
        for (line, text) in cases {
            assert_eq!(config(line).unwrap_err().to_string(), text, "{line}");
        }
    }
}
