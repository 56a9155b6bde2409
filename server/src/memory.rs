//! How much memory this process may use.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of memory of the machine, or of the control group this process runs in, if that has less.
pub(crate) fn bytes() -> u64 {
    let info = rustix::system::sysinfo();
    let machine = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit));
    limit(Path::new("/")).map_or(machine, |limit| limit.min(machine))
}

/// The least limit of the control groups this process is in; `None` where there is none, or nobody says.
fn limit(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounted = root.join("sys/fs/cgroup");
    groups
        .lines()
        .filter_map(|line| {
            let (_, group) = line.split_once(':')?;
            let (controllers, path) = group.split_once(':')?;
            let path = path.trim_start_matches('/');
            if controllers.is_empty() {
                return least(&mounted, path, "memory.max");
            }
            let memory = controllers.split(',').any(|controller| controller == "memory");
            memory.then(|| least(&mounted.join("memory"), path, "memory.limit_in_bytes")).flatten()
        })
        .min()
}

/// The least figure in `file` of the group `path` and of those around it. Within a container the path may be the
/// host's, while only what belongs to the container is mounted: then the innermost that exists is the container's own.
fn least(mounted: &Path, path: &str, file: &str) -> Option<u64> {
    let group: PathBuf = mounted.join(path);
    group
        .ancestors()
        .take_while(|dir| dir.starts_with(mounted))
        .filter_map(|dir| fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok())
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_least_limit_counts() {
        type Files = &'static [(&'static str, &'static str)];
        let cases: &[(Files, Option<u64>)] = &[
            (&[], None),
            (&[("proc/self/cgroup", "0::/\n")], None),
            (
                &[
                    ("proc/self/cgroup", "0::/pods/one\n"),
                    ("sys/fs/cgroup/pods/memory.max", "1073741824\n"),
                    ("sys/fs/cgroup/pods/one/memory.max", "max\n"),
                ],
                Some(1 << 30),
            ),
            // A container that sees its own group at the top, under the host's name.
            (
                &[("proc/self/cgroup", "0::/kubepods/pod7\n"), ("sys/fs/cgroup/memory.max", "268435456\n")],
                Some(256 << 20),
            ),
            (
                &[
                    ("proc/self/cgroup", "9:cpu,cpuacct:/a\n4:memory:/a/b\n"),
                    ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "536870912\n"),
                    ("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n"),
                ],
                Some(512 << 20),
            ),
            (&[("proc/self/cgroup", "nonsense"), ("sys/fs/cgroup/memory.max", "1")], None),
        ];
        for (files, expected) in cases {
            assert_eq!(limit(machine(files).path()), *expected, "{files:?}");
        }
    }

    #[test]
    fn this_machine_has_some() {
        assert!(bytes() > 16 << 20);
    }
}
