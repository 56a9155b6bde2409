//! Damage to the data directory itself: its marker, its name, what else is in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::base::Bases;
use crate::{Expect, From, Row};

const MARKER: &str = "GRAVEN";

pub(crate) fn rows(bases: &Bases) -> Vec<Row> {
    let row = |kind, what: &str, expect, spoil: Box<dyn Fn(&Path) + Send + Sync>| {
        Row::new(kind, what, From::Whole, expect, spoil)
    };
    let mut rows = Vec::new();
    for (what, text) in [
        ("an empty marker", &b""[..]),
        ("a marker of nonsense", b"\xff\xfe\0\0"),
        ("a marker without its second line", b"graven data directory\n"),
        ("a marker of format 0", b"graven data directory\nformat 0\n"),
    ] {
        let spoil = Box::new(move |data: &Path| fs::write(data.join(MARKER), text).unwrap());
        rows.push(row("marker", what, Row::damaged(MARKER), spoil));
    }
    rows.push(row(
        "future",
        "a directory of a format to come",
        Expect::Unknown(MARKER.to_owned()),
        Box::new(|data| fs::write(data.join(MARKER), "graven data directory\nformat 999\n").unwrap()),
    ));
    rows.push(row(
        "marker",
        "no marker",
        Row::damaged(MARKER),
        Box::new(|data| fs::remove_file(data.join(MARKER)).unwrap()),
    ));
    rows.push(row(
        "file",
        "the marker is a directory",
        Expect::Unknown(MARKER.to_owned()),
        Box::new(|data| {
            fs::remove_file(data.join(MARKER)).unwrap();
            fs::create_dir(data.join(MARKER)).unwrap();
        }),
    ));
    rows.push(row(
        "file",
        "the marker is a link to itself",
        Expect::Unknown(MARKER.to_owned()),
        Box::new(|data| {
            fs::remove_file(data.join(MARKER)).unwrap();
            std::os::unix::fs::symlink(data.join(MARKER), data.join(MARKER)).unwrap();
        }),
    ));
    rows.push(row(
        "mode",
        "writable by everybody",
        Row::damaged("data"),
        Box::new(|data| fs::set_permissions(data, fs::Permissions::from_mode(0o777)).unwrap()),
    ));
    rows.push(row(
        "file",
        "lost+found beside the marker",
        Expect::Sound,
        Box::new(|data| fs::create_dir(data.join("lost+found")).unwrap()),
    ));
    rows.push(row(
        "file",
        "a file in the place of the directory",
        Expect::Refused,
        Box::new(|data| {
            fs::remove_dir_all(data).unwrap();
            fs::write(data, "a file").unwrap();
        }),
    ));
    rows.push(row(
        "file",
        "a link to itself in the place of the directory",
        Expect::Refused,
        Box::new(|data| {
            fs::remove_dir_all(data).unwrap();
            std::os::unix::fs::symlink(data, data).unwrap();
        }),
    ));
    let theirs = bases.other.data.join("member/wal");
    rows.push(row(
        "together",
        "another member's log",
        Row::damaged("member/db"),
        Box::new(move |data| {
            fs::remove_dir_all(data.join("member/wal")).unwrap();
            crate::base::copy(&theirs, &data.join("member/wal")).unwrap();
        }),
    ));
    rows
}
