//! Trees like those of real machines.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use super::{Environment, Fact, Level, Place, Root, look};

impl Environment {
    fn fact(&self, name: &str) -> Option<&Fact> {
        self.facts.iter().find(|fact| fact.name == name)
    }
}

struct Tree(TempDir);

impl Tree {
    fn new() -> Tree {
        Tree(tempfile::tempdir().unwrap())
    }

    fn put(&self, path: &str, text: &str) -> &Tree {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn link(&self, path: &str, target: &str) -> &Tree {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
        self
    }

    /// A disk with a queue.
    fn disk(&self, at: &str, number: &str, queue: &[(&str, &str)]) -> &Tree {
        self.put(&format!("{at}/dev"), number);
        for (name, value) in queue {
            self.put(&format!("{at}/queue/{name}"), value);
        }
        self
    }

    fn look(&self, path: &str, device: (u32, u32)) -> Environment {
        let at = Place { path: Path::new(path).to_owned(), device };
        Environment { facts: look(&Root(self.0.path().to_owned()), &at) }
    }
}

fn expect(found: &Environment, name: &str, value: &str, level: Level) {
    let fact = found.fact(name).unwrap_or_else(|| panic!("no {name} in {found:#?}"));
    assert_eq!((fact.value.as_str(), fact.level), (value, level), "{name}");
    assert!(fact.why.ends_with('.'), "{name} says why: {}", fact.why);
}

#[test]
fn a_partition_of_a_drive_for_servers() {
    let tree = Tree::new();
    let disk = "sys/devices/pci0/nvme/nvme0/nvme0n1";
    tree.disk(
        disk,
        "259:0",
        &[
            ("rotational", "0"),
            ("scheduler", "[none] mq-deadline kyber"),
            ("write_cache", "write through"),
            ("fua", "0"),
            ("nr_requests", "1023"),
            ("max_sectors_kb", "128"),
            ("logical_block_size", "512"),
            ("physical_block_size", "4096"),
            ("discard_max_bytes", "2199023255040"),
        ],
    );
    tree.put(&format!("{disk}/device/model"), "SAMSUNG MZQL2960HCJR-00A07  ")
        .put(&format!("{disk}/nvme0n1p2/dev"), "259:2")
        .put(&format!("{disk}/nvme0n1p2/partition"), "2")
        .link("sys/dev/block/259:2", "../../devices/pci0/nvme/nvme0/nvme0n1/nvme0n1p2")
        .put("proc/self/mountinfo", "25 1 259:1 / / rw - ext4 /dev/nvme0n1p1 rw\n36 25 259:2 / /var/lib/etcd rw,noatime - xfs /dev/nvme0n1p2 rw,attr2\n")
        .put("proc/cpuinfo", "processor\t: 0\nmodel name\t: AMD EPYC 7763\nflags\t: fpu sse2\nprocessor\t: 1\n")
        .put("sys/class/dmi/id/sys_vendor", "Microsoft Corporation")
        .put("proc/sys/kernel/osrelease", "6.1.0-18-amd64")
        .put("proc/stat", "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 2 3\n");
    let found = tree.look("/var/lib/etcd/member", (259, 2));
    expect(&found, "device", "nvme0n1p2 (partition) on nvme0n1", Level::Fine);
    expect(&found, "model", "SAMSUNG MZQL2960HCJR-00A07", Level::Fine);
    expect(&found, "rotational", "no", Level::Fine);
    expect(&found, "scheduler", "none", Level::Fine);
    expect(&found, "write_cache", "write through", Level::Fine);
    expect(&found, "fua", "0", Level::Fine);
    expect(&found, "queue_depth", "1023", Level::Fine);
    expect(&found, "max_request", "128 KiB", Level::Fine);
    expect(&found, "blocks", "512 B logical, 4096 B physical", Level::Fine);
    expect(&found, "discard", "supported", Level::Fine);
    expect(&found, "file_system", "xfs on /dev/nvme0n1p2", Level::Fine);
    expect(&found, "mount_options", "rw,noatime,attr2", Level::Fine);
    expect(&found, "virtualization", "none found", Level::Fine);
    expect(&found, "processors", "2 (AMD EPYC 7763)", Level::Fine);
    expect(&found, "steal", "0 % since the start", Level::Fine);
    expect(&found, "kernel", "6.1.0-18-amd64", Level::Fine);
    expect(&found, "cgroup_io", "no limit", Level::Fine);
}

#[test]
fn an_encrypted_volume_on_a_mirror_of_disks_that_turn() {
    let tree = Tree::new();
    for (name, number) in [("sda", "8:0"), ("sdb", "8:16")] {
        let at = format!("sys/devices/ata/{name}");
        tree.disk(
            &at,
            number,
            &[
                ("rotational", "1"),
                ("scheduler", "mq-deadline [bfq]"),
                ("write_cache", "write back"),
                ("fua", "0"),
            ],
        );
    }
    tree.put("sys/devices/virtual/block/md0/dev", "9:0")
        .put("sys/devices/virtual/block/md0/md/level", "raid1")
        .link("sys/devices/virtual/block/md0/slaves/sda", "../../../../ata/sda")
        .link("sys/devices/virtual/block/md0/slaves/sdb", "../../../../ata/sdb")
        .put("sys/devices/virtual/block/dm-0/dev", "253:0")
        .put("sys/devices/virtual/block/dm-0/dm/name", "data")
        .put("sys/devices/virtual/block/dm-0/dm/uuid", "CRYPT-LUKS2-1234-data")
        .link("sys/devices/virtual/block/dm-0/slaves/md0", "../../md0")
        .link("sys/dev/block/253:0", "../../devices/virtual/block/dm-0")
        .put("proc/self/mountinfo", "1 0 253:0 / / rw,nobarrier - ext4 /dev/mapper/data rw,nobarrier\n");
    let found = tree.look("/data", (253, 0));
    expect(&found, "device", "dm-0 (encrypted data) on md0 (raid1) on [sda, sdb]", Level::Fine);
    expect(&found, "rotational of sda", "yes", Level::Warning);
    expect(&found, "scheduler of sdb", "bfq", Level::Warning);
    expect(&found, "write_cache of sdb", "write back", Level::Note);
    expect(&found, "fua of sda", "0", Level::Note);
    expect(&found, "mount_options", "rw,nobarrier", Level::Warning);
}

#[test]
fn a_container_in_a_cloud_with_limits() {
    let tree = Tree::new();
    tree.disk("sys/devices/virtio/vda", "254:0", &[("rotational", "1")])
        .link("sys/dev/block/254:0", "../../devices/virtio/vda")
        .put("proc/self/mountinfo", "1 0 0:5 / / rw - overlay overlay rw,lowerdir=/a\n2 1 254:0 / /data rw - ext4 /dev/vda rw,discard\n")
        .put("proc/cpuinfo", "processor\t: 0\nflags\t: fpu hypervisor\n")
        .put("sys/class/dmi/id/sys_vendor", "Amazon EC2")
        .put("proc/stat", "cpu  50 0 10 900 0 0 0 40 0 0\n")
        .put(".dockerenv", "")
        .put("proc/self/cgroup", "0::/kubepods/pod1\n")
        .put("sys/fs/cgroup/cgroup.controllers", "cpu io memory")
        .put("sys/fs/cgroup/kubepods/cpu.max", "max 100000")
        .put("sys/fs/cgroup/kubepods/memory.max", "1073741824")
        .put("sys/fs/cgroup/kubepods/pod1/io.max", "254:0 rbps=max wbps=1048576 riops=max wiops=120\n8:0 wbps=1\n")
        .put("sys/fs/cgroup/kubepods/pod1/cpu.max", "50000 100000")
        .put("sys/fs/cgroup/kubepods/pod1/memory.max", "max");
    let found = tree.look("/data", (254, 0));
    expect(&found, "virtualization", "Amazon EC2", Level::Note);
    expect(&found, "container", "docker", Level::Note);
    expect(&found, "rotational", "yes, says the virtual disk", Level::Note);
    expect(&found, "mount_options", "rw,discard", Level::Note);
    expect(&found, "cgroup_io", "254:0 wbps=1048576 wiops=120", Level::Warning);
    expect(&found, "cgroup_cpu", "0.50 CPUs", Level::Note);
    expect(&found, "cgroup_memory", "1 GiB", Level::Note);
    expect(&found, "steal", "4 % since the start", Level::Warning);
    expect(&found, "processors", "1 (not told)", Level::Warning);
    assert_eq!(
        tree.look("/etc", (0, 5)).fact("file_system").unwrap().level,
        Level::Warning,
        "the container's own layer"
    );
}

#[test]
fn limits_of_the_former_cgroups() {
    let tree = Tree::new();
    tree.disk("sys/devices/virtual/block/loop0", "7:0", &[])
        .put("sys/devices/virtual/block/loop0/loop/backing_file", "/disk.img")
        .link("sys/dev/block/7:0", "../../devices/virtual/block/loop0")
        .put("proc/self/mountinfo", "1 0 7:0 / / rw - ext4 /dev/loop0 rw\n")
        .put("proc/self/cgroup", "4:memory:/a/b\n3:cpu,cpuacct:/a\n2:blkio:/a\n0::/\n")
        .put("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712")
        .put("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "4294967296")
        .put("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "-1")
        .put("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000")
        .put("sys/fs/cgroup/blkio/a/blkio.throttle.write_iops_device", "7:0 500\n");
    let found = tree.look("/x", (7, 0));
    expect(&found, "device", "loop0 (the file /disk.img)", Level::Note);
    expect(&found, "cgroup_io", "7:0 500 writes/s", Level::Warning);
    expect(&found, "cgroup_cpu", "no limit", Level::Fine);
    expect(&found, "cgroup_memory", "4 GiB", Level::Fine);
}

#[test]
fn an_empty_tree_is_no_error() {
    let found = Tree::new().look("/x", (0, 0));
    let device = found.fact("device").unwrap();
    assert!(device.value.starts_with("none that the kernel names"), "{device:?}");
    assert!(found.facts.iter().all(|fact| !fact.value.is_empty() && !fact.why.is_empty()), "{found:?}");
}

#[test]
fn this_machine_has_its_facts() {
    let dir = tempfile::tempdir().unwrap();
    let facts = look(&Root::real(), &Place::of(dir.path()));
    let found = Environment { facts };
    for name in ["device", "file_system", "mount_options", "processors", "kernel", "memory", "cgroup_io"] {
        assert!(found.fact(name).is_some(), "{name} in {found:#?}");
    }
}
