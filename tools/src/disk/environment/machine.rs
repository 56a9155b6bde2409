//! The machine around the disk: a real one or not, its processors, its kernel.

use measure::units::{bytes, percent};

use super::{Fact, Level, Root};

/// Who makes a machine, as DMI tells it, and what we call it.
const MAKERS: [(&str, &str); 11] = [
    ("Amazon EC2", "Amazon EC2"),
    ("Google", "Google Compute Engine"),
    ("Microsoft Corporation", "Hyper-V or Azure"),
    ("DigitalOcean", "DigitalOcean"),
    ("Hetzner", "Hetzner Cloud"),
    ("OpenStack", "OpenStack"),
    ("QEMU", "QEMU/KVM"),
    ("VMware", "VMware"),
    ("innotek GmbH", "VirtualBox"),
    ("Xen", "Xen"),
    ("Parallels", "Parallels"),
];

/// Below this share of stolen time nobody notices.
const STOLEN_NOTE: f64 = 0.005;
const STOLEN_WARNING: f64 = 0.03;

/// The name of what runs this machine, if it is a virtual one.
pub(crate) fn virtualization(root: &Root) -> Option<String> {
    let flagged = root.read("proc/cpuinfo").is_some_and(|text| {
        let mut lines = text.lines().filter(|line| line.starts_with("flags"));
        lines.any(|line| line.split_whitespace().any(|flag| flag == "hypervisor"))
    });
    let dmi = ["sys_vendor", "product_name", "board_vendor", "bios_vendor"];
    let texts: Vec<_> =
        dmi.iter().filter_map(|file| root.read(&format!("sys/class/dmi/id/{file}"))).collect();
    let made_by = MAKERS.iter().find(|(known, _)| texts.iter().any(|text| text.contains(known)));
    let xen = root.read("sys/hypervisor/type").filter(|kind| kind != "none");
    match (made_by, xen) {
        // Microsoft makes real machines, too, and Amazon lets them: there the processor does not say `hypervisor`.
        (Some((_, name)), _) if flagged => Some((*name).to_owned()),
        (_, Some(kind)) => Some(kind),
        _ if flagged => Some(match texts.first() {
            Some(vendor) => format!("a hypervisor ({vendor})"),
            None => "a hypervisor that does not say its name".to_owned(),
        }),
        _ => None,
    }
}

pub(super) fn facts(root: &Root, virtualized: Option<String>) -> Vec<Fact> {
    let mut facts = vec![machine(virtualized), container(root), processors(root)];
    facts.extend(steal(root));
    facts.extend(memory(root));
    facts.extend(kernel(root));
    facts
}

fn machine(virtualized: Option<String>) -> Fact {
    const WHY: &str = "On a virtual machine the host decides what a flush does, and neighbors share the disk: measure \
                       at several times of the day, and see graven-disk honesty.";
    match virtualized {
        Some(name) => Fact::new("virtualization", name, Level::Note, WHY),
        None => {
            Fact::new("virtualization", "none found", Level::Fine, "What is measured is the hardware itself.")
        }
    }
}

fn container(root: &Root) -> Fact {
    const WHY: &str = "Containers are limited by cgroups, and are often denied io_uring.";
    let groups = root.read("proc/self/cgroup").unwrap_or_default();
    let by_group = ["docker", "kubepods", "libpod", "lxc", "containerd", "crio"];
    let found = if root.path(".dockerenv").exists() {
        Some("docker")
    } else if root.path("run/.containerenv").exists() {
        Some("podman")
    } else {
        by_group.into_iter().find(|name| groups.contains(name))
    };
    match found {
        Some(name) => Fact::new("container", name, Level::Note, WHY),
        None => Fact::new("container", "none found", Level::Fine, WHY),
    }
}

fn processors(root: &Root) -> Fact {
    let info = root.read("proc/cpuinfo").unwrap_or_default();
    let count = info.lines().filter(|line| line.starts_with("processor")).count();
    let model = info.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "model name").then(|| value.trim().to_owned())
    });
    let value = format!("{count} ({})", model.unwrap_or_else(|| "not told".to_owned()));
    let level = if count == 1 { Level::Warning } else { Level::Fine };
    let why = "With one processor the log waits for the network, and the network for the log.";
    Fact::new("processors", value, level, why)
}

/// Time that the host gave to others while this machine wanted it, since it started.
fn steal(root: &Root) -> Option<Fact> {
    let stat = root.read("proc/stat")?;
    let line = stat.lines().find(|line| line.starts_with("cpu "))?;
    // user nice system idle iowait irq softirq steal, in ticks.
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).take(8).filter_map(|word| word.parse().ok()).collect();
    let all: u64 = ticks.iter().sum();
    let share = *ticks.get(7)? as f64 / all.max(1) as f64;
    let level = match share {
        STOLEN_WARNING.. => Level::Warning,
        STOLEN_NOTE.. => Level::Note,
        _ => Level::Fine,
    };
    let why = "Processor time that the host gave to other machines: whatever waits for it includes syncs.";
    Some(Fact::new("steal", format!("{} since the start", percent(share)), level, why))
}

fn memory(root: &Root) -> Option<Fact> {
    let text = root.read("proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    let why = "What the database's pages are kept in; what does not fit is read again.";
    Some(Fact::new("memory", bytes(kibibytes << 10), Level::Fine, why))
}

fn kernel(root: &Root) -> Option<Fact> {
    let release = root.read("proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let level = if version < (4, 7) { Level::Warning } else { Level::Fine };
    let why =
        "RWF_DSYNC, with which one call makes a write durable, is there from 4.7 on; io_uring from 5.1.";
    Some(Fact::new("kernel", release, level, why))
}
