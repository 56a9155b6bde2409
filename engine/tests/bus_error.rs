//! A page of the map that can't be read ends the process with the page's number.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use engine::{File, Options, OsFile, Store, SystemBucket};

/// Set for the child: the file, and whether somebody cuts it.
const CHILD: &str = "GRAVEN_BUS_ERROR_CHILD";
const SIGBUS: i32 = 7;

fn store(path: &Path) -> Store {
    let file: Arc<dyn File> = Arc::new(OsFile::open(path).unwrap());
    Store::open(file, Options::default()).unwrap()
}

fn read_all(store: &Store) -> usize {
    store.reader().view().system_range(SystemBucket::Members).unwrap().len()
}

/// What the child does.
#[test]
fn child() {
    let Ok(what) = std::env::var(CHILD) else { return };
    let (cut, path) = what.split_once(' ').unwrap();
    let store = store(Path::new(path));
    if cut == "cut" {
        // The first three pages are left: the meta pages and one more.
        std::fs::File::options().write(true).open(path).unwrap().set_len(3 * 4096).unwrap();
    }
    assert_eq!(read_all(&store), 500);
}

fn run(path: &Path, cut: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env(CHILD, format!("{cut} {}", path.display()));
    command.output().unwrap()
}

#[test]
fn a_page_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut store = store(&path);
    for number in 0..500u32 {
        store.system_put(SystemBucket::Members, &number.to_be_bytes(), &[7; 200]).unwrap();
    }
    store.publish();
    let done = store.begin_checkpoint().unwrap().run(&mut |_| ()).unwrap();
    store.end_checkpoint(done).unwrap();
    drop(store);
    let whole = run(&path, "whole");
    assert!(whole.status.success(), "{whole:?}");
    let cut = run(&path, "cut");
    assert_eq!(cut.status.signal(), Some(SIGBUS), "{cut:?}");
    let said = String::from_utf8_lossy(&cut.stderr);
    let line = said
        .lines()
        .find(|line| line.starts_with("graven: SIGBUS: page "))
        .unwrap_or_else(|| panic!("{said}"));
    let words: Vec<&str> = line.split([' ', ')']).collect();
    let (page, byte): (u64, u64) = (words[3].parse().unwrap(), words[5].parse().unwrap());
    assert!(page >= 3 && byte == page * 4096 && line.contains(&*path.to_string_lossy()), "{line}");
}
