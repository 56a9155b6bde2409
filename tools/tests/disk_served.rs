//! The server that `graven-disk qualify` puts under load: measured, and gone afterwards, however the run ends.

#![expect(clippy::unwrap_used, reason = "helpers of tests may stop at once")]

mod disk;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use disk::{disk, entries, signal};
use tempfile::TempDir;

const WORDS: [&str; 5] = ["qualify", "--quick", "--allow-tmpfs", "--phases", "prediction"];
/// Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Servers that run below a directory.
fn members(dir: &Path) -> Vec<u32> {
    let dir = dir.to_str().unwrap();
    let running = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        words.get(1).is_some_and(|word| word == "serve-member") && words[2].starts_with(dir)
    };
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(running).collect()
}

#[test]
fn a_server_is_measured_and_gone() {
    let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let json = out.path().join("disk.json");
    let output = disk(&WORDS).arg(dir.path()).args(["--json", json.to_str().unwrap()]).output().unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(text.contains("A real Graven here") && text.contains("with one connection"), "{text}");
    assert_eq!((entries(dir.path()), members(dir.path())), (Vec::new(), Vec::new()));

    let document: serde_json::Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let prediction = &document["prediction"];
    assert_eq!(prediction["connections"], 1, "as graven-bench put has it by default");
    let puts = prediction["puts"].as_array().unwrap();
    assert_eq!(puts.iter().map(|one| one["clients"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 64, 1000]);
    for one in puts {
        let figure = |name: &str| one[name].as_f64().unwrap();
        assert!(figure("per_second") > 10.0 && figure("server_cpu_us") > 0.0, "{one}");
        assert!(figure("client_cpu_us") > 0.0 && figure("sync_us") > 0.0, "{one}");
        let counted: u64 =
            one["by_second"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(one["latency"]["count"].as_u64().unwrap(), counted, "{one}");
        // Everybody's put waits for the next one's turn: rate and latency belong together.
        let clients = figure("per_second") * figure("mean_us") / 1e6;
        assert!((clients / figure("clients") - 1.0).abs() < 0.2, "{clients} in {one}");
    }
    let batch = |at: usize| puts[at]["batch"].as_f64().unwrap();
    assert!(
        batch(0) < 1.5 && batch(1) > batch(0),
        "a lone client's puts are alone: {} {}",
        batch(0),
        batch(1)
    );
}

/// A run whose server is under load.
fn under_load(dir: &Path) -> (Child, BufReader<ChildStderr>, u32) {
    let mut child = disk(&WORDS).arg(dir).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("a server, 1 client") {
        line.clear();
        assert!(errors.read_line(&mut line).unwrap() > 0, "it ended before it had a server");
    }
    let members = members(dir);
    assert_eq!(members.len(), 1, "one server");
    (child, errors, members[0])
}

/// Whatever is left of what a run has said, and its exit code.
fn end(mut child: Child, mut errors: BufReader<ChildStderr>) -> (Option<i32>, String) {
    let mut text = String::new();
    errors.read_to_string(&mut text).unwrap();
    (child.wait().unwrap().code(), text)
}

#[test]
fn ctrl_c_ends_the_server_too() {
    let dir = TempDir::new().unwrap();
    let (child, errors, _) = under_load(dir.path());
    signal(&child, "INT");
    let (code, text) = end(child, errors);
    assert_eq!(code, Some(130), "{text}");
    assert_eq!((entries(dir.path()), members(dir.path())), (Vec::new(), Vec::new()));
}

#[test]
fn a_server_that_dies_is_told_with_its_end() {
    let dir = TempDir::new().unwrap();
    let (child, errors, member) = under_load(dir.path());
    let killed = Command::new("kill").args(["-9", &member.to_string()]).status().unwrap();
    assert!(killed.success());
    let (code, text) = end(child, errors);
    let last = text.lines().last().unwrap();
    assert!(
        code == Some(2) && last.contains("the server on this disk ended under load (signal 9)"),
        "{text}"
    );
    assert!(entries(dir.path()).is_empty());
}

/// Nobody can tidy up after `kill -9`; but the server must not go on writing to the disk.
#[test]
fn a_killed_run_takes_its_server_along() {
    let dir = TempDir::new().unwrap();
    let (child, errors, _) = under_load(dir.path());
    signal(&child, "KILL");
    end(child, errors);
    let begun = Instant::now();
    while !members(dir.path()).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the server goes on");
        std::thread::yield_now();
    }
    // What was left behind goes with the next run.
    let output =
        disk(&["qualify", "--quick", "--allow-tmpfs", "--phases", "environment"]).arg(dir.path()).output();
    assert!(output.unwrap().status.success());
    assert!(entries(dir.path()).is_empty());
}
