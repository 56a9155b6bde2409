//! Data directories that must be refused and left as they are. Only for Graven: etcd has other rules.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use tests::{Server, is_graven, picture, program};

/// Starts the server on `data`; it must end with exit code 1, say `says`, and leave everything as it was.
fn refused(name: &str, data: &Path, says: &str) {
    let before = picture(data);
    let url = "http://127.0.0.1:0";
    let mut command = Command::new(program());
    command
        .args(["--data-dir".as_ref(), data.as_os_str()])
        .args(["--listen-client-urls", url, "--advertise-client-urls", "http://127.0.0.1:1"])
        .args(["--listen-peer-urls", url])
        .env_remove("GRAVEN_BIN")
        .stdin(Stdio::null());
    let output = crate::flags::ended(command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{name}: {} {said}", output.status);
    assert!(said.contains(says), "{name}: expected {says:?}: {said}");
    assert_eq!(picture(data), before, "{name}: the directory changed");
}

#[test]
fn unusable_data_directories_are_refused_and_left_alone() {
    if !is_graven() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let path = dir.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path
    };

    let file = dir.path().join("file");
    fs::write(&file, "a file").unwrap();
    refused("a file", &file, "is not a directory");
    refused("below a file", &file.join("data"), "");

    let circle = dir.path().join("circle");
    std::os::unix::fs::symlink(&circle, &circle).unwrap();
    refused("a link to itself", &circle, "");

    let foreign = make("foreign");
    fs::write(foreign.join("letter.txt"), "dear diary").unwrap();
    refused("somebody else's", &foreign, "letter.txt");

    let etcd = make("etcd");
    fs::create_dir_all(etcd.join("member/wal")).unwrap();
    fs::create_dir_all(etcd.join("member/snap")).unwrap();
    fs::write(etcd.join("member/snap/db"), "bolt").unwrap();
    refused("etcd's", &etcd, "etcd");

    let open = make("open");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    refused("writable by everybody", &open, "0777");

    // A directory of our own, to be spoilt in ways of its own.
    let mut server = Server::start().unwrap();
    let own = server.data_dir();
    let locked = Command::new(program())
        .args(["--data-dir".as_ref(), own.as_os_str()])
        .args(["--listen-client-urls", "http://127.0.0.1:0", "--advertise-client-urls", "http://127.0.0.1:1"])
        .args(["--listen-peer-urls", "http://127.0.0.1:0"])
        .env_remove("GRAVEN_BIN")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(locked.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&locked.stderr).contains("in use by another process"));
    server.terminate().unwrap();

    let marker = own.join("GRAVEN");
    let kept = fs::read(&marker).unwrap();
    for (name, text, says) in [
        ("an empty marker", &b""[..], "GRAVEN"),
        ("a marker of nonsense", b"\xff\xfe\0\0", "GRAVEN"),
        ("a newer format", b"graven data directory\nformat 999\n", "has format 999"),
    ] {
        fs::write(&marker, text).unwrap();
        refused(name, &own, says);
    }
    fs::remove_file(&marker).unwrap();
    refused("a marker that is gone", &own, "GRAVEN");
    fs::write(&marker, &kept).unwrap();

    // Also before the first checkpoint: the log then holds everything that was acknowledged.
    let (log, away) = (own.join("member/wal"), dir.path().join("wal"));
    fs::rename(&log, &away).unwrap();
    refused("a log that is gone", &own, "holds no log");
    fs::create_dir(&log).unwrap();
    refused("a log that is empty", &own, "holds no log");
    fs::remove_dir(&log).unwrap();
    fs::rename(&away, &log).unwrap();

    // With its marker back it is what it was.
    server.restart().unwrap();
    server.terminate().unwrap();
}
