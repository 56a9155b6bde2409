//! fio, where it is installed, on the layout that the log uses: one job, one write at a time, 4 KiB, `O_DIRECT` and
//! `O_DSYNC`, over a file that was written before.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::floor::Probe;

/// Whether there is a `fio` to run.
pub fn is_installed() -> bool {
    let found = Command::new("fio").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// fio on the file [`FILE`] of a directory, with a report in JSON. It runs there, because in `--filename` a colon separates files
/// and many other characters mean something to it.
pub fn command(dir: &Path) -> Command {
    let mut command = Command::new("fio");
    command
        .args(["--output-format=json", &format!("--filename={FILE}")])
        .current_dir(dir)
        .stdin(Stdio::null());
    command
}

/// The file that [`command`] writes.
pub const FILE: &str = "fio";

/// Durable overwrites for so long, on a file of `bytes` in `dir`.
pub fn durable_writes(dir: &Path, bytes: u64, duration: Duration) -> Result<Probe> {
    let file = dir.join(FILE);
    let fill = job(dir, bytes, &["--rw=write", "--bs=256k", "--end_fsync=1"])?;
    drop(fill);
    let seconds = format!("--runtime={}ms", duration.as_millis().max(1));
    let report = job(
        dir,
        bytes,
        &["--rw=write", "--bs=4k", "--sync=dsync", "--overwrite=1", "--time_based=1", &seconds],
    )?;
    std::fs::remove_file(&file).map_err(Error::io("remove", &file))?;
    let write = &report["jobs"][0]["write"];
    let latency = |share: &str| write["clat_ns"]["percentile"][share].as_f64().map(|nanos| nanos / 1e3);
    match (write["iops"].as_f64(), latency("50.000000"), latency("99.000000")) {
        (Some(per_second), Some(p50_us), Some(p99_us)) => Ok(Probe { per_second, p50_us, p99_us }),
        _ => Err(Error::Wrong("fio's report does not have the figures".to_owned())),
    }
}

fn job(dir: &Path, bytes: u64, options: &[&str]) -> Result<Value> {
    let mut command = command(dir);
    command
        .args(["--name=graven", "--ioengine=psync", "--direct=1"])
        .arg(format!("--size={bytes}"))
        .args(options);
    report(&mut command)
}

/// Runs fio to its end, for its report.
pub fn report(command: &mut Command) -> Result<Value> {
    let output = command.output().map_err(Error::io("run", Path::new("fio")))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Wrong(format!("fio failed: {}", why.lines().next().unwrap_or_default())));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| Error::Wrong(format!("fio's report is no JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_directorys_name_is_in_its_arguments() {
        let dir = Path::new("/data/on:two disks,%");
        let command = command(dir);
        assert_eq!(command.get_current_dir(), Some(dir));
        assert!(command.get_args().any(|word| word == "--filename=fio"));
        assert!(command.get_args().all(|word| !word.to_string_lossy().contains("data")));
    }

    /// Where there is a fio: on a directory whose name it would take for two files.
    #[test]
    fn a_colon_in_the_path_leads_nowhere_else() {
        if !is_installed() {
            eprintln!("NOT TESTED: there is no fio on this machine");
            return;
        }
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("one:two");
        std::fs::create_dir(&dir).unwrap();
        let probe = durable_writes(&dir, 1 << 20, Duration::from_millis(50)).unwrap();
        assert!(probe.per_second > 0.0, "{probe:?}");
        let left = |dir: &Path| std::fs::read_dir(dir).unwrap().count();
        assert_eq!((left(&dir), left(parent.path())), (0, 1));
    }
}
