//! What a directory holds, to tell whether anything changed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Every file with its bytes and mode, every folder with its mode, every link with its target.
///
/// # Panics
/// When something in it can't be read.
#[must_use]
pub fn picture(path: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut out = BTreeMap::new();
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let bytes = if meta.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder of the test's can be listed");
            open.extend(entries.map(|entry| entry.expect("an entry can be read").path()));
            Vec::new()
        } else if meta.is_symlink() {
            fs::read_link(&path).expect("a link has a target").into_os_string().into_encoded_bytes()
        } else {
            fs::read(&path).expect("a file of the test's can be read")
        };
        out.insert(path, (meta.permissions().mode(), bytes));
    }
    out
}
