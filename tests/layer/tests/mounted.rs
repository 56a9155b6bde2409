//! The layer as programs see it, mounted for real.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs::{self, File, OpenOptions};
use std::io::{IoSlice, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use engine::{Applied, Store};
use layer::{CONTROL, Counted, Cut, Layer, Options, is_fuse};
use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::ReadWriteFlags;
use tempfile::TempDir;

struct Mount {
    // Unmounted before the directories go.
    layer: Layer,
    backing: TempDir,
    _mountpoint: TempDir,
}

fn mount(settings: &[(&str, &str)]) -> Mount {
    let (backing, mountpoint) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut options = Options::default();
    for (name, value) in settings {
        options.set(name, value).unwrap();
    }
    let layer = Layer::mount(backing.path(), mountpoint.path(), &options).unwrap();
    assert!(is_fuse(layer.path()).unwrap());
    Mount { layer, backing, _mountpoint: mountpoint }
}

impl Mount {
    fn path(&self, name: &str) -> PathBuf {
        self.layer.path().join(name)
    }

    fn behind(&self, name: &str) -> PathBuf {
        self.backing.path().join(name)
    }

    fn counted_since(&self, before: Counted) -> (u64, u64, u64) {
        let now = self.layer.counted();
        (now.writes - before.writes, now.durable_writes - before.durable_writes, now.syncs - before.syncs)
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.layer.path()).unwrap();
        let mut names: Vec<_> = names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Memory that O_DIRECT takes.
fn aligned(length: usize, fill: u8) -> (Vec<u8>, usize) {
    let bytes = vec![fill; length + 4096];
    let skip = bytes.as_ptr().align_offset(4096);
    (bytes, skip)
}

#[test]
fn files_and_directories_are_those_of_the_backing_directory() {
    for volatile in [&[][..], &[("volatile", "64MiB")]] {
        let mount = mount(volatile);
        fs::create_dir(mount.path("dir")).unwrap();
        fs::write(mount.path("dir/a"), b"hello").unwrap();
        assert_eq!(fs::read(mount.behind("dir/a")).unwrap(), b"hello");
        let mut file = OpenOptions::new().append(true).open(mount.path("dir/a")).unwrap();
        file.write_all(b" world").unwrap();
        assert_eq!(fs::read(mount.path("dir/a")).unwrap(), b"hello world");
        // An open file follows its renames, also over another file.
        fs::write(mount.path("b"), vec![7; 3 << 20]).unwrap();
        fs::rename(mount.path("dir/a"), mount.path("b")).unwrap();
        file.write_all(b"!").unwrap();
        assert_eq!(fs::read(mount.path("b")).unwrap(), b"hello world!");
        assert_eq!(mount.names(), ["b", "dir"]);
        // One that is removed still has its content.
        fs::remove_file(mount.path("b")).unwrap();
        file.write_all(b"?").unwrap();
        assert_eq!(file.metadata().unwrap().len(), 13);
        assert!(fs::remove_file(mount.path("dir")).is_err());
        fs::write(mount.path("dir/c"), b"x").unwrap();
        assert_eq!(
            fs::remove_dir(mount.path("dir")).unwrap_err().kind(),
            std::io::ErrorKind::DirectoryNotEmpty
        );
        fs::remove_dir_all(mount.path("dir")).unwrap();
        assert_eq!(mount.names(), [""; 0]);

        let file = File::create_new(mount.path("sized")).unwrap();
        assert!(File::create_new(mount.path("sized")).is_err());
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 1 << 20).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 1 << 20);
        file.set_len(10).unwrap();
        drop(OpenOptions::new().write(true).truncate(true).open(mount.path("sized")).unwrap());
        assert_eq!(fs::metadata(mount.behind("sized")).unwrap().len(), 0);
        let (here, there) = (
            rustix::fs::statvfs(mount.layer.path()).unwrap(),
            rustix::fs::statvfs(mount.backing.path()).unwrap(),
        );
        assert_eq!((here.f_blocks, here.f_frsize), (there.f_blocks, there.f_frsize));
        fs::remove_file(mount.path("sized")).unwrap();
        let backing = mount.backing;
        mount.layer.unmount().unwrap();
        assert_eq!(fs::read_dir(backing.path()).unwrap().count(), 0, "nothing of the layer is left behind");
    }
}

#[test]
fn each_way_to_write_durably_is_one_operation() {
    let mount = mount(&[]);
    let file = File::create_new(mount.path("f")).unwrap();
    file.set_len(1 << 20).unwrap();
    let before = mount.layer.counted();
    rustix::io::pwritev2(&file, &[IoSlice::new(&[1; 4096])], 0, ReadWriteFlags::DSYNC).unwrap();
    assert_eq!(mount.counted_since(before), (1, 1, 0), "RWF_DSYNC");

    let mut synced = OpenOptions::new();
    synced.write(true).custom_flags(0o10000);
    let synced = synced.open(mount.path("f")).unwrap();
    let before = mount.layer.counted();
    synced.write_all_at(&[2; 4096], 4096).unwrap();
    assert_eq!(mount.counted_since(before), (1, 1, 0), "O_DSYNC");

    let before = mount.layer.counted();
    file.write_all_at(&[3; 4096], 8192).unwrap();
    file.sync_data().unwrap();
    file.sync_all().unwrap();
    assert_eq!(mount.counted_since(before), (1, 0, 2), "write, fdatasync, fsync");

    let mut direct = OpenOptions::new();
    direct.write(true).custom_flags(OFlags::DIRECT.bits().cast_signed());
    let direct = direct.open(mount.path("f")).unwrap();
    let (bytes, skip) = aligned(512 << 10, 4);
    let before = mount.layer.counted();
    let slice = IoSlice::new(&bytes[skip..skip + (512 << 10)]);
    rustix::io::pwritev2(&direct, &[slice], 0, ReadWriteFlags::DSYNC).unwrap();
    assert_eq!(mount.counted_since(before), (1, 1, 0), "O_DIRECT with RWF_DSYNC");
    assert_eq!(fs::read(mount.behind("f")).unwrap()[..512 << 10], vec![4; 512 << 10]);

    let before = mount.layer.counted();
    File::open(mount.layer.path()).unwrap().sync_all().unwrap();
    assert_eq!(mount.counted_since(before), (0, 0, 1), "a directory");
}

/// The engine reads through a shared map what it writes past it.
#[test]
fn shared_maps_follow_writes() {
    let mount = mount(&[]);
    fs::copy("/bin/true", mount.path("program")).unwrap();
    assert!(Command::new(mount.path("program")).status().unwrap().success());

    let path = mount.path("db");
    let file: Arc<dyn engine::File> = Arc::new(engine::OsFile::open(&path).unwrap());
    let mut store = Store::open(file, engine::Options::default()).unwrap();
    for round in 0..3 {
        let mut write = store.begin();
        for i in 0..200_u32 {
            write.put(&i.to_be_bytes(), &[round; 100], 0).unwrap();
        }
        write.finish().unwrap();
        store.set_applied(Applied { index: store.applied().index + 1, term: 1 });
        store.publish();
        let done = store.begin_checkpoint().unwrap().run(&mut |_| ()).unwrap();
        store.end_checkpoint(done).unwrap();
        let item = store
            .reader()
            .view()
            .get(&7_u32.to_be_bytes(), store.revision())
            .unwrap()
            .map(|item| item.value().unwrap().to_vec());
        assert_eq!(item.as_deref(), Some(&[round; 100][..]), "as read through the map");
    }
    drop(store);
    let file: Arc<dyn engine::File> = Arc::new(engine::OsFile::open(&path).unwrap());
    let store = Store::open(file, engine::Options::default()).unwrap();
    assert_eq!(store.revision(), 4);
}

#[test]
fn operations_on_one_file_wait_beside_each_other() {
    let mount = mount(&[("latency", "100ms"), ("backing-sync", "no")]);
    let file = Arc::new(File::create_new(mount.path("f")).unwrap());
    // Within the file: appends are served one after the other by the kernel.
    file.write_all_at(&[0; 16 * 4096], 0).unwrap();
    let barrier = Arc::new(Barrier::new(9));
    let threads: Vec<_> = (0..8)
        .map(|i| {
            let (file, barrier) = (file.clone(), barrier.clone());
            std::thread::spawn(move || {
                barrier.wait();
                let slice = [IoSlice::new(&[1; 4096])];
                rustix::io::pwritev2(&*file, &slice, i * 4096, ReadWriteFlags::DSYNC).unwrap();
            })
        })
        .collect();
    barrier.wait();
    let start = Instant::now();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(90), "{took:?}");
    // One after the other would take 800 ms.
    assert!(took < Duration::from_millis(600), "{took:?}");
    assert_eq!(mount.layer.counted().durable_writes, 8);
}

#[test]
fn the_control_file_sets_and_tells() {
    let mount = mount(&[]);
    let control = mount.path(CONTROL);
    fs::write(&control, "latency 30ms\nstall 1s/10s\n").unwrap();
    let told = fs::read_to_string(&control).unwrap();
    assert!(told.contains("latency 30ms\n") && told.contains("stall 1s/10s\n"), "{told}");
    fs::write(&control, "stall none").unwrap();
    let file = File::create_new(mount.path("f")).unwrap();
    let start = Instant::now();
    file.sync_data().unwrap();
    assert!(start.elapsed() >= Duration::from_millis(30));
    for nonsense in ["latency", "latency fast", "cut", "cut torn", "speed 3", "cut lost x"] {
        let error = fs::write(&control, nonsense).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(22), "{nonsense}");
    }
}

#[test]
fn a_cut_keeps_what_was_synced_and_takes_the_rest() {
    let mount = mount(&[("volatile", "64MiB")]);
    let sync_root = || File::open(mount.layer.path()).unwrap().sync_all().unwrap();
    let kept = File::create_new(mount.path("kept")).unwrap();
    let replaced = File::create_new(mount.path("replaced")).unwrap();
    replaced.write_all_at(b"old", 0).unwrap();
    replaced.sync_all().unwrap();
    fs::create_dir(mount.path("dir")).unwrap();
    sync_root();
    kept.write_all_at(b"synced", 0).unwrap();
    kept.sync_data().unwrap();
    kept.write_all_at(b"not", 0).unwrap();
    // A file whose name was never synced, one renamed over another, and a removed directory.
    File::create_new(mount.path("dir/lost")).unwrap().sync_all().unwrap();
    let mut new = File::create_new(mount.path("new")).unwrap();
    new.write_all(b"new").unwrap();
    new.sync_all().unwrap();
    fs::rename(mount.path("new"), mount.path("replaced")).unwrap();
    fs::remove_file(mount.path("dir/lost")).unwrap();
    fs::remove_dir(mount.path("dir")).unwrap();
    assert_eq!(mount.names(), ["kept", "replaced"]);
    assert_eq!(fs::read(mount.path("replaced")).unwrap(), b"new");

    let report = mount.layer.cut(Cut::Lost, 1).unwrap();
    assert_eq!((report.lost, report.names_lost), (1, 5));
    assert_eq!(fs::read(mount.behind("kept")).unwrap(), b"synced");
    assert_eq!(fs::read(mount.behind("replaced")).unwrap(), b"old");
    assert!(mount.behind("dir").is_dir());
    assert_eq!(fs::read_dir(mount.behind("dir")).unwrap().count(), 0);
    assert!(!mount.behind("new").exists());
    for result in [kept.write_all_at(b"x", 0), kept.sync_all()] {
        assert_eq!(result.unwrap_err().raw_os_error(), Some(5));
    }
    assert!(mount.layer.cut(Cut::Lost, 1).is_err());
    assert!(fs::read_to_string(mount.path(CONTROL)).unwrap().contains("CutReport"));
}

#[test]
fn dropped_syncs_are_acknowledged_and_their_data_lost() {
    let mount = mount(&[("volatile", "64MiB")]);
    let file = File::create_new(mount.path("f")).unwrap();
    file.write_all_at(b"one", 0).unwrap();
    file.sync_all().unwrap();
    File::open(mount.layer.path()).unwrap().sync_all().unwrap();
    mount.layer.control("latency 1s\ndrop-syncs 1").unwrap();
    let start = Instant::now();
    file.write_all_at(b"two", 0).unwrap();
    file.sync_all().unwrap();
    rustix::io::pwritev2(&file, &[IoSlice::new(b"three")], 3, ReadWriteFlags::DSYNC).unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "at once");
    assert_eq!(mount.layer.counted().dropped, 2);
    mount.layer.control("cut lost").unwrap();
    assert_eq!(fs::read(mount.behind("f")).unwrap(), b"one");
}

#[test]
fn the_power_fails_at_a_chosen_sync() {
    for drop in ["0", "1"] {
        let mount = mount(&[("volatile", "64MiB"), ("drop-syncs", drop)]);
        let file = File::create_new(mount.path("f")).unwrap();
        mount.layer.cut_after(3, Cut::Nothing, 1).unwrap();
        for _ in 0..2 {
            file.write_all_at(b"x", 0).unwrap();
            file.sync_all().unwrap();
        }
        assert_eq!(mount.layer.cut_report(), None);
        file.write_all_at(b"y", 0).unwrap();
        assert!(file.sync_all().is_err(), "the third");
        assert!(mount.layer.cut_report().is_some());
        assert_eq!(fs::read(mount.behind("f")).unwrap(), b"y");
    }
}

/// The program: says when it is mounted, and leaves nothing behind after SIGTERM, kill -9 or a bad request.
#[test]
fn the_program_mounts_and_unmounts() {
    let (backing, mountpoint) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut program = Command::new(env!("CARGO_BIN_EXE_graven-layer"));
    program.arg("mount").args([backing.path(), mountpoint.path()]).args(["--latency", "1ms"]);
    program.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut start = || {
        let mut child = program.spawn().unwrap();
        let mut line = [0; 7];
        child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        assert_eq!(&line, b"mounted");
        assert!(is_fuse(mountpoint.path()).unwrap());
        child
    };
    let mut killed = start();
    killed.kill().unwrap();
    killed.wait().unwrap();
    // The kernel lets a mount without its program answer with errors; the next one takes its place.
    let mut child = start();
    let open = File::create_new(mountpoint.path().join("f")).unwrap();
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    assert!(!is_fuse(mountpoint.path()).unwrap(), "unmounted although a file is open");
    assert!(open.sync_all().is_err());
    assert!(backing.path().join("f").exists());

    for (arguments, said) in [
        (&["mount", "/nowhere", "/tmp"][..], "/nowhere cannot be used"),
        (&["mount", "/tmp"], "takes a backing directory and a mount point"),
        (&["mount", "/tmp", "/dev/null"], "/dev/null cannot be used"),
        (&["mount", "/tmp/x", "/tmp", "--latency", "soon"], "latency soon: is not a duration"),
        (&["mount", "/tmp/x", "/tmp", "--latency"], "--latency needs a value"),
        (&["umount"], "begins with `mount`"),
    ] {
        let out = Command::new(env!("CARGO_BIN_EXE_graven-layer")).args(arguments).output().unwrap();
        let text = String::from_utf8(out.stderr).unwrap();
        assert_eq!((out.status.code(), text.lines().count()), (Some(2), 1), "{text}");
        assert!(text.contains(said), "{text}");
    }
}
