//! What the processes of a server have used, as the kernel accounts it.

use std::fs;

use rustix::process::Pid;

/// Sums over the processes of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// User and system time of all threads.
    pub(super) cpu_seconds: f64,
    /// Memory of their own.
    pub(super) anon_bytes: u64,
    /// Pages of files they have mapped.
    pub(super) file_bytes: u64,
    /// Bytes they caused to be written to storage; none where the system does not let us see.
    pub(super) written_bytes: Option<u64>,
}

/// The processes of a group that live now.
pub(super) fn members(group: Pid) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let group = group.as_raw_nonzero().get();
    pids.filter(|pid| stat(*pid).is_some_and(|stat| stat.group == group)).collect()
}

/// What they have used so far; one that has ended counts nothing.
pub(super) fn of(pids: &[u32]) -> Usage {
    let mut sum = Usage { written_bytes: Some(0), ..Usage::default() };
    for pid in pids {
        let Some(stat) = stat(*pid) else { continue };
        let name = pid.to_string();
        let memory = |what| measure::machine::status_bytes(&name, what).unwrap_or(0);
        sum.cpu_seconds += stat.ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        sum.anon_bytes += memory("RssAnon");
        sum.file_bytes += memory("RssFile");
        sum.written_bytes = sum.written_bytes.zip(written(*pid)).map(|(one, other)| one + other);
    }
    sum
}

struct Stat {
    group: i32,
    ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the program's name, which may hold anything: state, parent, group, eight others, user and system time.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    if *fields.first()? == "Z" {
        return None;
    }
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat { group: fields.get(2)?.parse().ok()?, ticks: number(11)? + number(12)? })
}

fn written(pid: u32) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_and_its_work_counted() {
        use std::os::unix::process::CommandExt;
        // A shell and its child, both in the shell's group; the shell is asked to spend some time first.
        let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo; sleep 60 & wait";
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", script]).process_group(0).stdout(std::process::Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let group = Pid::from_child(&shell);
        let mut line = String::new();
        let out = shell.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
        let pids = members(group);
        let usage = of(&pids);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        shell.wait().unwrap();
        assert!(pids.contains(&shell.id()), "{pids:?}");
        assert!(usage.cpu_seconds > 0.0 && usage.anon_bytes > 4096, "{usage:?}");
        assert!(of(&[u32::MAX >> 1]).cpu_seconds == 0.0);
    }
}
