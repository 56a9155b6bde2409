//! `graven-disk watch` as a process: scraped, written to a file, ended.

#![expect(clippy::unwrap_used, reason = "helpers of tests may stop at once")]

mod disk;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use disk::{disk, entries, signal};
use tempfile::TempDir;

/// A watch that serves, and its address.
fn watch(dir: &Path, arguments: &[&str]) -> (Child, String) {
    let mut child = disk(&["watch", "--rate", "10", "--listen", "localhost:0"])
        .args(arguments)
        .arg(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let address =
        line.strip_prefix("listening on http://").unwrap().strip_suffix("/metrics").unwrap().to_owned();
    (child, address)
}

/// The whole answer to one request.
fn ask(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The value of a metric in Prometheus's text.
fn value(text: &str, name: &str) -> f64 {
    let line =
        text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Scrapes until so many writes were seen.
fn scrape_until(address: &str, count: f64) -> String {
    let begun = Instant::now();
    loop {
        let text = ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        if value(&text, "graven_disk_watch_sync_duration_seconds_count") >= count {
            return text;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{text}");
    }
}

#[test]
fn is_scraped_and_leaves_nothing() {
    let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let file = out.path().join("graven_disk.prom");
    let (mut child, address) = watch(dir.path(), &["--textfile", file.to_str().unwrap()]);
    let text = scrape_until(&address, 3.0);
    assert!(text.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{text}");
    let buckets: Vec<_> = text.lines().filter(|line| line.contains("_bucket{")).collect();
    assert_eq!(buckets.len(), 44, "six decades of seven, ten seconds, and all: {buckets:#?}");
    let counts: Vec<f64> =
        buckets.iter().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert!(counts.is_sorted(), "{buckets:#?}");
    assert!(buckets[43].contains(r#"le="+Inf""#) && counts[43] >= 3.0, "{buckets:#?}");
    let dir_label = format!("dir=\"{}\"", dir.path().canonicalize().unwrap().display());
    assert!(buckets.iter().all(|line| line.contains(&dir_label)), "{buckets:#?}");
    assert_eq!(value(&text, "graven_disk_watch_errors_total"), 0.0);
    assert!(value(&text, "graven_disk_watch_last_success_timestamp_seconds") > 1e9);
    assert!(text.contains("graven_disk_watch_info{bytes=\"4096\""), "{text}");
    let written = fs::read_to_string(&file).unwrap();
    assert!(value(&written, "graven_disk_watch_sync_duration_seconds_count") >= 1.0);
    assert_eq!(entries(dir.path()), ["graven-disk-watch.work"]);

    assert!(ask(&address, "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(ask(&address, "POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    assert!(ask(&address, "nonsense\n\n").starts_with("HTTP/1.1 405 "));

    signal(&child, "TERM");
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{errors}");
    assert!(errors.contains("durable writes: p50 "), "{errors}");
    assert_eq!((entries(dir.path()), entries(out.path())), (Vec::new(), Vec::new()));
}

#[test]
fn stalls_and_missed_writes_are_counted() {
    let dir = TempDir::new().unwrap();
    // Every write takes longer than a nanosecond.
    let (mut child, address) = watch(dir.path(), &["--stall", "1ns"]);
    let text = scrape_until(&address, 2.0);
    assert!(value(&text, "graven_disk_watch_stalls_total") >= 2.0, "{text}");
    // A process that stands still is a stall like another: what was due meanwhile is not made up for.
    signal(&child, "STOP");
    std::thread::sleep(Duration::from_millis(500));
    signal(&child, "CONT");
    let begun = Instant::now();
    while value(&ask(&address, "GET /metrics HTTP/1.1\r\n\r\n"), "graven_disk_watch_missed_total") < 3.0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing was missed");
    }
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(entries(dir.path()), Vec::<String>::new());
}
