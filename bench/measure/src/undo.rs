//! What a panic would leave behind. These programs are built so that a panic aborts them: nothing is dropped then, and what is removed
//! when it is dropped (directories, files, processes, keys in a server) would stay. So it is written down here as well, and the
//! panic's hook does it before the program ends.

use std::collections::BTreeMap;
use std::io;
use std::panic;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

type Deed = Box<dyn FnOnce() + Send>;

struct List {
    next: u64,
    deeds: BTreeMap<u64, Deed>,
}

static LIST: Mutex<List> = Mutex::new(List { next: 0, deeds: BTreeMap::new() });
/// Held while deeds are done: a second thread that panics must not end the program in the middle of them.
static AT_WORK: Mutex<()> = Mutex::new(());

/// Something that is done if the program panics as long as this lives.
pub struct Undo {
    number: u64,
}

impl Undo {
    /// Writes down what has to be done. It must not panic itself.
    pub fn new(deed: impl FnOnce() + Send + 'static) -> Undo {
        let mut list = lock(&LIST);
        let number = list.next;
        list.next += 1;
        list.deeds.insert(number, Box::new(deed));
        Undo { number }
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        let forgotten = lock(&LIST).deeds.remove(&self.number);
        drop(forgotten);
    }
}

/// From now on a panic of this program, after it has said what happened, does what is written down: the latest first.
pub fn undo_on_panic() {
    let say = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        say(info);
        let _alone = lock(&AT_WORK);
        let deeds = std::mem::take(&mut lock(&LIST).deeds);
        deeds.into_values().rev().for_each(|deed| deed());
    }));
}

/// Removes a directory into which others may still be writing.
pub(crate) fn remove_for_good(dir: &Path) {
    for _ in 0..ATTEMPTS {
        match std::fs::remove_dir_all(dir) {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !dir.exists() => return,
            Err(_) => {}
        }
    }
}

/// Each takes as much away as it finds; who writes in between is about to end.
const ATTEMPTS: usize = 100;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::work_dir::{Maker, WorkDir};

    const DIR: &str = "GRAVEN_MEASURE_PANICS_IN";

    /// Runs in a process of its own: nothing is dropped, as where a panic aborts.
    #[test]
    fn panics_where_it_is_told_to() {
        let Some(parent) = std::env::var_os(DIR) else { return };
        undo_on_panic();
        let maker = Maker { program: "graven-test", option: "another DIR" };
        let dir = WorkDir::create(Path::new(&parent), maker).unwrap();
        std::fs::write(dir.path().join("file"), "content").unwrap();
        let (kept, noted) = (Path::new(&parent).join("kept"), Path::new(&parent).join("noted"));
        std::fs::write(&kept, "content").unwrap();
        // Done before the directory goes, which was made before.
        let inside = dir.path().to_owned();
        let undo = Undo::new(move || std::fs::write(noted, inside.exists().to_string()).unwrap());
        drop(Undo::new(move || std::fs::remove_file(kept).unwrap()));
        std::mem::forget((dir, undo));
        let ended = std::thread::spawn(|| assert!(std::env::var_os(DIR).is_none(), "planted")).join();
        assert!(ended.is_err());
        std::process::abort();
    }

    #[test]
    fn a_panic_leaves_nothing_behind() {
        let parent = tempfile::tempdir().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "undo::tests::panics_where_it_is_told_to", "--nocapture"]);
        let output = command.env(DIR, parent.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code().is_none() && said.contains("planted"), "{said}");
        let names = std::fs::read_dir(parent.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names, ["kept", "noted"], "{said}");
        assert_eq!(std::fs::read_to_string(parent.path().join("noted")).unwrap(), "true");
    }
}
