//! `graven-bench compare`, `perf` and `datascale` as people run them, against Graven and against a fake. How fast anything is, is
//! not asserted.

#![expect(clippy::unwrap_used, reason = "helpers of tests may stop at once")]

#[path = "../load/fake.rs"]
#[expect(dead_code, reason = "not all its faults are planted here")]
mod fake;
mod fake_process;
mod graven;
mod presets;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A comparison of moments in a directory.
fn compare(dir: &Path, a: &str, b: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graven-bench"));
    command.args(["compare", "--a", a, "--b", b, "--dir"]).arg(dir);
    command.args(["--warm-up", "0", "--duration", "200ms", "--probe", "50ms", "--key-space", "100"]);
    command.args(more).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn entries(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_server_that_syncs_is_told_from_one_that_does_not() {
    let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (json, html) = (out.path().join("compare.json"), out.path().join("compare.html"));
    let more = ["--name-a", "honest", "--name-b", "liar", "--rounds", "2", "--loads", "put,range,mixed"];
    let mut command = compare(dir.path(), &graven::command(), &fake_process::command(None), &more);
    command.args(["--clients", "1,4", "--json"]).arg(&json).arg("--html").arg(&html);
    let output = command.output().unwrap();
    let (said, noted) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(entries(dir.path()), Vec::<String>::new(), "{noted}");
    let document: Value = serde_json::from_slice(&fs::read(&json).expect(&noted)).unwrap();
    assert_eq!(
        (&document["format"], &document["version"], &document["kind"]),
        (&"graven-bench".into(), &1.into(), &"compare".into())
    );

    // Where the directory is on no device, or others are too busy on it, it is not known; the wrong answer is never given.
    let servers = document["servers"].as_array().unwrap();
    let verdict = |at: usize| servers[at]["durability"]["verdict"].as_str().unwrap();
    assert!(["syncs", "unknown"].contains(&verdict(0)), "{said}");
    assert!(["does-not-sync", "unknown"].contains(&verdict(1)), "{said}");
    // Where others leave the device alone, the right one has to be.
    let turns = document["turns"].as_array().unwrap();
    if is_quiet(turns) {
        if least_flushes(turns, "honest") >= 0.9 {
            assert_eq!(verdict(0), "syncs", "{said}");
        }
        if verdict(0) == "syncs" {
            assert_eq!(verdict(1), "does-not-sync", "{said}");
        }
    }
    let is_caught = verdict(1) == "does-not-sync";
    assert_eq!(output.status.code(), Some(i32::from(is_caught)), "{said}{noted}");
    assert!(said.contains("CAUTION: ") && document["complaint"].is_string(), "{said}");
    assert_eq!(is_caught, noted.contains("answers puts before they are durable"), "{noted}");

    for (server, name) in servers.iter().zip(["honest", "liar"]) {
        assert_eq!(server["name"], name);
        assert!(server["version"].as_str().unwrap().starts_with("3."), "{server}");
        let loads = server["loads"].as_array().unwrap();
        let named: Vec<_> = loads
            .iter()
            .map(|load| (load["name"].as_str().unwrap(), load["clients"].as_u64().unwrap()))
            .collect();
        let wanted = ["put", "range", "mixed"].map(|name| [(name, 1), (name, 4)]).concat();
        assert_eq!(named, wanted);
        for load in loads {
            check_load(load);
        }
    }
    check_turns(turns);
    for name in ["put, 1 client", "range, 4 clients", "mixed, 4 clients"] {
        assert!(said.contains(&format!("| {name} ")), "{name} in {said}");
    }
    let page = fs::read_to_string(&html).unwrap();
    assert!(page.contains("<svg") && !page.contains("src=\"http") && !page.contains("<script"));
}

/// The moments of parity in the turns.
fn moments(turns: &[Value]) -> impl Iterator<Item = &Value> {
    turns.iter().flat_map(|turn| turn["parity"].as_array().unwrap())
}

/// Whether nobody else used the device while parity was checked. Not where there is no device to count on.
fn is_quiet(turns: &[Value]) -> bool {
    moments(turns).all(|moment| {
        let most = moment["puts"].as_f64().unwrap() * 0.05;
        ["writes", "flushes"]
            .iter()
            .all(|what| moment["rest"][what].as_f64().is_some_and(|count| count <= most))
    })
}

/// Of the device, for a put, in a server's worst moment.
fn least_flushes(turns: &[Value], server: &str) -> f64 {
    let own: Vec<Value> = turns.iter().filter(|turn| turn["server"] == server).cloned().collect();
    let each = moments(&own).map(|moment| {
        moment["during"]["flushes"].as_f64().unwrap() / moment["puts"].as_f64().unwrap().max(1.0)
    });
    each.fold(f64::MAX, f64::min)
}

fn check_load(load: &Value) {
    let number = |what: &str| load[what].as_f64().unwrap_or_else(|| panic!("{what} of {load}"));
    assert!(number("least_per_second") <= number("per_second"), "{load}");
    assert!(number("per_second") <= number("most_per_second"), "{load}");
    assert!(number("p50_us") > 0.0 && number("p50_us") <= number("p99_us"), "{load}");
    assert!(number("ratio") > 0.0 && number("rss_anon_bytes") > 4096.0, "{load}");
    assert!(number("cpu_per_million") >= 0.0 && number("client_cpu_per_million") > 0.0, "{load}");
    assert_eq!(load["failed"], 0, "{load}");
    if load["name"] == "range" {
        assert!(load["written_bytes"].is_null(), "{load}");
    }
}

/// Rounds alternate, and what was dropped was measured again.
fn check_turns(turns: &[Value]) {
    let kept: Vec<_> = turns.iter().filter(|turn| turn["dropped"] == false).collect();
    let order: Vec<_> =
        kept.iter().map(|turn| (turn["round"].as_u64().unwrap(), turn["server"].as_str().unwrap())).collect();
    assert_eq!(order, [(1, "honest"), (1, "liar"), (2, "liar"), (2, "honest")]);
    assert!(turns.iter().all(|turn| turn["dropped"] == false || turn["moved"] == true));
}

#[test]
fn a_server_that_dies_is_reported_with_its_last_words() {
    let dir = TempDir::new().unwrap();
    let dies = fake_process::command(Some(5_000));
    let more = ["--name-b", "mortal", "--loads", "put", "--duration", "60s", "--rounds", "1"];
    let output = compare_again(dir.path(), &fake_process::command(None), &dies, &more);
    let noted = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{noted}");
    let last = noted.lines().last().unwrap();
    let code = format!("exit code {}", fake_process::EXIT_CODE);
    assert!(last.starts_with("graven-bench: mortal: the server ended in the middle"), "{noted}");
    assert!(last.contains(&code) && last.contains(fake_process::LAST_WORDS), "{noted}");
    assert_eq!(entries(dir.path()), Vec::<String>::new());
}

/// The mortal one first, so that nothing has to be waited for.
fn compare_again(dir: &Path, immortal: &str, mortal: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graven-bench"));
    command.args([
        "compare", "--a", mortal, "--b", immortal, "--name-a", "mortal", "--name-b", "other", "--dir",
    ]);
    command.arg(dir).args(["--warm-up", "0", "--probe", "50ms", "--clients", "4"]);
    command.args(&more[2..]).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn after_ctrl_c_no_process_and_no_file_is_left() {
    let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let pid_file = out.path().join("pid");
    let noted = format!("echo $$ > {}; {}", pid_file.display(), fake_process::command(None));
    let mut child = compare(dir.path(), &noted, &fake_process::command(None), &["--rounds", "100"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let loading = lines.by_ref().map_while(Result::ok).find(|line| line.contains("put, clients: 1"));
    assert!(loading.is_some(), "it gets to its first load");
    let pid: u32 = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    assert!(Path::new(&format!("/proc/{pid}")).exists(), "the first server is running");
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let rest: Vec<_> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    assert!(rest.last().is_some_and(|line| line.contains("interrupted")), "{rest:?}");
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "the server has ended");
    assert_eq!(entries(dir.path()), Vec::<String>::new());
}

/// Lines of a comparison's standard error, until one says so.
fn wait_for(lines: &mut impl Iterator<Item = std::io::Result<String>>, words: &str) {
    assert!(lines.map_while(Result::ok).any(|line| line.contains(words)), "it gets to {words:?}");
}

/// Waits until a process has ended, whether anybody has taken leave of it or not.
fn wait_for_end(pid: u32) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    // Gone altogether: it has ended as well.
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    let patience = Timespec { tv_sec: 30, tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience)).unwrap();
    assert_eq!(ended, 1, "it is still running");
}

#[test]
fn servers_end_with_a_comparison_that_is_killed() {
    let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let pid_file = out.path().join("pid");
    // What the shell starts beside the server ends as well.
    let noted = format!("sleep 1000 & echo $! > {}; {}", pid_file.display(), fake_process::command(None));
    let mut child = compare(dir.path(), &noted, &fake_process::command(None), &["--rounds", "100"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(&mut BufReader::new(child.stderr.take().unwrap()).lines(), "put, clients: 1");
    let pid: u32 = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for_end(pid);
}

/// The first round is whole when the second begins; what ends it then does not take the first away.
#[test]
fn finished_turns_are_shown_whatever_ends_the_comparison() {
    for (code, ending) in [(130, "interrupted"), (2, "lost")] {
        let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (json, flag) = (out.path().join("compare.json"), out.path().join("no-more"));
        let command = fake_process::command(None);
        let mortal = format!("test ! -e {} || exit 9; {command}", flag.display());
        let mut child = compare(dir.path(), &command, &mortal, &["--rounds", "100", "--loads", "put"])
            .args(["--name-a", "one", "--name-b", "mortal", "--clients", "2", "--json"])
            .arg(&json)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        wait_for(&mut lines, "round 2 of 100");
        if code == 130 {
            let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
            assert!(killed.success());
        } else {
            fs::write(&flag, "").unwrap();
        }
        let rest: Vec<_> = lines.map_while(Result::ok).collect();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{rest:?}");
        let document: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
        match ending {
            "lost" => {
                let why = document["ending"][ending].as_str().unwrap();
                assert!(why.contains("--b: does not start: it ended with exit code 9"), "{why}");
                assert!(rest.last().unwrap().contains(why), "{rest:?}");
            }
            _ => assert_eq!(document["ending"], ending),
        }
        assert!(document["turns"].as_array().unwrap().len() >= 2);
        let said = text(&output.stdout);
        assert!(said.contains("CAUTION: the comparison was cut short after "), "{said}");
        assert!(said.contains("| put, 2 clients "), "{said}");
        assert_eq!(entries(dir.path()), Vec::<String>::new());
    }
}

/// Exit code 2, one line that says what and what to do, nothing left.
fn assert_refused(dir: &Path, a: &str, b: &str, more: &[&str], expected: &str) {
    let output = compare(dir, a, b, more).output().unwrap();
    let noted = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{noted}");
    let complaint = noted.lines().last().unwrap_or_default();
    assert!(complaint.starts_with("graven-bench: ") && complaint.contains(expected), "{expected}: {noted}");
    assert_eq!(output.stdout, b"");
}

#[test]
fn bad_requests_are_refused_in_one_line() {
    let dir = TempDir::new().unwrap();
    let (path, good) = (dir.path(), "true {dir} {endpoint}");
    assert_refused(path, "true {endpoint}", good, &[], "--a: has no {dir}");
    assert_refused(path, good, "true {dir}", &[], "--b: has neither {client-port} nor {endpoint}");
    assert_refused(path, good, "true {dir} {endpoint} {port}", &[], "{port} is no placeholder");
    assert_refused(path, good, "etcd --unsafe-no-fsync {dir} {endpoint}", &[], "a power cut");
    assert_refused(path, good, good, &["--clients", "4,4"], "--clients has 4 twice");
    let same = ["--json", "/tmp/../tmp/graven-x", "--html", "/tmp/graven-x"];
    assert_refused(path, good, good, &same, "--json and --html both name");
    let mut large = Command::new(env!("CARGO_BIN_EXE_graven-bench"));
    large.args(["compare", "--a", good, "--b", good, "--key-space", "100000000", "--value-size", "1000000"]);
    let output = large.arg("--dir").arg(path).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let noted = text(&output.stderr);
    assert!(noted.lines().last().unwrap().starts_with("graven-bench: too little space: "), "{noted}");
    assert_refused(path, good, good, &["--json", "/nonexistent/x.json"], "give a file that can be written");
    assert_refused(&path.join("absent"), good, good, &[], "give a directory that exists");
    let file = path.join("file");
    fs::write(&file, "content").unwrap();
    assert_refused(&file, good, good, &[], "is not a directory");
    assert_refused(path, good, good, &[], "--a: does not start: it ended with exit code 0; it said nothing");
    let absent = "/nonexistent/etcd {dir} {endpoint}";
    assert_refused(path, absent, good, &[], "exit code 127; it said: ");

    // A port that somebody else listens on.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let clash = graven::command().replace("{peer-port}", &port);
    assert_refused(path, &clash, good, &[], "--a: does not start: it ended with exit code 1");

    let foreign = path.join("graven-bench.work");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("precious"), "content").unwrap();
    assert_refused(path, good, good, &[], "was not made by graven-bench");
    assert_eq!(entries(&foreign), ["precious"]);
}
