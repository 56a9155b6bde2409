//! Transcripts of small scenes: commands, `---`, and what the store answers.
//!
//! `UPDATE_TESTSCRIPTS=1 cargo test -p graven-engine --test mvcc_scripts` writes the answers anew; read the
//! difference before keeping it.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use engine::{Applied, Contents, Head, KeyRange, Options, OsFile, Store, Write};

struct Scene {
    path: PathBuf,
    _dir: tempfile::TempDir,
    store: Option<Store>,
    applied: u64,
}

impl Scene {
    fn new() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        Scene { store: Some(open(&path)), path, _dir: dir, applied: 0 }
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().unwrap()
    }

    fn command(&mut self, line: &str) -> Result<String, String> {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words: Vec<&str> = rest.split_whitespace().collect();
        let number = |place: usize| words.get(place).map_or(Ok(0), |word| word.parse::<i64>());
        let number = |place: usize| number(place).map_err(|error| format!("{line}: {error}"));
        let mut out = String::new();
        match command {
            "put" | "del" | "write" => {
                let requests = if command == "write" { rest } else { line };
                let mut write = self.store().begin();
                for request in requests.split(';') {
                    request_of(&mut write, &request.split_whitespace().collect::<Vec<_>>())?;
                }
                let finished = write.finish().map_err(|error| error.to_string())?;
                writeln!(out, "revision {}", finished.revision).unwrap();
                for change in finished.changes {
                    let revision = format!("{}.{}", change.revision.main, change.revision.sub);
                    let key = text(&change.key);
                    let prev = change.prev.map_or("nothing".into(), head);
                    writeln!(out, "  {revision} {:?} {key}, before: {prev}", change.kind).unwrap();
                }
                self.applied += 1;
                let applied = Applied { index: self.applied, term: 1 };
                self.store().set_applied(applied);
                self.store().publish();
            }
            "range" | "count" => {
                let at = words.iter().find_map(|word| word.strip_prefix("rev="));
                let at = at.map_or(0, |at| at.parse().unwrap());
                let bounds: Vec<_> = words.iter().filter(|word| !word.starts_with("rev=")).collect();
                let bound = |place: usize| bounds.get(place).map_or(Bytes::new(), |word| key_of(word));
                let range = KeyRange::from_etcd(bound(0), bound(1));
                let view = self.store().reader().view();
                let at = view.check(at).map_err(|error| error.to_string())?;
                match command {
                    "count" => writeln!(out, "{}", view.count(&range, at).unwrap()).unwrap(),
                    _ => show(&mut out, &view.contents(), &range, at),
                }
            }
            "compact" => {
                let revision = number(0)?;
                self.store().compact(revision).map_err(|error| error.to_string())?;
                self.store().publish();
                writeln!(out, "pending {}", self.store().compaction_pending()).unwrap();
            }
            "slice" => {
                let slice = self.store().compact_slice(number(0)? as usize).unwrap();
                self.store().publish();
                writeln!(out, "removed {}, done {}", slice.removed, slice.done).unwrap();
            }
            "hash" => {
                let hash = self.store().reader().view().hash_kv(number(0)?).unwrap();
                let (revision, compact) = (hash.revision, hash.compact_revision);
                writeln!(out, "{} at {revision}, compacted {compact}", hash.hash).unwrap();
            }
            "history" => {
                for change in self.store().reader().view().changes(number(0)?) {
                    let change = change.unwrap();
                    let revision = format!("{}.{}", change.revision.main, change.revision.sub);
                    let (key, record) = (text(change.key), change.record.escape_ascii());
                    writeln!(out, "{revision} {:?} {key} {record}", change.kind).unwrap();
                }
            }
            "lease" => {
                let keys = self.store().reader().view().lease_keys(number(0)?).unwrap();
                let keys: Vec<_> = keys.iter().map(|key| text(key)).collect();
                writeln!(out, "{} keys: {}", keys.len(), keys.join(" ")).unwrap();
            }
            "checkpoint" => {
                let job = self.store().begin_checkpoint().ok_or("nothing to do")?;
                self.store().end_checkpoint(job.run(&mut |_| ()).unwrap()).unwrap();
                writeln!(out, "applied {}", self.store().durable_applied().index).unwrap();
            }
            "restart" => {
                self.store = None;
                self.store = Some(open(&self.path));
                self.applied = self.store().applied().index;
                let (revision, compact) = (self.store().revision(), self.store().compact_revision());
                writeln!(out, "applied {}, revision {revision}, compacted {compact}", self.applied).unwrap();
            }
            _ => return Err(format!("unknown command {command}")),
        }
        Ok(out)
    }
}

fn open(path: &Path) -> Store {
    Store::open(Arc::new(OsFile::open(path).unwrap()), Options::default()).unwrap()
}

fn request_of(write: &mut Write<'_>, words: &[&str]) -> Result<(), String> {
    match words {
        ["put", key, value] => write.put(key.as_bytes(), value.as_bytes(), 0).map(drop),
        ["put", key, value, lease] => {
            let lease = lease.strip_prefix("lease=").and_then(|lease| lease.parse().ok());
            write.put(key.as_bytes(), value.as_bytes(), lease.ok_or("bad lease")?).map(drop)
        }
        ["del", key] => write.delete(key.as_bytes()).map(drop),
        _ => return Err(format!("not a request: {words:?}")),
    }
    .map_err(|error| error.to_string())
}

fn key_of(word: &str) -> Bytes {
    if word == "\\0" { Bytes::from_static(b"\0") } else { Bytes::copy_from_slice(word.as_bytes()) }
}

fn show(out: &mut String, contents: &Contents<'_>, range: &KeyRange, at: i64) {
    let mut keys = contents.range(range, at);
    while let Some(item) = keys.try_next().unwrap() {
        let value = text(item.value().unwrap());
        writeln!(out, "{} = {value} ({})", text(item.key), head(item.head)).unwrap();
    }
}

fn head(head: Head) -> String {
    let Head { create, modified, sub, version, lease } = head;
    let lease = if lease == 0 { String::new() } else { format!(" lease {lease}") };
    format!("created {create}, modified {modified}.{sub}, version {version}{lease}")
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// The script with the answers that the store gives now.
fn play(script: &str) -> String {
    let mut scene = Scene::new();
    let mut out = String::new();
    let mut answers = String::new();
    let mut answering = false;
    for line in script.lines().chain([""]) {
        match line {
            "---" => {
                out += "---\n";
                out += &answers;
                answers.clear();
                answering = true;
            }
            "" => {
                answering = false;
                out += "\n";
            }
            _ if answering => {}
            _ if line.starts_with('#') => writeln!(out, "{line}").unwrap(),
            _ => {
                writeln!(out, "{line}").unwrap();
                answers += &scene.command(line).unwrap_or_else(|error| format!("error: {error}\n"));
            }
        }
    }
    format!("{}\n", out.trim_end())
}

#[test]
fn the_store_answers_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testscripts/mvcc");
    let update = std::env::var_os("UPDATE_TESTSCRIPTS").is_some();
    let mut played = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let script = std::fs::read_to_string(&path).unwrap();
        let answered = play(&script);
        if update {
            std::fs::write(&path, &answered).unwrap();
        }
        let differs = answered.lines().zip(script.lines()).find(|(now, written)| now != written);
        assert!(update || answered == script, "{}: (now, written) {differs:?}", path.display());
        played += 1;
    }
    assert!(played > 0, "there are no scripts");
}
