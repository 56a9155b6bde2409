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

/// Durable overwrites for so long, on a file of `bytes` in `dir`.
pub fn durable_writes(dir: &Path, bytes: u64, duration: Duration) -> Result<Probe> {
    let file = dir.join("fio");
    let fill = job(&file, bytes, &["--rw=write", "--bs=256k", "--end_fsync=1"])?;
    drop(fill);
    let seconds = format!("--runtime={}ms", duration.as_millis().max(1));
    let report = job(
        &file,
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

fn job(file: &Path, bytes: u64, options: &[&str]) -> Result<Value> {
    let output = Command::new("fio")
        .args(["--name=graven", "--ioengine=psync", "--direct=1", "--output-format=json"])
        .arg(format!("--filename={}", file.display()))
        .arg(format!("--size={bytes}"))
        .args(options)
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io("run fio on", file))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Wrong(format!("fio failed: {}", why.lines().next().unwrap_or_default())));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| Error::Wrong(format!("fio's report is no JSON: {error}")))
}
