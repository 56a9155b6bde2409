//! How a file system is mounted.

use std::fs;
use std::path::{Path, PathBuf};

/// A line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub point: PathBuf,
    /// `ext4`.
    pub kind: String,
    /// What is mounted: `/dev/vda1`.
    pub source: String,
    /// Of this mount, then of the file system.
    pub options: Vec<String>,
}

impl Mount {
    /// The mount that holds a path without links in it: the last of those that are mounted nearest to it. `root` is `/` but in
    /// tests.
    pub fn of(root: &Path, path: &Path) -> Option<Mount> {
        let text = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
        let mut best: Option<(usize, Mount)> = None;
        for line in text.lines() {
            let Some(mount) = parse(line) else { continue };
            let depth = mount.point.components().count();
            if path.starts_with(&mount.point) && best.as_ref().is_none_or(|(known, _)| *known <= depth) {
                best = Some((depth, mount));
            }
        }
        best.map(|(_, mount)| mount)
    }

    /// Whether it is mounted with an option.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|found| found == option)
    }
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext4 /dev/root rw,errors=continue`
fn parse(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(4);
    let point = unescape(left.next()?);
    let own = left.next()?;
    let mut right = right.split(' ');
    let kind = right.next()?.to_owned();
    let source = unescape(right.next()?);
    let of_all = right.next().unwrap_or_default();
    let mut options: Vec<String> = own.split(',').map(str::to_owned).collect();
    for option in of_all.split(',').filter(|option| !option.is_empty()) {
        if !options.iter().any(|known| known == option) {
            options.push(option.to_owned());
        }
    }
    Some(Mount { point: PathBuf::from(point), kind, source, options })
}

/// White space and backslashes are written in octal: `\040`.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                out.push(code.into());
                rest = &after[3..];
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let line =
            r"36 35 98:0 / /var/lib/my\040etcd rw,noatime shared:1 - ext4 /dev/mapper/a\134b rw,data=ordered";
        let mount = parse(line).unwrap();
        assert_eq!(mount.point, PathBuf::from("/var/lib/my etcd"));
        assert_eq!((mount.kind.as_str(), mount.source.as_str()), ("ext4", "/dev/mapper/a\\b"));
        assert_eq!(mount.options, ["rw", "noatime", "data=ordered"]);
        assert!(mount.has("noatime") && !mount.has("atime"));
        for bad in ["", "36 35 98:0 / /", "a - b", " - "] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_nearest_and_latest_mount_holds_a_path() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/self")).unwrap();
        let lines = "1 0 8:1 / / rw - ext4 /dev/root rw\n2 1 8:2 / /data rw - ext4 /dev/first rw\n\
                     3 1 8:3 / /data rw - xfs /dev/second rw\n";
        fs::write(root.path().join("proc/self/mountinfo"), lines).unwrap();
        let source = |path: &str| Mount::of(root.path(), Path::new(path)).map(|mount| mount.source);
        assert_eq!(source("/data/x").as_deref(), Some("/dev/second"));
        // Not every name that begins alike lies below.
        assert_eq!(source("/database").as_deref(), Some("/dev/root"));
        assert_eq!(source("relative"), None);
    }
}
