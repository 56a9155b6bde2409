//! `graven-bench storage --quick` as people run it: every row is there, files are what they should be, nothing is left
//! behind, and bad requests are refused in one line. How fast anything is, is not asserted.

#![expect(clippy::unwrap_used, reason = "helpers of tests may stop at once")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Every row, in the order of the goals.
const ROWS: &[&str] = &[
    "wal-1",
    "wal-64",
    "put",
    "read",
    "count",
    "open-1m",
    "open-10m",
    "memory",
    "compaction",
    "defragment",
    "file-size",
    "bytes",
    "large",
    "peers",
];

fn storage(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graven-bench"));
    command.args(["storage", "--quick", "--dir"]).arg(dir).args(arguments).stdin(Stdio::null());
    command
}

fn run(dir: &Path, arguments: &[&str]) -> Output {
    storage(dir, arguments).output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn entries(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn report(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn names(report: &Value) -> Vec<String> {
    let rows = report["rows"].as_array().unwrap();
    rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_row_is_measured_and_nothing_is_left() {
    let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let json = out.path().join("report.json");
    let output = run(dir.path(), &["--json", json.to_str().unwrap()]);
    assert!(output.status.success(), "{}", errors(&output));
    assert_eq!(entries(dir.path()), Vec::<String>::new());
    assert_eq!(entries(out.path()), ["report.json"]);
    assert!(errors(&output).contains("writes up to"), "{}", errors(&output));

    let report = report(&json);
    assert_eq!((&report["format"], &report["quick"]), (&1.into(), &true.into()));
    assert_eq!(names(&report), ROWS);
    for row in report["rows"].as_array().unwrap() {
        check_row(row);
    }
    let table = String::from_utf8(output.stdout).unwrap();
    for name in ROWS {
        let begins = if *name == "peers" { "\npeers: ".to_owned() } else { format!("\n| {name} ") };
        assert!(table.contains(&begins), "{name} in\n{table}");
    }
    assert!(table.contains("SKIPPED: no server given"), "{table}");
}

fn check_row(row: &Value) {
    let name = row["name"].as_str().unwrap();
    assert!(!row["title"].as_str().unwrap().is_empty(), "{name}");
    if name == "memory" {
        assert!(row["skipped"].is_string(), "{name} needs a server");
        return;
    }
    assert!(row["skipped"].is_null(), "{name}");
    assert!(!row["conditions"].as_str().unwrap().is_empty(), "{name}");
    for probe in ["before", "after"] {
        assert!(row["floor"][probe]["per_second"].as_f64().unwrap() > 0.0, "{name}");
    }
    assert!(row["rounds"]["kept"].as_u64().unwrap() > 0, "{name}");
    let measures = row["measures"].as_array().unwrap();
    let with_goals = measures.iter().filter(|measure| !measure["goal"].is_null()).count();
    assert_eq!(with_goals == 0, name == "peers", "every row but the comparison has goals");
    for measure in measures {
        check_measure(name, measure);
    }
}

/// Not every machine has fio or Go, not every directory lies on a block device, and not every build has the peers.
fn depends_on_the_machine(what: &str) -> bool {
    let peer = what.starts_with("peers: ") && !what.starts_with("peers: graven ");
    peer || what.contains("fio") || what.contains("at the device")
}

fn check_measure(name: &str, measure: &Value) {
    let what = format!("{name}: {} {}", measure["of"].as_str().unwrap(), measure["what"].as_str().unwrap());
    let values = measure["values"].as_array().unwrap();
    let verdict = measure["verdict"].as_str().unwrap();
    if depends_on_the_machine(&what) {
        assert_eq!(values.is_empty(), verdict == "not_measured", "{what}");
    }
    if values.is_empty() && depends_on_the_machine(&what) {
        return;
    }
    let number = |field: &str| measure[field].as_f64().unwrap_or_else(|| panic!("{what} has no {field}"));
    assert!(!values.is_empty(), "{what}");
    assert!(number("min") <= number("median") && number("median") <= number("max"), "{what}");
    let reached = match &measure["goal"] {
        Value::Null => None,
        goal => Some(match (goal["at_least"].as_f64(), goal["at_most"].as_f64()) {
            (Some(bound), None) => number("median") >= bound,
            (None, Some(bound)) => number("median") <= bound,
            _ => panic!("{what}: {goal}"),
        }),
    };
    let expected = match reached {
        None => "shown",
        Some(true) => "reached",
        Some(false) => "missed",
    };
    assert_eq!(verdict, expected, "{what}");
}

#[test]
fn rows_can_be_chosen_and_a_run_taken_up_again() {
    let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let json = out.path().join("report.json");
    let file = json.to_str().unwrap();
    let output = run(dir.path(), &["--only", "count", "--json", file]);
    assert!(output.status.success(), "{}", errors(&output));
    assert_eq!(names(&report(&json)), ["count"]);
    let first = report(&json)["rows"][0].clone();

    let output = run(dir.path(), &["--only", "count", "--only", "wal-64", "--json", file, "--resume"]);
    assert!(output.status.success(), "{}", errors(&output));
    assert!(errors(&output).contains("count: kept from before"), "{}", errors(&output));
    let report = report(&json);
    assert_eq!(names(&report), ["wal-64", "count"], "in the order of the goals");
    assert_eq!(report["rows"][1], first, "as it was measured");
}

/// Exit code 2, one line that says what and what to do, nothing written.
fn assert_refused(output: &Output, expected: &str) {
    let errors = errors(output);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    let complaint = errors.lines().last().unwrap_or_default();
    assert!(complaint.starts_with("graven-bench: ") && complaint.contains(expected), "{errors}");
    assert_eq!(output.stdout, b"");
}

#[test]
fn bad_requests_are_refused_in_one_line() {
    let dir = TempDir::new().unwrap();
    let refused = run(dir.path(), &["--only", "warp"]);
    assert_refused(&refused, "there is no row 'warp'; the rows are wal-1, ");
    assert_eq!(errors(&refused).lines().count(), 1);

    let file = dir.path().join("file");
    fs::write(&file, "content").unwrap();
    assert_refused(&run(&file, &[]), "is not a directory");
    assert_refused(&run(&dir.path().join("absent"), &[]), "cannot be used");
    assert_refused(&run(Path::new("/proc"), &[]), "cannot be written to");

    let absent = dir.path().join("absent/report.json");
    assert_refused(&run(dir.path(), &["--json", absent.to_str().unwrap()]), "cannot be written");
    let not_json = file.to_str().unwrap();
    assert_refused(&run(dir.path(), &["--json", not_json, "--resume"]), "is not a report");
    let newer = dir.path().join("newer.json");
    let empty = r#"{"format":2,"version":"9","quick":true,"machine":{"processor":"","cpus":1,"memory_bytes":1,
        "kernel":"","file_system":"","device":"","method":""},"rows":[]}"#;
    fs::write(&newer, empty).unwrap();
    assert_refused(&run(dir.path(), &["--json", newer.to_str().unwrap(), "--resume"]), "has format 2");

    let refused = run(dir.path(), &["--only", "memory", "--server", "/nonexistent/graven"]);
    assert_refused(&refused, "--server /nonexistent/graven");
    assert_eq!(entries(dir.path()), ["file", "newer.json"], "what was there is there, and nothing else");
}

#[test]
fn too_little_space_is_refused_before_anything_is_written() {
    let dir = TempDir::new().unwrap();
    // Not quick: four petabytes fit on no disk of ours.
    let output = Command::new(env!("CARGO_BIN_EXE_graven-bench"))
        .args(["storage", "--only", "large", "--large-gb", "4096", "--dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert_refused(&output, "too little space");
    assert!(errors(&output).contains("--large-gb"), "{}", errors(&output));
    assert_eq!(entries(dir.path()), Vec::<String>::new());
}

#[test]
fn a_directory_of_somebody_else_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let foreign = dir.path().join("graven-bench.work");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("precious"), "content").unwrap();
    assert_refused(&run(dir.path(), &["--only", "count"]), "was not made by graven-bench");
    assert_eq!(entries(&foreign), ["precious"]);
}

#[test]
fn after_ctrl_c_nothing_is_left() {
    let dir = TempDir::new().unwrap();
    // Many rounds: it would go on for minutes.
    let mut child = storage(dir.path(), &["--only", "put", "--only", "open-1m", "--rounds", "99"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let begun = lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("put: "));
    assert!(begun.is_some(), "it gets to its first row");
    assert_eq!(entries(dir.path()), ["graven-bench.work"]);
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let rest: Vec<_> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    assert!(rest.last().is_some_and(|line| line.contains("interrupted")), "{rest:?}");
    assert_eq!(entries(dir.path()), Vec::<String>::new());
}
