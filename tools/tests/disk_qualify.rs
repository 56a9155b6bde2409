//! `graven-disk qualify` from the log's curve to the verdict, in ten seconds: that the parts come together. What the figures
//! are is nobody's business here.

#![expect(clippy::unwrap_used, reason = "helpers of tests may stop at once")]

mod disk;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};

use disk::{entries, signal};
use tempfile::TempDir;

const PHASES: &str = "log,disturbance,time,prediction,verdict";

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graven-disk"));
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn from_the_curve_to_the_verdict() {
    let dir = TempDir::new().unwrap();
    let measured = dir.path().join("disk");
    fs::create_dir(&measured).unwrap();
    let (json, html, hdr) =
        (dir.path().join("disk.json"), dir.path().join("disk.html"), dir.path().join("disk.hdr"));
    let (json, html, hdr) = (json.to_str().unwrap(), html.to_str().unwrap(), hdr.to_str().unwrap());
    let output = run(&[
        "qualify",
        "--phases",
        PHASES,
        "--duration",
        "10s",
        "--allow-tmpfs",
        "--p99",
        "1h",
        "--json",
        json,
        "--html",
        html,
        "--hdr",
        hdr,
        measured.to_str().unwrap(),
    ]);
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // An hour is a bound that no sync misses; but whether there were enough of them depends on what else this machine does.
    let outcome = match output.status.code() {
        Some(0) => "fit",
        Some(2) => "could not tell",
        other => panic!("{other:?}: {errors}\n{text}"),
    };
    assert_eq!(fs::read_dir(&measured).unwrap().count(), 0, "nothing is left behind");
    for part in [
        "Graven's own log",
        "1,024 writers",
        "\nKnee: ",
        "Under disturbance",
        "neighbor",
        "Over time",
        "64",
        &format!("Verdict: {outcome}"),
        "Kubernetes, 5,000 nodes",
        "--heartbeat-interval",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }

    let document: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert_eq!(document["ending"], "complete");
    assert_eq!(document["commit"]["closed"].as_array().unwrap().len(), 6);
    assert!(document["commit"]["open"].as_array().unwrap().len() >= 2);
    assert_eq!(document["disturbance"]["beside"].as_array().unwrap().len(), 3);
    assert!(document["over_time"]["seconds"].as_array().unwrap().len() >= 5);
    assert_eq!(document["prediction"]["puts"].as_array().unwrap().len(), 3);
    assert_eq!(document["verdict"]["outcome"], outcome.replace(' ', "-"));

    // The same from the file: tables and page are made from nothing else.
    let again = run(&["report", json]);
    assert_eq!(String::from_utf8_lossy(&again.stdout), text);
    let page = fs::read_to_string(html).unwrap();
    let other = dir.path().join("again.html");
    run(&["report", json, "--html", other.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(other).unwrap(), page);
    let log = dir.path().join("again.hdr");
    run(&["report", json, "--hdr", log.to_str().unwrap()]);
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.lines().any(|line| line.starts_with("Tag=sync,")), "{text}");
    assert_eq!(fs::read_to_string(hdr).unwrap(), text);
    for section in ["log", "disturbance", "time", "prediction", "verdict"] {
        assert!(page.contains(&format!("id=\"{section}\"")), "{section}");
    }
}

/// Ctrl-C in the second phase: what the first one found is shown and kept, and nobody takes it for the whole.
#[test]
fn an_interrupted_run_says_so_wherever_it_is_shown() {
    let dir = TempDir::new().unwrap();
    let measured = dir.path().join("disk");
    fs::create_dir(&measured).unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (json, html, hdr) = (file("disk.json"), file("disk.html"), file("disk.hdr"));
    let mut child = disk::disk(&["qualify", "--phases", "environment,log,time", "--allow-tmpfs"])
        .args(["--json", &json, "--html", &html, "--hdr", &hdr])
        .arg(&measured)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("log: ") {
        line.clear();
        assert_ne!(errors.read_line(&mut line).unwrap(), 0, "it ended before");
    }
    // Killed now, it would leave this.
    let killed = String::from_utf8(run(&["report", &json]).stdout).unwrap();
    assert!(killed.starts_with("The run failed or was killed: "), "{killed}");

    signal(&child, "INT");
    let (mut rest, mut text) = (String::new(), String::new());
    errors.read_to_string(&mut rest).unwrap();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    assert!(text.starts_with("The run was interrupted: ") && text.contains("file_system"), "{text}");
    for part in [
        "interrupted in the phase log; the phases before it are shown",
        &format!(", {json} too, {html} too;"),
        &format!("what was written to {} is removed", measured.display()),
    ] {
        assert!(rest.contains(part), "{part} in {rest}");
    }
    assert_eq!(entries(&measured), Vec::<String>::new());
    assert!(!fs::exists(&hdr).unwrap(), "there are no latencies over time");

    let document: serde_json::Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(document["ending"], "interrupted");
    assert_eq!(String::from_utf8(run(&["report", &json]).stdout).unwrap(), text);
    let page = fs::read_to_string(&html).unwrap();
    assert!(page.contains("The run was interrupted: "), "{page}");
    let beside = file("beside.html");
    let compared = run(&["compare", "--html", &beside, &json, &json]);
    let compared = String::from_utf8(compared.stdout).unwrap();
    let row = compared.lines().find(|line| line.contains("| run ")).unwrap_or_default();
    assert_eq!(row.matches("interrupted").count(), 2, "{compared}");
    assert!(fs::read_to_string(beside).unwrap().contains("did not come to its end"));
}

/// Without a sync over time nothing speaks for any timeout.
#[test]
fn nothing_is_suggested_from_nothing() {
    let dir = TempDir::new().unwrap();
    let output = run(&["qualify", "--allow-tmpfs", "--phases", "verdict", dir.path().to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("not measured") && !text.contains("--heartbeat-interval"), "{text}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("on an ordinary disk, on a slow one twice that or more"), "{errors}");
}
