//! bbolt, etcd's own store, in a Go program that lies in `bench/peers/bbolt` and travels inside this one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Outcome, Plan};
use crate::error::{Error, Result};
use measure::Stop;

const FILES: [(&str, &str); 3] = [
    ("main.go", include_str!("../../../peers/bbolt/main.go")),
    ("go.mod", include_str!("../../../peers/bbolt/go.mod")),
    ("go.sum", include_str!("../../../peers/bbolt/go.sum")),
];

/// The program, built.
pub(crate) struct Program {
    path: PathBuf,
}

impl Program {
    /// Builds it in `dir`; an error in words where that can't be done here.
    pub(crate) fn build(dir: &Path) -> Result<std::result::Result<Program, String>> {
        for (name, text) in FILES {
            let path = dir.join(name);
            std::fs::write(&path, text).map_err(Error::io("write", &path))?;
        }
        let path = dir.join("bbolt-peer");
        let built = Command::new("go").args(["build", "-o"]).arg(&path).arg(".").current_dir(dir).output();
        Ok(match built {
            Err(error) => Err(format!("go does not run: {error}")),
            Ok(output) if !output.status.success() => {
                let why = String::from_utf8_lossy(&output.stderr);
                Err(format!("go build fails: {}", why.lines().next_back().unwrap_or_default()))
            }
            Ok(_) => Ok(Program { path }),
        })
    }

    /// Runs it through everything in an empty directory.
    pub(super) fn run(&self, plan: &Plan, dir: &Path, stop: &Stop) -> Result<Outcome> {
        let output = Command::new(&self.path)
            .arg(dir.join("bbolt"))
            .args([plan.puts, plan.keys, plan.reads].map(|number| number.to_string()))
            .stdin(Stdio::null())
            .output()
            .map_err(Error::io("run", &self.path))?;
        stop.check()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            return Err(Error::Wrong(format!("bbolt failed: {}", why.lines().next().unwrap_or_default())));
        }
        let mut outcome: Outcome = serde_json::from_slice(&output.stdout)
            .map_err(|error| Error::Wrong(format!("bbolt's program said something else: {error}")))?;
        outcome.space_megabytes = super::workload::space(dir)? as f64 / 1e6;
        Ok(outcome)
    }
}
