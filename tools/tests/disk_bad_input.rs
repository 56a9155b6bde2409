//! `graven-disk` with what cannot work: one line that says what and what to do, exit code 2, nothing written.

#![expect(clippy::unwrap_used, reason = "helpers of tests may stop at once")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

fn disk(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graven-disk"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn qualify(dir: &Path, arguments: &[&str]) -> Output {
    disk(&["qualify", "--quick"]).args(arguments).arg(dir).output().unwrap()
}

fn entries(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn assert_refused(output: &Output, expected: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.starts_with("graven-disk: ") && errors.contains(expected), "{expected} in {errors}");
    assert_eq!(output.stdout, b"");
}

#[test]
fn places_that_are_no_directory_on_a_disk() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "content").unwrap();
    assert_refused(&qualify(&file, &[]), "is not a directory: give one");
    assert_refused(&qualify(&dir.path().join("absent"), &[]), "cannot be used: No such file");
    assert_eq!(entries(dir.path()), ["file"], "what was there is there, and nothing else");
}

#[test]
fn contradictory_and_unknown_words() {
    let dir = TempDir::new().unwrap();
    let cases: [(&[&str], &str); 7] = [
        (&["--full"], "cannot be used with"),
        (&["--duration", "5m"], "cannot be used with"),
        (&["--phases", "warp"], "there is no phase 'warp'; the phases are environment"),
        (&["--p99", "10"], "as 300us, 10ms or 5m"),
        (&["--puts", "0"], "--puts"),
        (&["--method", "hope"], "--method"),
        (&["--json", "/nonexistent/report.json"], "--json /nonexistent/report.json: cannot be written"),
    ];
    for (words, expected) in cases {
        assert_refused(&qualify(dir.path(), words), expected);
    }
    assert_refused(&disk(&[]).output().unwrap(), "graven-disk --help");
    assert_refused(&disk(&["qualify"]).output().unwrap(), "DIR");
    assert_refused(&disk(&["report", "/nonexistent"]).output().unwrap(), "cannot be read");
    assert_eq!(entries(dir.path()), Vec::<String>::new());
}
