//! `graven-disk qualify` from the log's curve to the verdict, in ten seconds: that the parts come together. What the figures
//! are is nobody's business here.

#![expect(clippy::unwrap_used, reason = "helpers of tests may stop at once")]

use std::fs;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const PHASES: &str = "log,disturbance,time,prediction,verdict";

fn disk(arguments: &[&str]) -> Output {
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
    let output = disk(&[
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
    assert_eq!(document["commit"]["closed"].as_array().unwrap().len(), 6);
    assert!(document["commit"]["open"].as_array().unwrap().len() >= 2);
    assert_eq!(document["disturbance"]["beside"].as_array().unwrap().len(), 3);
    assert!(document["over_time"]["seconds"].as_array().unwrap().len() >= 5);
    assert_eq!(document["prediction"]["puts"].as_array().unwrap().len(), 3);
    assert_eq!(document["verdict"]["outcome"], outcome.replace(' ', "-"));

    // The same from the file: tables and page are made from nothing else.
    let again = disk(&["report", json]);
    assert_eq!(String::from_utf8_lossy(&again.stdout), text);
    let page = fs::read_to_string(html).unwrap();
    let other = dir.path().join("again.html");
    disk(&["report", json, "--html", other.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(other).unwrap(), page);
    let log = dir.path().join("again.hdr");
    disk(&["report", json, "--hdr", log.to_str().unwrap()]);
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.lines().any(|line| line.starts_with("Tag=sync,")), "{text}");
    assert_eq!(fs::read_to_string(hdr).unwrap(), text);
    for section in ["log", "disturbance", "time", "prediction", "verdict"] {
        assert!(page.contains(&format!("id=\"{section}\"")), "{section}");
    }
}
