//! `graven-disk qualify` on a disk of ours with something planted in it: that it is found, named and answered by the exit code.
//! The detectors have tests of their own, on series; here a broken way from the log's writes to the verdict shows. Needs root and
//! /dev/fuse, as all tests with such a disk: without them these fail, and say so.

#![expect(clippy::unwrap_used, reason = "helpers of tests may stop at once")]

mod disk;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use disk::{disk, entries};
use layer::{Layer, Options};
use serde_json::Value;
use tempfile::TempDir;

/// A disk with faults; unmounted before its directories go.
struct Planted {
    layer: Layer,
    _backing: TempDir,
    mountpoint: TempDir,
}

impl Planted {
    fn new(settings: &[(&str, &str)]) -> Planted {
        let (backing, mountpoint) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let mut options = Options::default();
        // What the disk below takes is nobody's business.
        options.set("backing-sync", "no").unwrap();
        for (name, value) in settings {
            options.set(name, value).unwrap();
        }
        let layer = Layer::mount(backing.path(), mountpoint.path(), &options).unwrap();
        Planted { layer, _backing: backing, mountpoint }
    }

    /// Qualifies it, by these phases, for so long. `begun` is called when the last of them begins.
    fn qualify(&self, phases: &str, seconds: u32, more: &[&str], begun: impl Fn(&Layer)) -> Found {
        let out = TempDir::new().unwrap();
        let json = out.path().join("disk.json");
        let mut command = disk(&["qualify", "--method", "dsync", "--phases", phases, "--duration"]);
        command.arg(format!("{seconds}s")).args(more).arg("--json").arg(&json).arg(self.mountpoint.path());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let first = phases.split(',').next().unwrap();
        let mut noted = String::new();
        for line in BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok) {
            if line.starts_with(&format!("{first}: ")) {
                begun(&self.layer);
            }
            noted += &format!("{line}\n");
        }
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        let code = child.wait().unwrap().code();
        assert!(entries(self.mountpoint.path()).is_empty(), "something is left behind");
        let document = fs::read(&json).unwrap_or_else(|error| panic!("{error}: {noted}"));
        Found { code, said, document: serde_json::from_slice(&document).unwrap() }
    }
}

struct Found {
    code: Option<i32>,
    said: String,
    document: Value,
}

impl Found {
    /// The one finding of a kind.
    fn finding(&self, kind: &str) -> &Value {
        let findings = self.document["over_time"]["findings"].as_array().unwrap();
        let found = findings.iter().find(|finding| finding["kind"] == kind);
        found.unwrap_or_else(|| panic!("no {kind} among {findings:?}: {}", self.said))
    }
}

#[test]
fn a_disk_that_is_slow_and_steady_has_a_knee() {
    let planted = Planted::new(&[("latency", "20ms")]);
    let found = planted.qualify("log", 10, &[], |_| {});
    assert_eq!(found.code, Some(0), "{}", found.said);
    let commit = &found.document["commit"];
    let carried = |point: &Value| point["achieved"].as_f64().unwrap();
    let peak = commit["closed"].as_array().unwrap().iter().map(carried).fold(0.0, f64::max);
    // A sync of 20 ms carries what comes meanwhile, whatever that is: nothing bends before the closed loop's rate.
    let knee = commit["knee"]["per_second"].as_f64();
    assert!(knee.is_some_and(|knee| knee > peak / 4.0), "{knee:?} of {peak}: {}", found.said);
    assert!(found.said.contains("\nKnee: "), "{}", found.said);
}

#[test]
fn stalls_on_a_beat_are_named() {
    let planted = Planted::new(&[("latency", "1ms"), ("stall", "400ms/2500ms")]);
    let found = planted.qualify("time,verdict", 14, &["--p99", "10s"], |_| {});
    let stalls = found.finding("periodic-stalls");
    let figure = |name: &str| stalls[name].as_f64().unwrap();
    assert!((2.3..2.7).contains(&figure("period_s")), "{stalls}");
    assert!((300.0..700.0).contains(&figure("length_ms")), "{stalls}");
    assert!(found.said.contains("periodic stalls: every 2."), "{}", found.said);
    // No sync misses a bound of ten seconds.
    assert_eq!(found.code, Some(0), "{}", found.said);
}

#[test]
fn burst_credit_that_ends_is_named_and_makes_the_disk_unfit() {
    let credit = [("sync-rate", "40/s"), ("sync-peak", "400/s"), ("burst", "3s")];
    let planted = Planted::new(&credit);
    // Every setting begins with full credit.
    let refill = |layer: &Layer| layer.set("burst", "3s").unwrap();
    let found = planted.qualify("time,verdict", 20, &["--p99", "10ms"], refill);
    let fall = found.finding("fall");
    let figure = |name: &str| fall[name].as_f64().unwrap();
    assert!((3.0..14.0).contains(&figure("at")), "{fall}");
    assert!(figure("before_us") < 5_000.0 && (15_000.0..60_000.0).contains(&figure("after_us")), "{fall}");
    assert!(found.said.contains("lasting fall after"), "{}", found.said);
    assert_eq!(found.code, Some(1), "{}", found.said);
}
