//! `report`: what was measured is shown again from its file, old files too; other files are refused.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use super::fake::{Fake, Faults};
use super::golden;
use super::{command, load, measured, text};

fn report(file: &Path, more: &[&str]) -> Output {
    command(&["report", file.to_str().unwrap()]).args(more).output().unwrap()
}

/// Documents as version 1 of the format has them, by what a reader sees of them. Later versions have to read them too.
const DOCUMENTS: [(&str, &[&str]); 5] = [
    ("load-1", &["mixed (70 % reads)", "| range", "client: lean", "server: ", "failures: none"]),
    ("stm-1", &["stm (serializable-snapshots", "| transaction", "counted: ", "verified: "]),
    ("snapshot-1", &["snapshot (1 stream", "| put beside snapshots", "|        493 |", "streamed: "]),
    (
        "compare-1",
        &[
            "| put, 64 clients",
            "every put is synced",
            "0 of 1",
            "(?)",
            "not comparable: graven never had a quiet turn",
        ],
    ),
    ("perf-1", &["check perf (load s)", "from when it was due", "PASS: Throughput is"]),
];

#[test]
fn documents_keep_their_fields_and_are_shown_again() {
    let dir = tempfile::tempdir().unwrap();
    for (name, words) in DOCUMENTS {
        let document = golden::document(name);
        let expected = golden::expected(name);
        assert_eq!(golden::fields(&document), expected, "{name}");
        let mut renamed = document.clone();
        let machine = renamed.as_object_mut().unwrap().remove("machine").unwrap();
        renamed["computer"] = machine;
        assert_ne!(golden::fields(&renamed), expected, "a planted change is seen");

        let file = golden::file(&format!("{name}.json"));
        let output = report(&file, &[]);
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", text(&output.stderr));
        for words in words {
            assert!(shown.contains(words), "{name}: {words} is not in\n{shown}");
        }
        let page = dir.path().join("page.html");
        let output = report(&file, &["--html", page.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty());
        let page = fs::read_to_string(page).unwrap();
        assert!(page.contains("<svg") && !page.contains("<script"), "{name}");
    }
}

/// The file says all that was printed and drawn.
#[test]
fn a_report_is_what_the_load_has_shown() {
    let fake = Fake::start(Faults::default());
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let [json, html, hdr, html_again, hdr_again] = ["json", "html", "hdr", "html2", "hdr2"].map(path);
    let pid = std::process::id().to_string();
    let mut command =
        load(&fake, &["mixed", "--fill", "--key-space", "100", "--total", "1000", "--pid", &pid]);
    let output = command.args(["--json", &json, "--html", &html, "--hdr", &hdr]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let again = report(Path::new(&json), &[]);
    assert_eq!(text(&again.stdout), text(&output.stdout));
    let again = report(Path::new(&json), &["--html", &html_again, "--hdr", &hdr_again]);
    assert!(again.status.success() && again.stdout.is_empty());
    assert!(fs::read(html).unwrap() == fs::read(html_again).unwrap(), "the pages differ");
    let read = |path| measure::hdr_log::read(&fs::read(path).unwrap()).unwrap();
    let counts =
        |path| read(path).iter().map(|one| (one.tag.clone(), one.latencies.count())).collect::<Vec<_>>();
    assert_eq!(counts(hdr), counts(hdr_again));

    // Today's documents have the fields of the one that is kept.
    let document: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert_eq!(golden::fields(&document), golden::expected("load-1"));
}

#[test]
fn todays_transactions_and_snapshots_have_the_fields_of_those_that_are_kept() {
    let fake = Fake::start(Faults::default());
    let pid = std::process::id().to_string();
    let stm = ["stm", "--verify", "--total", "300", "--clients", "10", "--txn-keyspace", "2", "--pid", &pid];
    let (document, _) = measured(load(&fake, &stm), 0);
    assert_eq!(golden::fields(&document), golden::expected("stm-1"));
    let snapshot = ["snapshot", "--puts", "500", "--alone", "100ms", "--duration", "300ms", "--pid", &pid];
    let (document, _) = measured(load(&fake, &snapshot), 0);
    assert_eq!(golden::fields(&document), golden::expected("snapshot-1"));
}

/// What ended early, and what was asked of a server that had none of it, is said whenever the document is shown.
#[test]
fn what_is_wrong_with_a_load_is_said_again() {
    let dir = tempfile::tempdir().unwrap();
    let shown = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut document = golden::document("load-1");
        change(&mut document);
        let (file, page) = (dir.path().join(name), dir.path().join("page.html"));
        fs::write(&file, document.to_string()).unwrap();
        let output = report(&file, &[]);
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
        assert!(report(&file, &["--html", page.to_str().unwrap()]).status.success());
        (text(&output.stdout), fs::read_to_string(page).unwrap())
    };
    let both = |name: &str, words: &str, change: &dyn Fn(&mut Value)| {
        let (printed, page) = shown(name, change);
        assert!(printed.contains(words), "{name}: {printed}");
        assert!(page.contains(&words.replace('\'', "&#39;")) || page.contains(words), "{name}");
    };
    both("interrupted", "the load was interrupted", &|document| document["ending"] = "interrupted".into());
    both("lost", "the load ended early: gone", &|document| {
        document["ending"] = serde_json::json!({ "lost": "gone" });
    });
    both(
        "behind",
        "the server did not keep up with 1,000,000 requests/s: the last answer came",
        &|document| {
            document["load"]["rate"] = 1_000_000.0.into();
            document["load"]["total"] = Value::Null;
            document["load"]["duration_seconds"] = 0.3.into();
            document["results"]["seconds"] = 28.7.into();
        },
    );
    let (printed, _) = shown("whole", &|_| {});
    assert!(!printed.contains("CAUTION") && !printed.contains("interrupted"), "{printed}");
}

#[test]
fn a_report_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    for (name, option) in [("load-1", "--html"), ("load-1", "--hdr"), ("compare-1", "--html")] {
        let file = dir.path().join("report.json");
        fs::copy(golden::file(&format!("{name}.json")), &file).unwrap();
        let before = fs::read(&file).unwrap();
        let output = report(&file, &[option, file.to_str().unwrap()]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(option) && said.contains("is the report that is read"), "{said}");
        assert!(fs::read(&file).unwrap() == before, "{name} {option}");
    }
}

#[test]
fn files_that_cannot_be_shown() {
    let dir = tempfile::tempdir().unwrap();
    let written = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let with = |field: &str, value: Value| {
        let mut document = golden::document("load-1");
        document[field] = value;
        written(field, &document.to_string())
    };
    let cases = [
        (dir.path().join("absent.json"), "cannot be read"),
        (dir.path().to_owned(), "cannot be read"),
        (written("text", "not a report"), "is no report"),
        (written("other", "[1, 2]"), "is no report"),
        (with("format", "graven-disk".into()), "is no report"),
        (
            written(
                "storage",
                &serde_json::json!({
                    "format": 1, "version": "0.1.0", "quick": true, "rows": [],
                    "machine": golden::document("load-1")["machine"],
                })
                .to_string(),
            ),
            "is of `storage`",
        ),
        (with("version", 2.into()), "use a newer graven-bench"),
        (with("kind", "weather".into()), "can't be shown again"),
        (with("results", 7.into()), "is a damaged report"),
    ];
    let refused = |file: &Path, more: &[&str], words: &str| {
        let output = report(file, more);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.starts_with("graven-bench: ") && said.lines().count() == 1 && said.contains(words),
            "{said}"
        );
        assert!(output.stdout.is_empty());
    };
    for (file, words) in &cases {
        refused(file, &[], words);
    }
    let nowhere = dir.path().join("no/such/place");
    let nowhere = nowhere.to_str().unwrap();
    refused(&golden::file("load-1.json"), &["--html", nowhere], "give a file that can be written");
    let log = dir.path().join("log");
    refused(
        &golden::file("compare-1.json"),
        &["--hdr", log.to_str().unwrap()],
        "only loads have latencies over time",
    );
    assert!(!log.exists());
}
