//! The data directories that are spoilt: made by the real server, small, with everything in them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use api::etcdserverpb::request_op::Request as Op;
use api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RequestOp, TxnRequest,
};
use tempfile::TempDir;
use tests::{Clients, Outcome, Serving, Trial};

use crate::From;
use crate::truth::Truth;

/// Small segments, so that there are several.
const FLAGS: [&str; 6] =
    ["--max-request-bytes", "65536", "--wal-segment-bytes", "262144", "--snapshot-count", "1000000"];

/// Checkpoints now and then. Each releases the log before it.
const CHECKPOINTS: [&str; 2] = ["--checkpoint-bytes", "49152"];

/// A data directory with what a server on it serves.
pub(crate) struct Base {
    pub(crate) data: PathBuf,
    pub(crate) truth: Truth,
    /// Its database as it was half-way.
    pub(crate) earlier: Vec<u8>,
}

pub(crate) struct Bases {
    _dir: TempDir,
    whole: Base,
    released: Base,
    /// Of another member of another cluster.
    pub(crate) other: Base,
}

impl Bases {
    pub(crate) fn make() -> anyhow::Result<Bases> {
        let dir = tempfile::tempdir()?;
        let make = |name: &str, steps, token| {
            make(&dir.path().join(name), steps, token).with_context(|| name.to_owned())
        };
        // Twenty steps and their checkpoints fit into the first segment, which is then not released.
        let whole = make("whole", 20, "one")?;
        let released = make("released", 150, "one")?;
        let other = make("other", 20, "another")?;
        Ok(Bases { _dir: dir, whole, released, other })
    }

    pub(crate) fn of(&self, from: From) -> &Base {
        match from {
            From::Whole => &self.whole,
            From::Released => &self.released,
        }
    }
}

/// The flags a server has for any of them.
pub(crate) fn trial() -> Trial {
    Trial { flags: FLAGS.map(str::to_owned).to_vec(), ..Trial::default() }
}

/// `steps` with checkpoints, then more without: the database lags behind a log of several segments.
fn make(data: &Path, steps: i64, token: &str) -> anyhow::Result<Base> {
    let mut trial = trial();
    trial.flags.extend(["--initial-cluster-token", token].map(str::to_owned));
    let with_checkpoints = Trial {
        flags: [trial.flags.clone(), CHECKPOINTS.map(str::to_owned).to_vec()].concat(),
        ..Trial::default()
    };
    let mut server = serve(&with_checkpoints, data)?;
    run(load(&server.endpoint, 0, steps))?;
    ensure!(server.terminate()?.code().is_none_or(|code| code == 0), "it did not stop as it should");
    let earlier = fs::read(data.join("member/db"))?;
    let mut server = serve(&trial, data)?;
    run(load(&server.endpoint, 1, 150))?;
    let truth = run(Truth::of(&server.endpoint))?;
    server.terminate()?;
    Ok(Base { data: data.to_owned(), truth, earlier })
}

/// On a runtime of its own: when it returns, its connections are closed.
pub(crate) fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

fn serve(trial: &Trial, data: &Path) -> anyhow::Result<Serving> {
    match trial.serve(data)? {
        Outcome::Serving(serving) => Ok(serving),
        Outcome::Refused(_, said) => anyhow::bail!("refused: {said}"),
    }
}

/// Puts of all sizes, transactions, leases, deletions, a compaction: some 8 KB a step.
async fn load(endpoint: &str, half: i64, steps: i64) -> anyhow::Result<()> {
    let mut clients = Clients::connect(endpoint).await?;
    clients.lease.lease_grant(LeaseGrantRequest { ttl: 100_000, id: 77 + half }).await?;
    let mut revision = 0;
    for step in 0..steps {
        let key = format!("key/{:03}", step * 7 % 60);
        let size = usize::try_from([40, 300, 1500, 9000, 30_000][(step % 5) as usize])?;
        let put = |key: &str| PutRequest {
            key: key.to_owned().into(),
            value: format!("{half}.{step} ").repeat(size / 5).into(),
            lease: if step % 9 == 0 { 77 + half } else { 0 },
            ..Default::default()
        };
        let header = if step % 11 == 0 {
            let puts = [put(&key), put(&format!("{key}/second"))];
            let success = puts.map(|put| RequestOp { request: Some(Op::RequestPut(put)) }).to_vec();
            clients.kv.txn(TxnRequest { success, ..Default::default() }).await?.into_inner().header
        } else if step % 13 == 0 {
            let request = DeleteRangeRequest { key: key.into(), ..Default::default() };
            clients.kv.delete_range(request).await?.into_inner().header
        } else {
            clients.kv.put(put(&key)).await?.into_inner().header
        };
        revision = header.context("a header")?.revision;
        // Not in the half that is only in the log: a server that applies it drops records of the database unread, and
        // damage to those is none to it, but is to a check.
        if half == 0 && step == 100 {
            let compaction = CompactionRequest { revision: revision - 30, physical: true };
            clients.kv.compact(compaction).await?;
        }
    }
    ensure!(revision > steps * 3 / 4, "the load was not taken");
    Ok(())
}

/// Copies a directory with modes.
pub(crate) fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => _ = fs::copy(entry.path(), target)?,
        }
    }
    fs::set_permissions(to, fs::Permissions::from_mode(0o700))
}
