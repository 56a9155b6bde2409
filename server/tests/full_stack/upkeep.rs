//! Upkeep of a whole member: defragmentation, scrubbing, and a disk without space, while it serves.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::maintenance_client::MaintenanceClient;
use api::etcdserverpb::*;
use server::upkeep::{CheckpointPolicy, Event, Events};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tonic::Code;
use tonic::transport::Channel;

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

/// 48 MiB in the file, of which most is deleted and compacted away.
async fn leave_holes(kv: &mut KvClient<Channel>) {
    for at in 0..3000 {
        kv.put(put(&format!("k{at:05}"), &value(at))).await.unwrap();
    }
    for at in (0..3000).filter(|at| at % 8 != 0) {
        let key = format!("k{at:05}");
        kv.delete_range(DeleteRangeRequest { key: key.into(), ..DeleteRangeRequest::default() })
            .await
            .unwrap();
    }
    let revision = kv.range(get("k", "")).await.unwrap().into_inner().header.unwrap().revision;
    kv.compact(CompactionRequest { revision, physical: true }).await.unwrap();
}

/// Every eighth key with its value, and nothing else.
async fn check_kept(kv: &mut KvClient<Channel>) {
    let all = RangeRequest { count_only: true, ..get("k", "l") };
    assert_eq!(kv.range(all).await.unwrap().into_inner().count, 375);
    for at in (0..3000).step_by(8) {
        let request = RangeRequest { key: format!("k{at:05}").into(), ..RangeRequest::default() };
        let found = kv.range(request).await.unwrap().into_inner().kvs;
        assert_eq!(found[0].value, value(at));
    }
}

fn file_bytes(folder: &Path) -> u64 {
    std::fs::metadata(folder.join("db")).unwrap().len()
}

#[test]
fn a_file_is_defragmented_while_the_member_serves() {
    run(|folder| async move {
        let member = Running::start_with(folder.path(), Setup { checkpoints: eager(), ..Setup::default() });
        let channel = member.channel().await;
        let mut kv = KvClient::new(channel.clone());
        leave_holes(&mut kv).await;
        let before = file_bytes(folder.path());
        assert!(before > 40 << 20, "{before}");

        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, mut other) = (stop.clone(), kv.clone());
        let writer = tokio::spawn(async move {
            let (mut longest, mut puts) = (Duration::ZERO, 0);
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                other.put(put("w", &puts.to_string())).await.unwrap();
                longest = longest.max(begun.elapsed());
                puts += 1;
            }
            (longest, puts)
        });
        let calls = (0..2).map(|_| {
            let mut maintenance = MaintenanceClient::new(channel.clone());
            tokio::spawn(
                async move { maintenance.defragment(DefragmentRequest {}).await.unwrap().into_inner() },
            )
        });
        for call in calls.collect::<Vec<_>>() {
            assert_eq!(call.await.unwrap(), DefragmentResponse { header: None });
        }
        stop.store(true, Ordering::Relaxed);
        let (longest, puts) = writer.await.unwrap();
        let after = file_bytes(folder.path());
        assert!(after < before / 3, "{before} -> {after}");
        assert!(puts > 0);
        println!("{puts} puts meanwhile, the longest took {longest:?}; {before} -> {after} bytes");
        assert_eq!(
            metric(&member, "etcd_disk_backend_defrag_duration_seconds_count"),
            1.0,
            "the second joined"
        );
        assert_eq!(metric(&member, "etcd_disk_defrag_inflight"), 0.0);
        let status = MaintenanceClient::new(channel).status(StatusRequest {}).await.unwrap().into_inner();
        assert_eq!(status.db_size as u64, after);
        assert!(status.db_size_in_use <= status.db_size);
        check_kept(&mut kv).await;
        member.stop();

        let member = Running::start(folder.path());
        let mut kv = KvClient::new(member.channel().await);
        check_kept(&mut kv).await;
        let last = kv.range(get("w", "")).await.unwrap().into_inner();
        assert_eq!(last.kvs[0].value, (puts - 1).to_string());
        member.stop();
    });
}

#[test]
fn a_member_that_stops_leaves_no_caller_of_defragment_waiting() {
    run(|folder| async move {
        let member = Running::start_with(folder.path(), Setup { checkpoints: eager(), ..Setup::default() });
        let channel = member.channel().await;
        leave_holes(&mut KvClient::new(channel.clone())).await;
        let mut maintenance = MaintenanceClient::new(channel);
        let call = tokio::spawn(async move { maintenance.defragment(DefragmentRequest {}).await });
        while metric(&member, "etcd_disk_defrag_inflight") == 0.0
            && metric(&member, "etcd_disk_backend_defrag_duration_seconds_count") == 0.0
        {
            tokio::task::yield_now().await;
        }
        tokio::task::spawn_blocking(move || member.stop()).await.unwrap();
        match call.await.unwrap() {
            // It was quick.
            Ok(_) => {}
            Err(status) => assert_eq!(status.code(), Code::Unavailable),
        }
        let member = Running::start(folder.path());
        check_kept(&mut KvClient::new(member.channel().await)).await;
        member.stop();
    });
}

#[test]
fn a_file_gets_smaller_without_being_asked() {
    run(|folder| async move {
        let (events, mut told) = heard();
        let setup = Setup { checkpoints: eager(), auto_defragment: true, events, ..Setup::default() };
        let member = Running::start_with(folder.path(), setup);
        let mut kv = KvClient::new(member.channel().await);
        leave_holes(&mut kv).await;
        assert!(file_bytes(folder.path()) > 40 << 20);
        while told.recv().await.unwrap() != Event::AutoDefragmented {}
        assert_eq!(metric(&member, "graven_auto_defragments_total"), 1.0);
        let after = file_bytes(folder.path());
        assert!(after < 16 << 20, "{after}");
        assert_eq!(metric(&member, "etcd_disk_backend_defrag_duration_seconds_count"), 0.0, "nobody asked");
        check_kept(&mut kv).await;
        member.stop();
    });
}

/// What upkeep tells, in order.
fn heard() -> (Events, UnboundedReceiver<Event>) {
    let (tell, told) = unbounded_channel();
    // Whoever has stopped listening does not care.
    (Arc::new(move |event| tell.send(event).unwrap_or_default()), told)
}

/// A fail-stop that tells the reason instead of ending the process.
fn noted() -> (server::apply::FailStop, UnboundedReceiver<String>) {
    let (tell, reasons) = unbounded_channel();
    (Arc::new(move |error| tell.send(error.to_string()).unwrap_or_default()), reasons)
}

#[test]
fn a_pass_reads_everything_and_finds_nothing() {
    run(|folder| async move {
        let (events, mut told) = heard();
        let setup = Setup { scrub_interval: Some(Duration::from_secs(1)), events, ..Setup::default() };
        let member = Running::start_with(folder.path(), setup);
        let mut kv = KvClient::new(member.channel().await);
        for at in 0..100 {
            kv.put(put(&format!("k{at}"), &value(at))).await.unwrap();
        }
        // The one that was under way when the last put was answered, and one after it.
        while told.try_recv().is_ok() {}
        let mut passes = Vec::new();
        while passes.len() < 2 {
            if let Event::Verified { bytes } = told.recv().await.unwrap() {
                passes.push(bytes);
            }
        }
        assert!(passes[1] > 100 * VALUE_BYTES as u64, "{passes:?}");
        assert!(metric(&member, "graven_scrub_bytes_total") >= passes[1] as f64);
        assert!(metric(&member, "graven_scrub_last_completed_seconds") > 1e9);
        assert_eq!(metric(&member, "graven_scrub_damage_total"), 0.0);
        member.stop();
    });
}

#[test]
fn a_damaged_page_that_nobody_asks_for_is_found() {
    run(|folder| async move {
        let member = Running::start(folder.path());
        let mut kv = KvClient::new(member.channel().await);
        for at in 0..200 {
            kv.put(put(&format!("k{at}"), &value(at))).await.unwrap();
        }
        member.stop();
        // In the middle of a value, so that opening does not come across it.
        let db = std::fs::File::options().read(true).write(true).open(folder.path().join("db")).unwrap();
        let bytes = std::fs::read(folder.path().join("db")).unwrap();
        let at = bytes.windows(8).position(|window| window == b"00000077").unwrap() as u64 + 4096;
        db.write_all_at(b"X", at).unwrap();

        let (fail_stop, mut reasons) = noted();
        let setup = Setup { scrub_interval: Some(Duration::from_secs(1)), fail_stop, ..Setup::default() };
        let member = Running::start_with(folder.path(), setup);
        let reason = reasons.recv().await.unwrap();
        assert!(reason.contains("page") && reason.contains("damaged"), "{reason}");
        assert_eq!(metric(&member, "graven_scrub_damage_total"), 1.0);
        assert_eq!(metric(&member, "graven_scrub_last_completed_seconds"), 0.0);
        member.stop();
    });
}

/// Stores nothing by itself.
fn idle() -> CheckpointPolicy {
    CheckpointPolicy {
        dirty_bytes: usize::MAX,
        entries: u64::MAX,
        spacing: Duration::ZERO,
        interval: Duration::MAX,
    }
}

/// The log's segment that has the value of a put, and where.
fn logged(folder: &Path, seed: usize) -> (PathBuf, u64) {
    let wanted = format!("{seed:08}").repeat(4);
    std::fs::read_dir(folder.join("wal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wal"))
        .find_map(|path| {
            let bytes = std::fs::read(&path).unwrap();
            let at = bytes.windows(wanted.len()).position(|window| window == wanted.as_bytes())?;
            Some((path, at as u64))
        })
        .unwrap()
}

/// Puts go on while it is found and after it; none that was answered is lost.
fn heals(puts: usize, damaged: usize, tail: bool) {
    run(|folder| async move {
        let (events, mut told) = heard();
        let interval = Duration::from_secs(1);
        let setup = Setup { checkpoints: idle(), scrub_interval: Some(interval), events, ..Setup::default() };
        let member = Running::start_with(folder.path(), setup);
        let mut kv = KvClient::new(member.channel().await);
        for at in 0..puts {
            kv.put(put(&format!("k{at}"), &value(at))).await.unwrap();
        }
        // Acknowledged, in the log and in memory, not in the engine's file.
        let (path, at) = logged(folder.path(), damaged);
        assert_eq!(path == logged(folder.path(), puts - 1).0, tail);
        std::fs::File::options().write(true).open(&path).unwrap().write_all_at(b"X", at + 100).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, mut other) = (stop.clone(), kv.clone());
        let writer = tokio::spawn(async move {
            let (mut answered, mut refused) = (0, 0);
            while !stopped.load(Ordering::Relaxed) {
                match other.put(put(&format!("w{answered:06}"), "1")).await {
                    Ok(_) => answered += 1,
                    Err(status) => {
                        let damaged = "etcdserver: the log is damaged, it is being replaced";
                        assert_eq!(told_of(status), (Code::Unavailable, damaged.to_string()));
                        refused += 1;
                        let read = other.range(get("k1", "")).await.unwrap().into_inner();
                        assert_eq!(read.kvs[0].value, value(1), "reads go on");
                    }
                }
            }
            (answered, refused)
        });
        while told.recv().await.unwrap() != Event::LogRenewed {}
        // Writes are taken again, and the next pass finds nothing.
        kv.put(put("after", "1")).await.unwrap();
        while !matches!(told.recv().await.unwrap(), Event::Verified { .. }) {}
        stop.store(true, Ordering::Relaxed);
        let (answered, refused) = writer.await.unwrap();
        assert!(answered > 0 && refused > 0);
        assert_eq!(metric(&member, "graven_scrub_damage_total"), 1.0);
        assert_eq!(metric(&member, "graven_log_renewals_total"), 1.0);
        member.stop();

        let member = Running::start(folder.path());
        let mut kv = KvClient::new(member.channel().await);
        let count = |from, to| RangeRequest { count_only: true, ..get(from, to) };
        assert_eq!(kv.range(count("k", "l")).await.unwrap().into_inner().count, puts as i64);
        assert_eq!(kv.range(count("w", "x")).await.unwrap().into_inner().count, answered);
        assert_eq!(kv.range(count("after", "")).await.unwrap().into_inner().count, 1);
        member.stop();
    });
}

fn told_of(status: tonic::Status) -> (Code, String) {
    told::<()>(Err(status))
}

#[test]
fn damage_in_a_closed_segment_of_the_log_loses_nothing() {
    heals(800, 77, false);
}

#[test]
fn damage_in_the_segment_in_use_loses_nothing() {
    heals(200, 77, true);
}

#[test]
fn a_view_that_is_held_for_long_is_told() {
    run(|folder| async move {
        let (events, mut told) = heard();
        let long_view = Duration::from_millis(20);
        let member = Running::start_with(folder.path(), Setup { long_view, events, ..Setup::default() });
        let mut kv = KvClient::new(member.channel().await);
        kv.put(put("k", "1")).await.unwrap();
        let view = member.reader.view();
        let revision = view.revision();
        // From here on it is not the newest.
        kv.put(put("k", "2")).await.unwrap();
        while told.recv().await.unwrap() != (Event::LongView { revision }) {}
        assert!(metric(&member, "graven_long_views_total") >= 1.0);
        drop(view);
        member.stop();
    });
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
        let (events, mut told_events) = heard();
        let setup = Setup { checkpoints: eager(), file: Some(limited.clone()), events, ..Setup::default() };
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
            while told_events.recv().await.unwrap() != Event::MemoryLoad {}
        }
        member.stop();
        let member = Running::start(folder.path());
        let mut kv = KvClient::new(member.channel().await);
        let kept = kv.range(RangeRequest { count_only: true, ..get("k", "l") }).await.unwrap().into_inner();
        assert_eq!(kept.count, written as i64 - 1);
        member.stop();
    });
}
