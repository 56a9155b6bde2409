//! `graven-disk` with what cannot work: one line that says what and what to do, exit code 2, nothing written.

#![expect(clippy::unwrap_used, reason = "helpers of tests may stop at once")]

mod disk;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use disk::{disk, entries, quick};
use tempfile::TempDir;

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
    assert_refused(&quick(&file, &[]), "is not a directory: give one");
    assert_refused(&quick(&dir.path().join("absent"), &[]), "(os error 2): give a directory that is there");
    assert_eq!(entries(dir.path()), ["file"], "what was there is there, and nothing else");
}

#[test]
fn contradictory_and_unknown_words() {
    let dir = TempDir::new().unwrap();
    let cases: [(&[&str], &str); 12] = [
        (&["--p99", "-3ms"], "give a time longer than none"),
        (&["--p999", "0s"], "give a time longer than none"),
        (
            &["--json", "/tmp/same", "--html", "/tmp/same"],
            "--json and --html both name /tmp/same; give two files",
        ),
        (
            &["--html", "/tmp/same", "--hdr", "/tmp/same"],
            "--html and --hdr both name /tmp/same; give two files",
        ),
        (&["--hdr", "/tmp/log", "--phases", "environment"], "has no latencies over time; run the phase time"),
        (&["--full"], "cannot be used with"),
        (&["--duration", "5m"], "cannot be used with"),
        (&["--phases", "warp"], "there is no phase 'warp'; the phases are environment"),
        (&["--p99", "10"], "as 300us, 10ms or 5m"),
        (&["--puts", "-5"], "'-5' for '--puts <COUNT>'"),
        (&["--method", "hope"], "--method"),
        (&["--json", "/nonexistent/report.json"], "--json /nonexistent/report.json: cannot be written"),
    ];
    for (words, expected) in cases {
        assert_refused(&quick(dir.path(), words), expected);
    }
    assert_refused(&disk(&[]).output().unwrap(), "graven-disk --help");
    assert_refused(&disk(&["qualify"]).output().unwrap(), "DIR");
    assert_refused(&disk(&["report", "/nonexistent"]).output().unwrap(), "cannot be read");
    let report = dir.path().join("report.json");
    for (text, expected) in [
        ("not JSON", "is not a report"),
        (r#"{"format":"graven-bench","version":1}"#, "is not a report"),
        (r#"{"format":"graven-disk","version":99}"#, "use a newer graven-disk"),
        (r#"{"format":"graven-disk","version":1,"kind":"qualify"}"#, "is a damaged report"),
    ] {
        fs::write(&report, text).unwrap();
        assert_refused(&disk(&["report"]).arg(&report).output().unwrap(), expected);
    }
    assert_eq!(entries(dir.path()), ["report.json"]);
}

#[test]
fn a_watch_that_makes_no_sense() {
    let dir = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let foreign = dir.path().join("node.prom");
    fs::write(&foreign, "# HELP node_load1\n").unwrap();
    let cases: [(&[&str], &str); 10] = [
        (&["--listen", "localhost:"], "as 127.0.0.1:9470"),
        (&[], "--listen <ADDRESS>|--textfile <FILE>"),
        (&["--listen", "here"], "as 127.0.0.1:9470"),
        (&["--listen", &taken], "give an address of this machine and a free port"),
        (&["--listen", "127.0.0.1:0", "--rate", "11"], "from 0.001 to 10"),
        // As long a period as no clock can hold.
        (&["--listen", "127.0.0.1:0", "--rate", "1e-20"], "from 0.001 to 10"),
        (&["--listen", "127.0.0.1:0", "--bytes", "4095"], "a multiple of 4096"),
        (&["--textfile", "/tmp/figures"], "names that end in .prom"),
        (&["--textfile", "/nonexistent/figures.prom"], "cannot be written"),
        (&["--textfile", foreign.to_str().unwrap()], "is there, and not from a watch"),
    ];
    for (words, expected) in cases {
        assert_refused(&disk(&["watch"]).arg(dir.path()).args(words).output().unwrap(), expected);
    }
    assert_eq!(entries(dir.path()), ["node.prom"]);
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "# HELP node_load1\n");
}

/// Below a member's data directory nobody but the member makes files: it is copied, replaced and counted as a whole.
#[test]
fn a_watch_in_a_members_data() {
    let dir = TempDir::new().unwrap();
    let [graven, etcd] = ["graven", "etcd"].map(|name| dir.path().join(name));
    fs::create_dir_all(graven.join("member")).unwrap();
    fs::write(graven.join("GRAVEN"), "graven data directory\n").unwrap();
    fs::create_dir_all(etcd.join("member/wal")).unwrap();
    for inside in [graven.clone(), graven.join("member"), etcd.clone(), etcd.join("member/wal")] {
        let output = disk(&["watch", "--allow-tmpfs", "--listen", "127.0.0.1:0"]).arg(&inside).output();
        assert_refused(&output.unwrap(), "is in the data directory of a member");
        assert!(!entries(&inside).iter().any(|name| name.ends_with(".work")));
    }
}

#[test]
fn honesty_says_what_is_missing() {
    let dir = TempDir::new().unwrap();
    let refused = |words: &[&str], expected: &str| {
        assert_refused(&disk(&["honesty"]).args(words).arg(dir.path()).output().unwrap(), expected);
    };
    refused(&["verify"], "--record <FILE>|--witness <HOST:PORT>");
    refused(&["verify", "--witness", "127.0.0.1:1"], "or give a copy of that by --record");
    for command in ["verify", "write"] {
        refused(&[command, "--witness", "foo"], "give HOST:PORT of the machine");
    }
    refused(&["write", "--witness", "127.0.0.1:1"], "start `graven-disk honesty witness` there first");
    let help = disk(&["honesty", "write", "--help"]).output().unwrap();
    assert!(String::from_utf8_lossy(&help.stdout).contains("32MiB or more"));
}

#[test]
fn a_directory_of_somebody_else_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let foreign = dir.path().join("graven-disk.work");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("precious"), "content").unwrap();
    let output = quick(dir.path(), &["--phases", "environment"]);
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("was not made by graven-disk: move it away"), "{errors}");
    assert_eq!(entries(&foreign), ["precious"]);
}

/// Runs a script in mount and user namespaces of its own: mounts made in it are gone with it. The script's `$1` is an empty
/// directory, `$2` the program.
///
/// # Panics
///
/// Where such namespaces are refused: then these refusals are not tested, and that must not go unnoticed.
fn in_namespace(script: &str) -> Output {
    let dir = TempDir::new().unwrap();
    let program = env!("CARGO_BIN_EXE_graven-disk");
    let unshare = |extra: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(extra).args(["--mount", "sh", "-euc", script, "sh"]).arg(dir.path()).arg(program);
        command.output().unwrap()
    };
    let probe = |extra: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(extra).args(["--mount", "true"]).output().is_ok_and(|output| output.status.success())
    };
    // Root needs no user namespace, and others may be allowed one.
    if probe(&[]) {
        return unshare(&[]);
    }
    assert!(probe(&["--map-root-user"]), "no mount namespace can be had here: mounts cannot be tested");
    unshare(&["--map-root-user"])
}

#[test]
fn a_read_only_mount() {
    let script = r#"mount -t tmpfs -o size=1m none "$1"; mkdir "$1/d"; mount -o remount,ro "$1"
        exec "$2" qualify --quick --allow-tmpfs "$1/d""#;
    assert_refused(&in_namespace(script), "cannot be written to: Read-only file system");
}

#[test]
fn memory_is_no_disk_unless_asked_for() {
    let script = r#"mount -t tmpfs -o size=512m none "$1"; mkdir "$1/d"; exec "$2" qualify --quick "$1/d""#;
    assert_refused(&in_namespace(script), "lies on a tmpfs, which is memory");
    let script = r#"mount -t tmpfs -o size=512m none "$1"; mkdir "$1/d"
        "$2" qualify --quick --phases environment --allow-tmpfs "$1/d"; ls -A "$1/d""#;
    let output = in_namespace(script);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("tmpfs on none") && !shown.contains("graven-disk.work"), "{shown}");
}

#[test]
fn too_little_space() {
    let script = r#"mount -t tmpfs -o size=80m none "$1"; mkdir "$1/d"
        exec "$2" qualify --allow-tmpfs --phases matrix "$1/d""#;
    assert_refused(&in_namespace(script), "has too little space: ");
    let script = r#"mount -t tmpfs -o size=60m none "$1"; mkdir "$1/d"
        exec "$2" watch --listen 127.0.0.1:0 --allow-tmpfs "$1/d""#;
    assert_refused(&in_namespace(script), "free some");
}

#[test]
fn a_block_device() {
    // Every machine has one somewhere in /dev; which one does not matter, as it is only looked at.
    use std::os::unix::fs::FileTypeExt;
    let devices = fs::read_dir("/dev").unwrap().filter_map(Result::ok);
    let block = devices
        .map(|entry| entry.path())
        .find(|path| fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_block_device()));
    match block {
        Some(path) => assert_refused(&quick(&path, &[]), "is a block device, and writing to it"),
        None => {
            // In a container without devices: one that leads nowhere is as good.
            let script =
                r#"mount -t tmpfs none "$1"; mknod "$1/disk" b 259 0; exec "$2" qualify --quick "$1/disk""#;
            assert_refused(&in_namespace(script), "is a block device, and writing to it");
        }
    }
    assert_refused(&quick(Path::new("/dev/null"), &[]), "is not a directory");
}
