//! The file system and how it is mounted.

use std::path::PathBuf;

use super::{Fact, Level, Place, Root};

/// A line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) kind: String,
    /// What is mounted: `/dev/vda1`.
    pub(crate) source: String,
    /// Of this mount, then of the file system.
    pub(crate) options: Vec<String>,
}

impl Mount {
    /// The mount that holds a path: the last of those that are mounted nearest to it.
    pub(crate) fn of(root: &Root, at: &Place) -> Option<Mount> {
        let text = root.read("proc/self/mountinfo")?;
        let mut best: Option<(usize, Mount)> = None;
        for line in text.lines() {
            let Some((point, mount)) = parse(line) else { continue };
            let depth = point.components().count();
            if at.path.starts_with(&point) && best.as_ref().is_none_or(|(known, _)| *known <= depth) {
                best = Some((depth, mount));
            }
        }
        best.map(|(_, mount)| mount)
    }

    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|found| found == option)
    }

    pub(super) fn facts(&self) -> Vec<Fact> {
        let mut facts = vec![self.kind_fact(), self.extents_fact()];
        let text = self.options.join(",");
        const WHY: &str = "Options decide what a sync costs and whether it is one.";
        let mut warned = false;
        for (option, why) in [
            ("nobarrier", "Syncs do not flush the device's cache: a power cut loses what was acknowledged."),
            ("barrier=0", "Syncs do not flush the device's cache: a power cut loses what was acknowledged."),
            ("eatmydata", "Syncs do nothing: a power cut loses what was acknowledged."),
        ] {
            if self.has(option) {
                facts.push(Fact::new("mount_options", text.clone(), Level::Warning, why));
                warned = true;
            }
        }
        if warned {
            return facts;
        }
        let noted = [
            ("data=journal", "Data goes through the journal, so that it is written twice."),
            (
                "discard",
                "Deleting a file tells the device at once, and syncs wait meanwhile (10 ms for 64 MiB here and there): prefer fstrim from time to time.",
            ),
            ("sync", "Every write is a sync, also those that need not be."),
        ];
        let fact = noted.iter().find(|(option, _)| self.has(option));
        facts.push(match fact {
            Some((_, why)) => Fact::new("mount_options", text, Level::Note, why),
            None => Fact::new("mount_options", text, Level::Fine, WHY),
        });
        facts
    }

    fn kind_fact(&self) -> Fact {
        let (level, why) = match self.kind.as_str() {
            "ext4" | "xfs" => {
                (Level::Fine, "Overwrites in place without changing metadata: one write, one flush.")
            }
            "btrfs" | "zfs" | "bcachefs" => (
                Level::Warning,
                "Never overwrites in place: each sync also writes the tree above the data, several times as slow as ext4 or xfs.",
            ),
            "nfs" | "nfs4" | "cifs" | "smb3" | "ceph" | "glusterfs" | "lustre" | "9p" | "virtiofs" => (
                Level::Warning,
                "A sync crosses a network or a host's file system, and lasts as long as that takes when it is busy.",
            ),
            "tmpfs" | "ramfs" => {
                (Level::Warning, "Memory: nothing survives a restart, and syncs cost nothing.")
            }
            "overlay" => {
                (Level::Warning, "A container's own layer: data is lost with the container; use a volume.")
            }
            kind if kind.starts_with("fuse") => {
                (Level::Warning, "Each sync passes through a process, and is as honest as that process.")
            }
            _ => (Level::Note, "Measured as it is; ext4 and xfs are what most members run on."),
        };
        let text = format!("{} on {}", self.kind, self.source);
        Fact::new("file_system", text, level, why)
    }

    fn extents_fact(&self) -> Fact {
        const NAME: &str = "extent_states";
        match self.kind.as_str() {
            "ext4" | "xfs" | "ext3" | "f2fs" => Fact::new(
                NAME,
                "written, unwritten, sparse",
                Level::Fine,
                "Space that was written before is overwritten without a metadata change, which the log makes use of.",
            ),
            "btrfs" | "zfs" | "bcachefs" => Fact::new(
                NAME,
                "each write allocates",
                Level::Note,
                "Writing a segment ahead gains nothing here, and the log leaves it out.",
            ),
            _ => Fact::new(
                NAME,
                "not known for this file system",
                Level::Fine,
                "The matrix shows whether space that was written before is faster.",
            ),
        }
    }
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext4 /dev/root rw,errors=continue`
fn parse(line: &str) -> Option<(PathBuf, Mount)> {
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
    Some((PathBuf::from(point), Mount { kind, source, options }))
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
        let (point, mount) = parse(line).unwrap();
        assert_eq!(point, PathBuf::from("/var/lib/my etcd"));
        let options = ["rw", "noatime", "data=ordered"].map(str::to_owned).to_vec();
        assert_eq!(mount, Mount { kind: "ext4".to_owned(), source: "/dev/mapper/a\\b".to_owned(), options });
        for bad in ["", "36 35 98:0 / /", "a - b", " - "] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
