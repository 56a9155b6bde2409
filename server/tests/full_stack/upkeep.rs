//! Upkeep of a whole member while it serves: a disk without space.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::*;
use server::upkeep::CheckpointPolicy;
use tonic::Code;

use crate::member::{Running, Setup, get, metric, put, run, told};

const VALUE_BYTES: usize = 16 << 10;

fn value(seed: usize) -> String {
    format!("{seed:08}").repeat(VALUE_BYTES / 8)
}

/// Frequent checkpoints by bytes, and none that only entries ask for.
fn eager() -> CheckpointPolicy {
    CheckpointPolicy {
        dirty_bytes: 1 << 20,
        entries: u64::MAX,
        spacing: Duration::ZERO,
        interval: Duration::MAX,
    }
}

/// A file on a disk that has only so much space.
struct Limited {
    file: engine::OsFile,
    most_bytes: AtomicU64,
    refused: AtomicU64,
}

impl engine::File for Limited {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        if bytes > self.file.len()? && bytes > self.most_bytes.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(rustix::io::Errno::NOSPC.into());
        }
        self.file.set_len(bytes)
    }

    fn map(&self, reserve: u64) -> io::Result<engine::Map> {
        self.file.map(reserve)
    }
}

#[test]
fn without_space_for_its_file_a_member_goes_on_and_recovers_by_itself() {
    run(|folder| async move {
        let file = engine::OsFile::open(&folder.path().join("db")).unwrap();
        let limited = Limited { file, most_bytes: (8 << 20).into(), refused: 0.into() };
        let limited = Arc::new(limited);
        let setup = Setup { checkpoints: eager(), file: Some(limited.clone()), ..Setup::default() };
        let member = Running::start_with(folder.path(), setup);
        let mut kv = KvClient::new(member.channel().await);
        // More than the disk takes, and at last more than memory may hold.
        let mut written = 0;
        let refused = loop {
            match kv.put(put(&format!("k{written:05}"), &value(written))).await {
                Ok(_) => written += 1,
                Err(status) => break told::<()>(Err(status)),
            }
            assert!(written < 10_000, "nothing is ever refused");
        };
        assert_eq!(refused, (Code::Unknown, "etcdserver: too many requests".to_string()));
        assert!(written * VALUE_BYTES > 16 << 20, "{written}");
        assert!(limited.refused.load(Ordering::SeqCst) > 0);
        assert!(metric(&member, "graven_checkpoint_no_space_total") > 0.0);
        assert!(metric(&member, "graven_refused_for_memory_total") > 0.0);
        // Reads and what makes room go on.
        let all = RangeRequest { count_only: true, ..get("k", "l") };
        assert_eq!(kv.range(all).await.unwrap().into_inner().count, written as i64);
        let delete = DeleteRangeRequest { key: "k00000".into(), ..DeleteRangeRequest::default() };
        assert_eq!(kv.delete_range(delete).await.unwrap().into_inner().deleted, 1);
        // Somebody makes space.
        limited.most_bytes.store(u64::MAX, Ordering::SeqCst);
        while kv.put(put("z", "1")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        member.stop();
        let member = Running::start(folder.path());
        let mut kv = KvClient::new(member.channel().await);
        let kept = kv.range(RangeRequest { count_only: true, ..get("k", "l") }).await.unwrap().into_inner();
        assert_eq!(kept.count, written as i64 - 1);
        member.stop();
    });
}
