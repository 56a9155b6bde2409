//! What cgroups allow this process: version 2 in one tree, version 1 in a tree for each controller.

use std::path::{Path, PathBuf};

use measure::disks::Stack;
use measure::units::bytes;

use super::{Fact, Level, Root, read};

const IO: &str =
    "A limit on writes or operations makes syncs wait when it is reached, which looks like a slow disk.";
const CPU: &str =
    "A process over its quota stands still for the rest of a period, usually 100 ms; syncs with it.";
const MEMORY: &str = "At the limit the kernel takes pages of the database away, and reads go to the disk.";

/// A limit of version 1 that is none: nearly all bits of a page-aligned number.
const NO_LIMIT: u64 = 1 << 60;

pub(super) fn facts(root: &Root, stack: &Stack) -> Vec<Fact> {
    let groups = Groups::of(root);
    vec![io(&groups, stack), cpu(&groups), memory(&groups)]
}

/// The directories of this process's groups, from its own up to the top: every one of them limits.
#[derive(Debug, Default)]
struct Groups {
    unified: Vec<PathBuf>,
    io: Vec<PathBuf>,
    cpu: Vec<PathBuf>,
    memory: Vec<PathBuf>,
}

impl Groups {
    fn of(root: &Root) -> Groups {
        let mut groups = Groups::default();
        for line in root.read("proc/self/cgroup").unwrap_or_default().lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            let top = "sys/fs/cgroup";
            if controllers.is_empty() {
                // Alone, or beside version 1 in a tree of its own.
                let base = root.path(top);
                let base = if base.join("cgroup.controllers").exists() { base } else { base.join("unified") };
                groups.unified = upwards(&base, path);
                continue;
            }
            for (controller, place) in
                [("blkio", &mut groups.io), ("cpu", &mut groups.cpu), ("memory", &mut groups.memory)]
            {
                if controllers.split(',').any(|found| found == controller) {
                    // Mounted under all its names (`cpu,cpuacct`), or under its own.
                    let together = root.path(top).join(controllers);
                    let base = if together.exists() { together } else { root.path(top).join(controller) };
                    *place = upwards(&base, path);
                }
            }
        }
        groups
    }
}

/// In a container the path of the group may lie outside of what is mounted: what is not there limits nothing here.
fn upwards(base: &Path, path: &str) -> Vec<PathBuf> {
    let own = Path::new(path.trim_start_matches('/'));
    own.ancestors().map(|part| base.join(part)).filter(|dir| dir.exists()).collect()
}

fn io(groups: &Groups, stack: &Stack) -> Fact {
    let mut limits = Vec::new();
    for dir in &groups.unified {
        for line in read(&dir.join("io.max")).unwrap_or_default().lines() {
            let set: Vec<_> = line.split(' ').filter(|word| !word.ends_with("=max")).collect();
            if let [device, limited @ ..] = set.as_slice()
                && concerns(stack, device)
                && !limited.is_empty()
            {
                limits.push(format!("{device} {}", limited.join(" ")));
            }
        }
    }
    for dir in &groups.io {
        for (file, unit) in [("write_bps_device", "B/s written"), ("write_iops_device", "writes/s")] {
            for line in read(&dir.join(format!("blkio.throttle.{file}"))).unwrap_or_default().lines() {
                if let Some((device, limit)) = line.split_once(' ')
                    && concerns(stack, device)
                {
                    limits.push(format!("{device} {limit} {unit}"));
                }
            }
        }
    }
    if limits.is_empty() {
        return Fact::new("cgroup_io", "no limit", Level::Fine, IO);
    }
    Fact::new("cgroup_io", limits.join("; "), Level::Warning, IO)
}

/// Whether a limit is on one of the disks measured.
fn concerns(stack: &Stack, device: &str) -> bool {
    stack.disks.is_empty() || stack.disks.iter().any(|disk| disk.number == device)
}

fn cpu(groups: &Groups) -> Fact {
    let mut least: Option<f64> = None;
    let mut take = |quota: Option<f64>, period: Option<f64>| {
        if let (Some(quota), Some(period)) = (quota, period)
            && quota > 0.0
            && period > 0.0
        {
            let cpus = quota / period;
            least = Some(least.map_or(cpus, |known| known.min(cpus)));
        }
    };
    for dir in &groups.unified {
        let text = read(&dir.join("cpu.max")).unwrap_or_default();
        let mut words = text.split(' ').map(|word| word.parse().ok());
        take(words.next().flatten(), words.next().flatten());
    }
    for dir in &groups.cpu {
        let number = |file: &str| read(&dir.join(file))?.parse().ok();
        take(number("cpu.cfs_quota_us"), number("cpu.cfs_period_us"));
    }
    match least {
        Some(cpus) => Fact::new("cgroup_cpu", format!("{cpus:.2} CPUs"), Level::Note, CPU),
        None => Fact::new("cgroup_cpu", "no limit", Level::Fine, CPU),
    }
}

fn memory(groups: &Groups) -> Fact {
    let unified = groups.unified.iter().map(|dir| dir.join("memory.max"));
    let former = groups.memory.iter().map(|dir| dir.join("memory.limit_in_bytes"));
    let limits = unified.chain(former).filter_map(|file| read(&file)?.parse::<u64>().ok());
    match limits.filter(|&limit| limit < NO_LIMIT).min() {
        Some(limit) => {
            let level = if limit < 2 << 30 { Level::Note } else { Level::Fine };
            Fact::new("cgroup_memory", bytes(limit), level, MEMORY)
        }
        None => Fact::new("cgroup_memory", "no limit", Level::Fine, MEMORY),
    }
}
