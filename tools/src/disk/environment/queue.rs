//! What the kernel says about a disk and its queue.

use measure::disks::Disk;

use super::{Fact, Level};

/// The facts of one disk. `virtualized`: there is a hypervisor between the kernel and what spins or does not.
pub(super) fn facts(disk: &Disk, virtualized: bool) -> Vec<Fact> {
    let file = |name: &str| disk.read(name);
    let queue = |name: &str| file(&format!("queue/{name}"));
    let number = |name: &str| queue(name)?.parse::<u64>().ok();
    let mut facts = Vec::new();
    let mut add = |name: &str, value: Option<String>, level: Level, why: &str| {
        if let Some(value) = value {
            facts.push(Fact::new(name, value, level, why));
        }
    };

    let vendor = file("device/vendor").filter(|vendor| !vendor.starts_with("0x"));
    let model = match (vendor, file("device/model")) {
        (Some(vendor), Some(model)) => Some(format!("{vendor} {model}")),
        (None, model) => model,
        (vendor, None) => vendor.filter(|_| !virtualized),
    };
    let model = model.unwrap_or_else(|| "not told".to_owned());
    add(
        "model",
        Some(model),
        Level::Fine,
        "Says whether it is made for servers; consumer drives slow down when their cache is full.",
    );

    let rotational = number("rotational").map(|spins| spins == 1);
    let (text, level) = match (rotational, virtualized) {
        (Some(true), false) => ("yes", Level::Warning),
        // Virtual disks often say so whatever they stand on.
        (Some(true), true) => ("yes, says the virtual disk", Level::Note),
        _ => ("no", Level::Fine),
    };
    let why = "A sync on a disk that turns waits for it to come round: 4 to 15 ms.";
    add("rotational", rotational.map(|_| text.to_owned()), level, why);

    let scheduler = queue("scheduler").map(|all| chosen(&all).to_owned());
    let level = match scheduler.as_deref() {
        Some("bfq" | "cfq") => Level::Warning,
        _ => Level::Fine,
    };
    let why =
        "Some schedulers (bfq) hold back small writes for the sake of fairness; none and mq-deadline do not.";
    add("scheduler", scheduler, level, why);

    let cache = queue("write_cache");
    let writes_back = cache.as_deref() == Some("write back");
    let level = if writes_back { Level::Note } else { Level::Fine };
    let why = if writes_back {
        "The device keeps writes in memory until it is told to flush: each durable write pays for one."
    } else {
        "A write is durable, or said to be, when it is done: no flush is sent."
    };
    add("write_cache", cache, level, why);

    let fua = queue("fua");
    let level = if fua.as_deref() == Some("0") && writes_back { Level::Note } else { Level::Fine };
    let why = "With FUA (1) one durable write is one command; without (0) it is a write and a flush.";
    add("fua", fua, level, why);

    let depth = queue("nr_requests");
    let level = if number("nr_requests").is_some_and(|depth| depth < 16) { Level::Note } else { Level::Fine };
    add(
        "queue_depth",
        depth,
        level,
        "Requests that the kernel keeps for the disk at a time; a log needs few.",
    );

    let largest = number("max_sectors_kb").map(|size| format!("{size} KiB"));
    let level =
        if number("max_sectors_kb").is_some_and(|size| size < 64) { Level::Note } else { Level::Fine };
    add(
        "max_request",
        largest,
        level,
        "A larger append is split, and is durable only when all of its parts are.",
    );

    let blocks = number("logical_block_size")
        .zip(number("physical_block_size"))
        .map(|(logical, physical)| format!("{logical} B logical, {physical} B physical"));
    let level =
        if number("physical_block_size").is_some_and(|size| size > 4096) { Level::Note } else { Level::Fine };
    let why =
        "Writes smaller than a physical block make the device read before it writes; the log writes 4 KiB.";
    add("blocks", blocks, level, why);

    let discards =
        number("discard_max_bytes").map(|most| if most > 0 { "supported" } else { "not supported" });
    let why = "Without it the device cannot know what is free, and flash slows down with age.";
    add("discard", discards.map(str::to_owned), Level::Fine, why);

    let weight = number("wbt_lat_usec").filter(|&limit| limit > 0).map(|limit| format!("{limit} us"));
    let why = "Background writes are held back when reads wait longer; that is good for a log beside them.";
    add("writeback_throttle", weight, Level::Fine, why);
    facts
}

/// `none [mq-deadline] kyber`
fn chosen(all: &str) -> &str {
    let inside = all.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    inside.map_or(all, |(chosen, _)| chosen)
}
