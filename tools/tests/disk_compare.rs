//! `graven-disk report` and `compare` of files: what they show, and what they refuse.

#![expect(clippy::unwrap_used, reason = "helpers of tests may stop at once")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A run on an ordinary disk, as each version of the format has it. Later versions have to read it too. Beside each a list of what
/// it holds: a path and a kind of value a line.
const REPORTS: [&str; 2] = ["qualify-1", "qualify-2"];
/// A prediction as version 1 computed it, and one that was measured.
const PREDICTED: [&str; 2] = ["Computed from a model", "Measured: a member in a process of its own"];

fn file(name: &str, ending: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reports").join(name).with_extension(ending)
}

fn disk(words: &[&str], files: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graven-disk"));
    command.args(words).args(files).stdin(Stdio::null()).output().unwrap()
}

fn read(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(file(name, "json")).unwrap()).unwrap()
}

/// The newest.
fn report() -> Value {
    read(REPORTS[1])
}

fn written(dir: &TempDir, name: &str, report: &Value) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, report.to_string()).unwrap();
    path
}

fn assert_refused(output: &Output, expected: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.starts_with("graven-disk: ") && errors.contains(expected), "{expected} in {errors}");
    assert_eq!(output.stdout, b"");
}

/// Every path to a value with its kind; elements of lists share a path.
fn fields(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(entries) => {
            entries.iter().for_each(|(name, value)| fields(value, &format!("{path}.{name}"), found));
        }
        Value::Array(elements) => {
            elements.iter().for_each(|value| fields(value, &format!("{path}[]"), found))
        }
        Value::Null => found.push(format!("{path} null")),
        Value::Bool(_) => found.push(format!("{path} bool")),
        Value::Number(_) => found.push(format!("{path} number")),
        Value::String(_) => found.push(format!("{path} string")),
    }
}

fn fields_text(report: &Value) -> String {
    let mut found = Vec::new();
    fields(report, "", &mut found);
    found.sort();
    found.dedup();
    found.join("\n") + "\n"
}

/// Whoever renames, moves or retypes a field has to raise the version and to keep reading these files.
#[test]
fn the_document_keeps_its_fields() {
    for (version, (name, predicted)) in REPORTS.into_iter().zip(PREDICTED).enumerate() {
        let found = fields_text(&read(name));
        if std::env::var_os("UPDATE_FIELDS").is_some() {
            fs::write(file(name, "fields"), &found).unwrap();
        }
        assert_eq!(found, fs::read_to_string(file(name, "fields")).unwrap());
        let mut renamed = read(name);
        assert_eq!(renamed["version"], version + 1);
        let commit = renamed.as_object_mut().unwrap().remove("commit").unwrap();
        renamed["log"] = commit;
        assert_ne!(fields_text(&renamed), found, "a planted change is seen");
        // The program of today understands it in whole.
        let output = disk(&["report"], &[&file(name, "json")]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        for part in ["Graven's own log", "Verdict: ", predicted] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}

#[test]
fn two_disks_side_by_side() {
    let dir = TempDir::new().unwrap();
    let mut faster = report();
    for puts in faster["prediction"]["puts"].as_array_mut().unwrap() {
        puts["per_second"] = (puts["per_second"].as_f64().unwrap() * 3.0).into();
    }
    let (slow, fast) = (written(&dir, "slow.json", &report()), written(&dir, "fast.json", &faster));
    let page = dir.path().join("page.html");
    let output = disk(&["compare", "--html", page.to_str().unwrap()], &[&slow, &fast]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        text.lines().next().unwrap().contains("slow") && text.lines().next().unwrap().contains("fast"),
        "{text}"
    );
    let puts = text.lines().find(|line| line.contains("predicted puts/s, 64 clients")).unwrap();
    assert!(puts.trim_end().ends_with("* |"), "the faster one is marked: {puts}");
    let syncs = text.lines().find(|line| line.contains("p50 of a sync")).unwrap();
    assert!(!syncs.contains('*'), "equal figures have no best: {syncs}");
    assert!(text.contains("records/s, 1,024 writers") && text.contains("puts/s, 1,000 clients"), "{text}");
    let html = fs::read_to_string(page).unwrap();
    assert!(html.contains("fast sustains 3 times the puts of slow"), "the page's headline");
}

/// Sentences would make a row of 260 characters.
#[test]
fn findings_stand_below_the_table() {
    let dir = TempDir::new().unwrap();
    let mut stalls = report();
    let stall = r#"{"kind":"fall","at":17,"before_us":90.0,"after_us":900.0}"#;
    stalls["over_time"]["findings"] = Value::Array(vec![serde_json::from_str(stall).unwrap(); 2]);
    let (good, bad) = (written(&dir, "good.json", &report()), written(&dir, "bad.json", &stalls));
    let output = disk(&["compare"], &[&good, &bad]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let row = text.lines().find(|line| line.contains("found over time")).unwrap();
    assert!(row.contains("2 things"), "{text}");
    assert_eq!(text.matches("\nbad: ").count(), 2, "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 130), "{text}");
}

#[test]
fn files_that_cannot_be_compared() {
    let dir = TempDir::new().unwrap();
    let good = written(&dir, "good.json", &report());
    let with = |name: &str, field: &str, value: Value| {
        let mut changed = report();
        changed[field] = value;
        written(&dir, name, &changed)
    };
    let text = dir.path().join("text.json");
    fs::write(&text, "not a report").unwrap();
    let cases = [
        (dir.path().join("absent.json"), "cannot be read"),
        (text, "is not a report"),
        (with("foreign.json", "format", "graven-bench".into()), "is not a report"),
        (with("newer.json", "version", 3.into()), "use a newer graven-disk"),
        (with("damaged.json", "commit", "none".into()), "is a damaged report"),
        (with("quick.json", "quick", (!report()["quick"].as_bool().unwrap()).into()), "measure both alike"),
    ];
    for (other, expected) in &cases {
        assert_refused(&disk(&["compare"], &[&good, other]), expected);
    }
    assert_refused(&disk(&["compare"], &[&good]), "graven-disk --help");
    let nowhere = ["compare", "--html", "/nonexistent/page.html"];
    assert_refused(&disk(&nowhere, &[&good, &good]), "--html /nonexistent/page.html: cannot be written");
}
