//! `gravenutl` where there is no member: refused command lines, files that are none of ours, single files.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// stdout, stderr, exit code.
fn run(args: &[&Path]) -> (String, String, i32) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_gravenutl")).args(args).output().expect("the program was built");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code().unwrap_or(-1))
}

fn words(line: &str) -> (String, String, i32) {
    run(&line.split(' ').map(Path::new).collect::<Vec<_>>())
}

#[test]
fn command_lines_that_make_no_sense_are_not_damage() {
    for (line, says) in [
        ("check", "needs 1 argument"),
        ("check a b", "needs 1 argument"),
        ("inspect --nope x", "unknown flag: --nope"),
        ("check -w fields x", "unsupported output format"),
        ("check /does/not/exist", "No such file"),
    ] {
        let (out, err, code) = words(line);
        assert_eq!((out.as_str(), code), ("", 2), "{line}: {err}");
        assert!(err.contains(says), "{line}: {err}");
    }
    let (out, _, code) = words("check --help");
    assert!(code == 0 && out.contains("Exit code 0: sound") && out.contains("--write-out"), "{out}");
    assert_eq!(words("defrag").2, 1);
}

#[test]
fn what_is_no_member_is_told_apart() {
    let dir = tempfile::tempdir().expect("a folder");
    assert_eq!(run(&[Path::new("check"), dir.path()]).2, 2, "an empty directory holds nothing");
    fs::create_dir(dir.path().join("lost+found")).expect("a folder");
    assert_eq!(run(&[Path::new("check"), dir.path()]).2, 2);
    fs::write(dir.path().join("letter.txt"), "dear diary").expect("a file");
    let (out, _, code) = run(&[Path::new("check"), dir.path()]);
    assert!(code == 1 && out.contains("letter.txt"), "{out}");
    let (out, _, code) = run(&[Path::new("check"), &dir.path().join("letter.txt")]);
    assert!(code == 1 && out.contains("not a graven database"), "{out}");
}

#[test]
fn a_database_by_itself_is_shown_and_checked() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("db");
    let file = Arc::new(engine::OsFile::open(&path).expect("a new file"));
    let mut store = engine::Store::open(file, engine::Options::default()).expect("a new store");
    for number in 0..200u32 {
        let mut write = store.begin();
        write.put(format!("key {number}").as_bytes(), &[7; 3000], 0).expect("memory takes it");
        write.finish().expect("memory takes it");
    }
    store.set_applied(engine::Applied { index: 200, term: 3 });
    store.publish();
    let checkpoint = store.begin_checkpoint().expect("something to store");
    let done = checkpoint.run(&mut |_| {}).expect("the disk takes it");
    store.end_checkpoint(done).expect("nothing stands against it");
    drop(store);

    let before = fs::read(&path).expect("it is there");
    let (out, err, code) = run(&[Path::new("inspect"), Path::new("--write-out=json"), &path]);
    assert_eq!(code, 0, "{out}{err}");
    let found: serde_json::Value = serde_json::from_str(&out).expect("json");
    let meta = &found["database"]["metas"][1];
    assert_eq!(
        (&meta["generation"], &meta["revision"], &meta["applied_index"], &meta["applied_term"]),
        (&1.into(), &201.into(), &200.into(), &3.into())
    );
    let buckets = found["database"]["tree"]["buckets"].as_array().expect("a list");
    let keys = buckets.iter().find(|bucket| bucket["name"] == "keys").expect("it is always there");
    assert_eq!((&keys["entries"], &keys["live"]), (&200.into(), &200.into()));
    let (out, _, _) = run(&[Path::new("inspect"), &path]);
    assert!(out.contains("COMPACT REVISION") && out.contains("pages are free"), "{out}");
    assert!(fs::read(&path).expect("it is there") == before, "the file changed");

    let mut spoilt = before;
    let place = spoilt.len() / 4096 / 8 * 4096 + 100;
    spoilt[place] ^= 4;
    fs::write(&path, &spoilt).expect("a file");
    let (out, _, code) = run(&[Path::new("check"), &path]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("damage: ") && out.contains(" page ") && out.contains(" offset "), "{out}");
}
