//! Processes of this machine, looked at from outside, as the kernel accounts them.

use std::fs;

use measure::machine::status_bytes;
use rustix::process::Pid;

/// What a process has used so far, or several together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// User and system time of all its threads.
    pub(crate) cpu_seconds: f64,
    /// Memory of its own.
    pub(crate) rss_anon_bytes: u64,
    /// Pages of files it has mapped.
    pub(crate) rss_file_bytes: u64,
    /// Bytes it caused to be written to storage; none where the system does not let us see.
    pub(crate) written_bytes: Option<u64>,
}

/// What a process has used; none once it has ended.
pub(crate) fn usage(pid: u32) -> Option<Usage> {
    let Stat { ticks, .. } = stat(pid)?;
    let name = pid.to_string();
    Some(Usage {
        cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
        rss_anon_bytes: status_bytes(&name, "RssAnon")?,
        rss_file_bytes: status_bytes(&name, "RssFile")?,
        written_bytes: written(pid),
    })
}

/// What several have used together; those that have ended count nothing.
pub(crate) fn usage_of_all(pids: &[u32]) -> Usage {
    let mut sum = Usage { written_bytes: Some(0), ..Usage::default() };
    for one in pids.iter().filter_map(|pid| usage(*pid)) {
        sum.cpu_seconds += one.cpu_seconds;
        sum.rss_anon_bytes += one.rss_anon_bytes;
        sum.rss_file_bytes += one.rss_file_bytes;
        sum.written_bytes = sum.written_bytes.zip(one.written_bytes).map(|(sum, one)| sum + one);
    }
    sum
}

/// The processes of a group that live now.
pub(crate) fn members(group: Pid) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|stat| stat.group == group.as_raw_pid())).collect()
}

/// The TCP ports that a process listens on; none where it may not be looked into, or lives in a network of its own, where
/// ports have other numbers.
pub(crate) fn listening_ports(pid: u32) -> Option<Vec<u16>> {
    let network = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    if network(&pid.to_string())? != network("self")? {
        return None;
    }
    let mut sockets = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).ok()? {
        // One that was closed meanwhile is no listener.
        let Ok(link) = fs::read_link(entry.ok()?.path()) else { continue };
        let inode = link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']'));
        sockets.extend(inode.map(str::to_owned));
    }
    let tables = ["tcp", "tcp6"]
        .map(|table| fs::read_to_string(format!("/proc/self/net/{table}")).unwrap_or_default());
    let listener = |line: &str| {
        // Number, local address, remote address, state, queues, timers, retransmissions, user, timeout, inode.
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_mine =
            *fields.get(3)? == "0A" && sockets.iter().any(|socket| Some(&socket.as_str()) == fields.get(9));
        let (_, port) = fields[1].rsplit_once(':')?;
        is_mine.then(|| u16::from_str_radix(port, 16).ok())?
    };
    Some(tables.iter().flat_map(|table| table.lines()).filter_map(listener).collect())
}

struct Stat {
    group: i32,
    /// User and system time.
    ticks: u64,
}

/// None of one that has ended, whether anybody has taken leave of it or not.
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
    fn sees_itself_and_nobody_who_is_not_there() {
        let before = usage(std::process::id()).unwrap();
        assert!(before.rss_anon_bytes > 4096, "{before:?}");
        let mut ballast = vec![0u8; 64 << 20];
        ballast.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        let after = usage(std::process::id()).unwrap();
        assert!(
            after.rss_anon_bytes >= before.rss_anon_bytes + (32 << 20),
            "{before:?} {after:?} {}",
            ballast[5]
        );
        assert!(after.cpu_seconds >= before.cpu_seconds);
        assert_eq!(usage(u32::MAX >> 1), None);
        assert_eq!(usage_of_all(&[u32::MAX >> 1]).cpu_seconds, 0.0);
    }

    #[test]
    fn who_listens_is_known_by_the_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listening_ports(std::process::id()).unwrap().contains(&port));
        let mut other =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let ports = listening_ports(other.id());
        drop(other.stdin.take());
        other.wait().unwrap();
        assert!(!ports.unwrap().contains(&port));
    }

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
        let usage = usage_of_all(&pids);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        shell.wait().unwrap();
        assert!(pids.contains(&shell.id()), "{pids:?}");
        assert!(usage.cpu_seconds > 0.0 && usage.rss_anon_bytes > 4096, "{usage:?}");
    }
}
