//! The file system and how it is mounted.

use measure::Mount;

use super::{Fact, Level};

pub(super) fn facts(mount: &Mount) -> Vec<Fact> {
    let mut facts = vec![kind_fact(mount), extents_fact(mount)];
    let text = mount.options.join(",");
    const WHY: &str = "Options decide what a sync costs and whether it is one.";
    let mut warned = false;
    for (option, why) in [
        ("nobarrier", "Syncs do not flush the device's cache: a power cut loses what was acknowledged."),
        ("barrier=0", "Syncs do not flush the device's cache: a power cut loses what was acknowledged."),
        ("eatmydata", "Syncs do nothing: a power cut loses what was acknowledged."),
    ] {
        if mount.has(option) {
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
    let fact = noted.iter().find(|(option, _)| mount.has(option));
    facts.push(match fact {
        Some((_, why)) => Fact::new("mount_options", text, Level::Note, why),
        None => Fact::new("mount_options", text, Level::Fine, WHY),
    });
    facts
}

fn kind_fact(mount: &Mount) -> Fact {
    let (level, why) = match mount.kind.as_str() {
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
        "tmpfs" | "ramfs" => (Level::Warning, "Memory: nothing survives a restart, and syncs cost nothing."),
        "overlay" => {
            (Level::Warning, "A container's own layer: data is lost with the container; use a volume.")
        }
        kind if kind.starts_with("fuse") => {
            (Level::Warning, "Each sync passes through a process, and is as honest as that process.")
        }
        _ => (Level::Note, "Measured as it is; ext4 and xfs are what most members run on."),
    };
    let text = format!("{} on {}", mount.kind, mount.source);
    Fact::new("file_system", text, level, why)
}

fn extents_fact(mount: &Mount) -> Fact {
    const NAME: &str = "extent_states";
    match mount.kind.as_str() {
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
