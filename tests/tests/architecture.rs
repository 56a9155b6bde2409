//! The direction of the crates, and what each of them must not know, read off manifests and sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests crate lies in the workspace").to_owned()
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(&next).unwrap_or_else(|e| panic!("{}: {e}", next.display())) {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no sources under {}", dir.display());
    found.sort();
    found
}

/// The sources that the roots of crates reach: through `mod name;`, `#[path]`, and the lists of paths and names that
/// tests give to a macro.
fn reached(roots: Vec<PathBuf>) -> BTreeSet<PathBuf> {
    let mut reached = BTreeSet::new();
    let mut pending: Vec<(PathBuf, bool)> = roots.into_iter().map(|root| (root, true)).collect();
    while let Some((file, is_root)) = pending.pop() {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let file = file.canonicalize().expect("it was read just now");
        if !reached.insert(file.clone()) {
            continue;
        }
        let dir = file.parent().expect("a file lies in a folder");
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        // Modules of `mod.rs` and of a crate's root lie beside it, those of any other file in a folder of its name.
        let beside = is_root || stem == "mod";
        let below = if beside { dir.to_owned() } else { dir.join(stem) };
        let mut path = None;
        for line in text.lines().map(|line| line.split("//").next().unwrap_or_default().trim()) {
            let quoted = line.split('"').nth(1).filter(|quoted| quoted.ends_with(".rs"));
            match quoted.map(|quoted| dir.join(quoted)) {
                Some(named) if line.starts_with("#[path") => path = Some(named),
                Some(listed) if lists_a_module(line) => pending.push((listed, false)),
                _ => {}
            }
            let Some(name) = line.rsplit("mod ").next().and_then(|name| name.strip_suffix(';')) else {
                continue;
            };
            let declares = line.starts_with("mod ") || line.contains(" mod ");
            if !declares || !is_name(name) {
                continue;
            }
            match path.take() {
                Some(path) => pending.push((path, false)),
                None => {
                    pending.push((below.join(format!("{name}.rs")), false));
                    pending.push((below.join(name).join("mod.rs"), false));
                }
            }
        }
    }
    reached
}

/// `"path.rs" name,` and nothing else: a path in any other list is no module.
fn lists_a_module(line: &str) -> bool {
    let rest = line.strip_prefix('"').and_then(|line| line.split_once('"'));
    let name = rest.and_then(|(_, rest)| rest.strip_suffix(','));
    name.is_some_and(|name| name.starts_with(' ') && is_name(name.trim()))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// What cargo takes for the root of a program, a library, a test, a benchmark or an example of a package.
fn roots(package: &Path) -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> =
        ["build.rs", "src/lib.rs", "src/main.rs"].iter().map(|name| package.join(name)).collect();
    for folder in ["src/bin", "tests", "benches", "examples"] {
        let Ok(entries) = fs::read_dir(package.join(folder)) else { continue };
        for path in entries.map(|entry| entry.expect("a readable entry").path()) {
            roots.push(if path.is_dir() { path.join("main.rs") } else { path });
        }
    }
    let manifest = fs::read_to_string(package.join("Cargo.toml")).expect("a manifest");
    let named = manifest.lines().filter_map(|line| line.strip_prefix("path = \""));
    roots.extend(named.map(|rest| package.join(rest.trim_end_matches('"'))));
    roots.retain(|root| root.extension().is_some_and(|ext| ext == "rs") && root.exists());
    roots
}

/// Sources of packages that none of their roots, or of other packages', reaches.
fn orphans(packages: &[PathBuf]) -> Vec<PathBuf> {
    let reached = reached(packages.iter().flat_map(|package| roots(package)).collect());
    let folders = packages.iter().flat_map(|package| {
        ["src", "tests", "benches", "examples"].map(|folder| package.join(folder)).into_iter()
    });
    let all: BTreeSet<PathBuf> =
        folders.filter(|folder| has_sources(folder)).flat_map(|folder| sources(&folder)).collect();
    let canonical = |path: &PathBuf| path.canonicalize().expect("it was listed");
    all.into_iter().filter(|path| !reached.contains(&canonical(path))).collect()
}

fn has_sources(folder: &Path) -> bool {
    let Ok(mut entries) = fs::read_dir(folder) else { return false };
    entries.any(|entry| {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() { has_sources(&path) } else { path.extension().is_some_and(|ext| ext == "rs") }
    })
}

/// Names of the dependencies of `section` in a manifest.
fn dependencies(manifest: &Path, section: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(manifest).expect("a manifest");
    let mut current = String::new();
    let mut names = BTreeSet::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            current = name.trim_end_matches(']').to_owned();
        } else if current == section && !line.is_empty() && !line.starts_with('#') {
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            names.insert(name.to_owned());
        }
    }
    names
}

/// Crate -> the crates of ours it may depend on.
fn allowed() -> BTreeMap<&'static str, &'static [&'static str]> {
    BTreeMap::from([
        ("engine", &[] as &[_]),
        ("wal", &[]),
        ("server/api", &[]),
        ("replication", &["graven-wal"]),
        ("server", &["graven-api", "graven-engine", "graven-replication", "graven-wal"]),
        ("bench/measure", &["graven-wal"]),
        // graven-disk measures what a server reaches on a disk: with the server itself, and with graven-bench's load.
        (
            "tools",
            &[
                "graven-api",
                "graven-bench",
                "graven-engine",
                "graven-measure",
                "graven-replication",
                "graven-server",
                "graven-wal",
            ],
        ),
        ("bench", &["graven-api", "graven-engine", "graven-measure", "graven-wal"]),
    ])
}

#[test]
fn crates_depend_downwards_only() {
    for (krate, allowed) in allowed() {
        let named = dependencies(&root().join(krate).join("Cargo.toml"), "dependencies");
        for name in named.iter().filter(|name| name.starts_with("graven-")) {
            assert!(allowed.contains(&name.as_str()), "{krate} depends on {name}");
        }
    }
}

#[test]
fn members_of_the_workspace_are_the_ones_checked() {
    let text = fs::read_to_string(root().join("Cargo.toml")).expect("the root manifest");
    let line = text.lines().find(|line| line.starts_with("members = ")).expect("a list of members");
    let members: BTreeSet<_> = line.split('"').skip(1).step_by(2).collect();
    let mut checked: BTreeSet<_> = allowed().into_keys().collect();
    checked.extend(["tests", "tests/layer"]);
    assert_eq!(members, checked);
}

#[test]
fn every_source_belongs_to_a_module() {
    let packages: Vec<PathBuf> =
        allowed().into_keys().chain(["tests", "tests/layer"]).map(|krate| root().join(krate)).collect();
    let orphans = orphans(&packages);
    assert!(orphans.is_empty(), "no module names these: {orphans:?}");
}

/// In a package of its own: modules declared in every way there is, and four files that nobody declares.
#[test]
fn a_file_that_no_module_names_is_found() {
    let dir = tempfile::tempdir().expect("a folder");
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    };
    put("Cargo.toml", "[package]\n");
    put(
        "src/lib.rs",
        "mod plain;\n    pub(crate) mod folder;\n#[path = \"other/named.rs\"]\nmod by_path; // why\n// mod commented;\n\
         const FILES: [&str; 1] = [\n    \"quoted.rs\",\n];\n",
    );
    put("src/plain.rs", "#[cfg(test)]\nmod tests;\n");
    put("src/plain/tests.rs", "");
    put("src/folder/mod.rs", "mod inner;\n");
    put("src/folder/inner.rs", "");
    put("src/other/named.rs", "");
    put("tests/one.rs", "sources! {\n    \"../src/shared.rs\" shared,\n}\n");
    put("src/shared.rs", "");
    put("tests/two/main.rs", "mod part;\n");
    put("tests/two/part.rs", "");
    assert_eq!(orphans(&[dir.path().to_owned()]), [] as [PathBuf; 0]);

    let planted = ["src/commented.rs", "src/folder/forgotten.rs", "src/quoted.rs", "tests/two/forgotten.rs"];
    planted.iter().for_each(|name| put(name, "fn nobody_compiles_this() {}\n"));
    let expected: Vec<PathBuf> = planted.iter().map(|name| dir.path().join(name)).collect();
    assert_eq!(orphans(&[dir.path().to_owned()]), expected);
}

#[test]
fn crates_do_not_know_what_they_must_not() {
    let storage = &["raft", "prost", "tokio", "prometheus", "tonic", "h2", "tracing"][..];
    let cases = [
        ("engine", storage),
        ("wal", storage),
        ("replication", &["prost", "tokio", "prometheus", "tonic", "graven-engine", "graven-api"]),
        ("server/api", &["tokio", "raft", "h2", "tracing"]),
    ];
    for (krate, forbidden) in cases {
        let named = dependencies(&root().join(krate).join("Cargo.toml"), "dependencies");
        for name in forbidden {
            assert!(!named.contains(*name), "{krate} must not know {name}");
        }
    }
}

#[test]
fn raft_stays_in_four_files() {
    let allowed = ["node.rs", "ready.rs", "log.rs", "membership.rs"];
    for path in sources(&root().join("replication/src")) {
        let text = fs::read_to_string(&path).expect("a source");
        let uses = text.lines().any(|line| {
            let line = line.trim_start();
            !line.starts_with("//") && (line.starts_with("use raft") || line.contains("raft::"))
        });
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        assert!(!uses || allowed.contains(&name), "{} uses raft-rs", path.display());
    }
}

#[test]
fn apply_knows_no_clock_and_never_waits() {
    let apply = root().join("server/src/apply");
    let index = fs::read_to_string(apply.join("mod.rs")).expect("the folder's introduction");
    let lines: Vec<_> = index.lines().collect();
    let only_tests: Vec<_> = lines
        .windows(2)
        .filter(|pair| pair[0].starts_with("#[cfg(test)]"))
        .map(|pair| pair[1].trim_start_matches("pub(crate) ").to_owned())
        .collect();
    for path in sources(&apply) {
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        if only_tests.contains(&format!("mod {name};")) {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source");
        // Tests below the code may do as they like.
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for forbidden in [".await", "Instant::now", "SystemTime::now", "use rand", "thread::sleep"] {
            let found =
                code.lines().find(|line| !line.trim_start().starts_with("//") && line.contains(forbidden));
            assert!(found.is_none(), "{}: {}", path.display(), found.unwrap_or_default());
        }
    }
}

#[test]
fn unsafe_code_lives_in_named_files() {
    let allowed = [
        "engine/src/mmap.rs",
        "wal/src/io/uring.rs",
        // Not in any program of ours: LMDB's binding, in the comparison with other stores.
        "bench/src/storage/peers/lmdb.rs",
    ];
    for krate in ["engine", "wal", "replication", "server", "tools", "bench"] {
        for path in sources(&root().join(krate).join("src")) {
            let text = fs::read_to_string(&path).expect("a source");
            let short =
                path.strip_prefix(root()).expect("below the root").to_str().unwrap_or_default().to_owned();
            let uses = text.lines().any(|line| {
                let line = line.trim_start();
                !line.starts_with("//")
                    && (line.contains("unsafe {")
                        || line.contains("unsafe fn")
                        || line.contains("unsafe impl"))
            });
            assert!(!uses || allowed.contains(&short.as_str()), "{short} has unsafe code");
        }
    }
}

#[test]
fn every_version_stands_in_the_root_manifest_with_its_reason() {
    let text = fs::read_to_string(root().join("Cargo.toml")).expect("the root manifest");
    let mut in_dependencies = false;
    let mut reason = false;
    for line in text.lines() {
        if line.starts_with('[') {
            in_dependencies = line == "[workspace.dependencies]";
            continue;
        }
        if !in_dependencies {
            continue;
        }
        if line.starts_with("# ---") || line.is_empty() {
            continue;
        }
        if line.starts_with('#') {
            reason = true;
        } else if !line.starts_with("graven-") {
            // A reason may cover the lines of one kind that follow it.
            assert!(reason, "no reason above: {line}");
        }
    }
    for krate in allowed().into_keys().chain(["tests", "tests/layer"]) {
        let manifest = fs::read_to_string(root().join(krate).join("Cargo.toml")).expect("a manifest");
        let own = manifest.lines().find(|line| line.contains("version = \""));
        assert_eq!(own, None, "{krate} names a version of its own");
    }
}
