//! The first phases of `graven-disk qualify` as people run them: facts, matrix, recipes; and Ctrl-C in the midst of them.
//! How fast anything is, is not asserted.

mod disk;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use disk::{disk, entries, signal};
use serde_json::Value;
use tempfile::TempDir;

#[test]
fn facts_matrix_and_recipes_end_in_the_document_and_nothing_is_left() {
    let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let json = out.path().join("report.json");
    let words = ["qualify", "--duration", "10s", "--phases", "environment,matrix,recipes", "--json"];
    let output = disk(&words).arg(&json).arg(dir.path()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let announced = errors.lines().next().unwrap();
    assert!(announced.contains("writes up to") && announced.contains("at one time"), "{announced}");
    assert_eq!(entries(dir.path()), Vec::<String>::new());
    assert_eq!(entries(out.path()), ["report.json"]);

    let shown = String::from_utf8(output.stdout).unwrap();
    for line in shown.lines() {
        assert!(line.chars().count() <= 80, "wider than a terminal: {line}");
    }
    // On a disk that is very busy the log's own probe cannot decide, and says so.
    for expected in ["file_system", "direct-dsync", "ring-4", "tokio-uring", "\nThe log", "openshift"] {
        assert!(shown.to_lowercase().contains(&expected.to_lowercase()), "{expected} in\n{shown}");
    }

    let report: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(
        (&report["format"], &report["version"], &report["kind"]),
        (&"graven-disk".into(), &2.into(), &"qualify".into())
    );
    for fact in report["environment"]["facts"].as_array().unwrap() {
        for field in ["name", "value", "why"] {
            assert!(!fact[field].as_str().unwrap().is_empty(), "{fact}");
        }
        assert!(["fine", "note", "warning"].contains(&fact["level"].as_str().unwrap()), "{fact}");
    }
    let cells = report["matrix"]["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 8 * 3 * 6);
    for cell in cells {
        match cell["measured"].as_object() {
            Some(found) => {
                let figure = |name: &str| found[name].as_f64().unwrap();
                assert!(
                    figure("low_us") <= figure("median_us") && figure("median_us") <= figure("high_us"),
                    "{cell}"
                );
                assert!(figure("per_second") > 0.0, "{cell}");
            }
            None => assert!(!cell["not_possible"].as_str().unwrap().is_empty(), "{cell}"),
        }
    }
    let rows = report["recipes"]["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| &row["name"]).collect::<Vec<_>>(), ["ibm", "openshift"]);
    assert!(rows.iter().all(|row| row["sync"]["count"].as_u64().unwrap() > 0));

    // The file alone shows the same.
    let again = disk(&["report"]).arg(&json).output().unwrap();
    assert!(again.status.success());
    assert_eq!(String::from_utf8(again.stdout).unwrap(), shown);
}

#[test]
fn after_ctrl_c_nothing_is_left() {
    let dir = TempDir::new().unwrap();
    let mut child = disk(&["qualify", "--duration", "1h", "--phases", "matrix"])
        .arg(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let begun = lines.find(|line| line.starts_with("matrix: 1 of"));
    assert!(begun.is_some(), "it gets through its first round");
    assert_eq!(entries(dir.path()), ["graven-disk.work"]);
    signal(&child, "INT");
    let rest: Vec<_> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    let last = rest.last().map(String::as_str).unwrap_or_default();
    assert!(last.starts_with("graven-disk: interrupted before anything was measured; "), "{rest:?}");
    assert!(last.ends_with("is removed"), "{rest:?}");
    assert_eq!(entries(dir.path()), Vec::<String>::new());
}
