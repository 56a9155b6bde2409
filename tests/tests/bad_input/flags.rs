//! Command lines that must not start a server.

use std::process::{Command, Stdio};

use tests::program;

struct Case {
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    code: i32,
    /// Stands somewhere in what the program says.
    says: &'static str,
}

const fn flags(arguments: &'static [&'static str], code: i32, says: &'static str) -> Case {
    Case { arguments, environment: &[], code, says }
}

const fn env(
    environment: &'static [(&'static str, &'static str)],
    arguments: &'static [&'static str],
    code: i32,
    says: &'static str,
) -> Case {
    Case { arguments, environment, code, says }
}

/// Checked against etcd 3.7.1.
const CASES: &[Case] = &[
    flags(&["--no-such-flag"], 2, "no-such-flag"),
    flags(&["--no-such-flag=1"], 2, "no-such-flag"),
    flags(&["-x"], 2, "-x"),
    flags(&["--experimental-initial-corrupt-check"], 2, "experimental-initial-corrupt-check"),
    flags(&["--enable-v2"], 2, "enable-v2"),
    flags(&["--discovery", "x"], 2, "discovery"),
    flags(&["stray"], 1, "is not a valid flag"),
    flags(&["--pre-vote", "true"], 1, "is not a valid flag"),
    flags(&["--name"], 2, "name"),
    flags(&["--pre-vote=maybe"], 2, "pre-vote"),
    flags(&["--snapshot-count", "many"], 2, "snapshot-count"),
    flags(&["--snapshot-count", "-1"], 2, "snapshot-count"),
    flags(&["--max-txn-ops", "1e3"], 2, "max-txn-ops"),
    flags(&["--max-request-bytes", "1.5MiB"], 2, "max-request-bytes"),
    flags(&["--max-concurrent-streams", "4294967296"], 2, "max-concurrent-streams"),
    flags(&["--quota-backend-bytes", "2GiB"], 2, "quota-backend-bytes"),
    flags(&["--grpc-keepalive-interval", "2"], 2, "grpc-keepalive-interval"),
    flags(&["--grpc-keepalive-timeout", "soon"], 2, "grpc-keepalive-timeout"),
    flags(&["--heartbeat-interval", "100ms"], 2, "heartbeat-interval"),
    flags(&["--election-timeout", "1s"], 2, "election-timeout"),
    flags(&["--initial-cluster-state", "old"], 2, "initial-cluster-state"),
    flags(&["--heartbeat-interval", "0"], 1, "--heartbeat-interval must be >0 (set to 0ms)"),
    flags(&["--election-timeout", "0"], 1, "--election-timeout must be >0 (set to 0ms)"),
    flags(
        &["--election-timeout", "499"],
        1,
        "--election-timeout[499ms] should be at least as 5 times as --heartbeat-interval[100ms]",
    ),
    flags(
        &["--heartbeat-interval", "300", "--election-timeout", "1499"],
        1,
        "--election-timeout[1499ms] should be at least as 5 times as --heartbeat-interval[300ms]",
    ),
    flags(
        &["--election-timeout", "50001"],
        1,
        "--election-timeout[50001ms] is too long, and should be set less than 50000ms",
    ),
    flags(
        &["--listen-client-urls", "http://127.0.0.1:1"],
        1,
        "--advertise-client-urls is required when --listen-client-urls is set explicitly",
    ),
    flags(
        &["--listen-client-urls", "http://example.com:2379", "--advertise-client-urls", "http://127.0.0.1:1"],
        1,
        "expected IP in URL for binding (http://example.com:2379)",
    ),
    flags(
        &["--listen-peer-urls", "http://example.com:2380"],
        1,
        "expected IP in URL for binding (http://example.com:2380)",
    ),
    flags(
        &["--advertise-client-urls", "http://127.0.0.1:1", "--listen-client-urls", "127.0.0.1:2379"],
        2,
        "listen-client-urls",
    ),
    flags(
        &["--advertise-client-urls", "http://127.0.0.1:1", "--listen-client-urls", "ftp://127.0.0.1:2379"],
        2,
        "listen-client-urls",
    ),
    flags(
        &["--advertise-client-urls", "http://127.0.0.1:1", "--listen-client-urls", "http://127.0.0.1"],
        2,
        "listen-client-urls",
    ),
    flags(&["--listen-peer-urls", "http://127.0.0.1:2380/path"], 2, "listen-peer-urls"),
    flags(&["--logger", "capnslog"], 1, "--logger=capnslog is removed in v3.5"),
    flags(&["--logger", "printf"], 1, "unknown logger option"),
    flags(&["--log-format", "xml"], 1, "unknown log format: xml, supported values json, console"),
    env(&[("ETCD_NAME", "a")], &["--name", "b"], 1, "ETCD_NAME"),
    env(&[("ETCD_HEARTBEAT_INTERVAL", "0")], &[], 1, "--heartbeat-interval must be >0 (set to 0ms)"),
    env(&[("ETCD_SNAPSHOT_COUNT", "many")], &[], 1, "ETCD_SNAPSHOT_COUNT"),
];

/// URLs and environment variables that do not parse: etcd tells a mistake of syntax (2) from one of sense (1) by where
/// in its code the value is looked at; Graven may use either. The flag must be named all the same.
const EITHER_EXIT: &[&str] = &["--listen-client-urls", "--listen-peer-urls"];

fn right_exit(case: &Case, code: Option<i32>) -> bool {
    let loose =
        case.arguments.iter().any(|argument| EITHER_EXIT.contains(argument)) || !case.environment.is_empty();
    code == Some(case.code) || (loose && matches!(code, Some(1 | 2)))
}

#[test]
fn bad_flags_are_named_and_nothing_is_made() {
    let mut wrong = Vec::new();
    for case in CASES {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let mut command = Command::new(program());
        command.args(["--data-dir".as_ref(), data.as_os_str()]).args(case.arguments).current_dir(dir.path());
        command.envs(case.environment.iter().copied()).env_remove("GRAVEN_BIN").stdin(Stdio::null());
        // Should one start after all, it must not get in anybody's way, and it must end.
        let output = ended(command);
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        if !right_exit(case, output.status.code())
            || !said.replace("\\\"", "\"").contains(case.says)
            || !left.is_empty()
        {
            let shown: String =
                said.lines().rev().take(3).collect::<Vec<_>>().join(" | ").chars().take(700).collect();
            wrong.push(format!(
                "{:?} {:?}: expected exit {} and {:?}, got {} leaving {left:?}: {shown}",
                case.environment, case.arguments, case.code, case.says, output.status
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}

/// Runs a command that should end by itself at once; after ten seconds it is ended.
pub(crate) fn ended(mut command: Command) -> std::process::Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        if is_done.recv_timeout(std::time::Duration::from_secs(10)).is_err() {
            _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    });
    let output = child.wait_with_output().unwrap();
    _ = done.send(());
    guard.join().unwrap();
    output
}
