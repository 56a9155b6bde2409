//! The power-cut protocol, over a disk of ours that loses its power: an honest one is never accused, a lying one is found,
//! with what it lost.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use layer::{Cut, Layer, Options};
use tempfile::TempDir;

/// Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

fn disk() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graven-disk"));
    command.arg("honesty").stdin(Stdio::null());
    command
}

/// A process that is killed when dropped.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    /// Starts it, and returns the first line it says.
    fn start(command: &mut Command) -> (Running, String) {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        if line.is_empty() {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("said nothing but {said}");
        }
        (Running { child, out }, line)
    }

    /// Its exit code, and everything it still says.
    fn end(mut self) -> (Option<i32>, String) {
        let (mut said, mut complained) = (String::new(), String::new());
        self.out.read_to_string(&mut said).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut complained).unwrap();
        (self.child.wait().unwrap().code(), said + &complained)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A disk that can lose its power, a witness that does not, and a writer to come.
struct Bench {
    layer: Option<Layer>,
    witness: Option<Running>,
    address: String,
    mountpoint: TempDir,
    backing: TempDir,
    elsewhere: TempDir,
}

impl Bench {
    fn new(settings: &[(&str, &str)]) -> Bench {
        let (backing, mountpoint) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let elsewhere = tempfile::tempdir().unwrap();
        let mut bench = Bench {
            layer: None,
            witness: None,
            address: "127.0.0.1:0".to_owned(),
            mountpoint,
            backing,
            elsewhere,
        };
        bench.mount(settings);
        bench.start_witness();
        bench
    }

    fn mount(&mut self, settings: &[(&str, &str)]) {
        self.layer = None;
        let mut options = Options { volatile: Some(1 << 30), ..Options::default() };
        options.set("backing-sync", "no").unwrap();
        for (name, value) in settings {
            options.set(name, value).unwrap();
        }
        self.layer = Some(Layer::mount(self.backing.path(), self.mountpoint.path(), &options).unwrap());
    }

    fn layer(&self) -> &Layer {
        self.layer.as_ref().unwrap()
    }

    fn record(&self) -> PathBuf {
        self.elsewhere.path().join("record")
    }

    /// On the same port as before.
    fn start_witness(&mut self) {
        self.witness = None;
        let mut command = disk();
        command.args(["witness", "--listen", &self.address, "--record"]).arg(self.record());
        let (witness, line) = Running::start(&mut command);
        self.address = line.split([' ', ',']).nth(2).unwrap().to_owned();
        self.witness = Some(witness);
    }

    fn writer(&self, seed: u64) -> Command {
        let mut command = disk();
        command.arg("write").arg(self.mountpoint.path()).args(["--witness", &self.address]);
        command.args(["--size", "32MiB", "--seed", &seed.to_string(), "--duration", "1m"]);
        command
    }

    /// A writer that has begun.
    fn write(&self, seed: u64) -> Running {
        let (writer, line) = Running::start(&mut self.writer(seed));
        assert!(line.contains("is writing"), "{line}");
        writer
    }

    /// Writes until the power fails at the sync of that number.
    fn write_until_cut(&self, seed: u64, lie: Option<&str>, syncs: u64, cut: Cut) {
        let writer = self.write(seed);
        if let Some(share) = lie {
            self.layer().set("drop-syncs", share).unwrap();
        }
        self.layer().cut_after(syncs, cut, seed).unwrap();
        let (code, said) = writer.end();
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("can still be verified"), "{said}");
        assert!(self.layer().cut_report().is_some());
    }

    fn verify(&self, dir: &Path, more: &[&str]) -> (Option<i32>, String) {
        let mut command = disk();
        command.arg("verify").arg(dir).arg("--record").arg(self.record()).args(more);
        let Output { status, stdout, stderr } = command.output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
    }

    /// What the medium holds.
    fn after_cut(&self) -> (Option<i32>, String) {
        self.verify(self.backing.path(), &[])
    }

    fn wait_for_syncs(&self, more: u64) {
        let counted = || {
            let counted = self.layer().counted();
            counted.syncs + counted.durable_writes
        };
        let (goal, begun) = (counted() + more, Instant::now());
        while counted() < goal {
            assert!(begun.elapsed() < PATIENCE, "no progress");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// `GRAVEN_HONESTY_SEEDS` many seeds of each kind of cut; five by default.
#[test]
fn an_honest_disk_is_never_accused() {
    let seeds = std::env::var("GRAVEN_HONESTY_SEEDS").map_or(5, |seeds| seeds.parse().unwrap());
    for cut in [Cut::Lost, Cut::Reordered, Cut::Torn, Cut::Nothing] {
        for seed in 1..=seeds {
            let bench = Bench::new(&[]);
            let syncs = 37 + 211 * seed % 1500;
            bench.write_until_cut(seed, None, syncs, cut);
            let (code, said) = bench.after_cut();
            assert_eq!(code, Some(0), "{cut:?}, seed {seed}, {syncs} syncs: {said}");
            assert!(said.contains("honest: everything"), "{said}");
        }
    }
}

#[test]
fn a_disk_that_drops_syncs_is_found_with_what_it_lost() {
    for (cut, word) in [(Cut::Lost, "lost"), (Cut::Torn, "torn"), (Cut::Reordered, "reordered")] {
        for seed in 1..=2 {
            let bench = Bench::new(&[]);
            bench.write_until_cut(seed, Some("1"), 600, cut);
            let json = bench.elsewhere.path().join("found.json");
            let (code, said) = bench.verify(bench.backing.path(), &["--json", json.to_str().unwrap()]);
            assert_eq!(code, Some(1), "{cut:?}, seed {seed}: {said}");
            let verdict = said.lines().find(|line| line.starts_with("lies: ")).unwrap();
            assert!(verdict.contains(word), "{said}");
            let shown =
                said.lines().find(|line| line.contains(": write ") && line.contains("acknowledged at"));
            let shown = shown.unwrap_or_else(|| panic!("{said}"));
            assert!(
                shown.contains(" at ") && shown.contains("bytes") && shown.contains("; found "),
                "{shown}"
            );

            // Each finding names bytes that are indeed not what was acknowledged.
            let found: serde_json::Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
            assert_eq!(found["honest"], false);
            let findings = found["verdict"]["findings"].as_array().unwrap();
            assert!(findings.len() > 10, "{}", findings.len());
            for finding in findings.iter().filter(|finding| finding["kind"] == "lost") {
                let path =
                    bench.backing.path().join("graven-disk.honesty").join(finding["file"].as_str().unwrap());
                let at = usize::try_from(finding["offset"].as_u64().unwrap()).unwrap();
                let bytes = fs::read(path).unwrap_or_default();
                let sequence = bytes.get(at + 36..at + 44).map(|b| u64::from_le_bytes(b.try_into().unwrap()));
                assert_ne!(sequence, finding["sequence"].as_u64(), "{finding}");
            }
        }
    }
}

#[test]
fn one_dropped_sync_in_fifty_is_found() {
    let found = (1..=3).any(|seed| {
        let bench = Bench::new(&[]);
        bench.write_until_cut(seed, Some("0.02"), 1500, Cut::Lost);
        bench.after_cut().0 == Some(1)
    });
    assert!(found, "within three cuts");
}

/// Even the folder is gone. Only where the very same file system is mounted again is that held against it.
#[test]
fn a_disk_that_lost_everything_is_found_too() {
    let mut bench = Bench::new(&[("drop-syncs", "1")]);
    bench.write_until_cut(3, None, 200, Cut::Lost);
    bench.layer = None;
    let (code, said) = bench.after_cut();
    assert_eq!(code, Some(2), "another place: {said}");
    assert!(said.contains("mount it there"), "{said}");
    bench.mount(&[]);
    let (code, said) = bench.verify(bench.mountpoint.path(), &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the folder itself is gone"), "{said}");
}

#[test]
fn a_killed_writer_has_lost_nothing() {
    let bench = Bench::new(&[]);
    let mut writer = bench.write(5);
    bench.wait_for_syncs(300);
    writer.child.kill().unwrap();
    drop(writer);
    // Everything is there, and may be in memory alone: nobody was without power.
    let (code, said) = bench.verify(bench.mountpoint.path(), &["--clean"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no cut was seen"), "{said}");
    let (code, said) = bench.verify(bench.mountpoint.path(), &["--no-reboot"]);
    assert_eq!(code, Some(0), "{said}");
    // What is there stays until somebody says otherwise.
    let (again, _) = Running::start(bench.writer(6).arg("--clean"));
    bench.wait_for_syncs(50);
    drop(again);
    let refused = bench.writer(7).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("holds an earlier run"));
    assert_eq!(bench.verify(bench.mountpoint.path(), &["--clean", "--no-reboot"]).0, Some(0));
    assert_eq!(fs::read_dir(bench.mountpoint.path()).unwrap().count(), 0, "nothing is left behind");
}

/// Before anything of an earlier run is removed, everything that can be refused has been.
#[test]
fn evidence_survives_requests_that_come_to_nothing() {
    let bench = Bench::new(&[]);
    let writer = bench.write(11);
    bench.wait_for_syncs(100);
    drop(writer);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let nobody = ["--witness", &closed];
    let much = ["--witness", &bench.address, "--size", "900TiB"];
    for (words, expected) in
        [(&nobody[..], "honesty witness` there first"), (&much[..], "has too little space")]
    {
        let mut command = disk();
        command.arg("write").arg(bench.mountpoint.path()).arg("--clean").args(words);
        let refused = command.output().unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(2) && said.contains(expected), "{said}");
        let (code, said) = bench.verify(bench.mountpoint.path(), &["--no-reboot"]);
        assert_eq!(code, Some(0), "{said}");
    }
}

#[test]
fn a_folder_that_is_written_to_belongs_to_its_writer() {
    let bench = Bench::new(&[]);
    // A second writer that has looked for the folder, and hears of its witness only once the first has made it.
    let (slow, gate) = delayed(&bench.address);
    let mut late = disk();
    late.arg("write").arg(bench.mountpoint.path()).args(["--witness", &slow, "--size", "32MiB"]);
    let late = late.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    gate.dialed.recv_timeout(PATIENCE).unwrap();
    let writer = bench.write(13);
    bench.wait_for_syncs(100);
    gate.open.send(()).unwrap();
    let refused = late.wait_with_output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(2) && said.contains("is in use by another"), "{said}");
    // Nor does one that is told to remove what is there, nor is a moving thing judged.
    let refused = bench.writer(14).arg("--clean").output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(2) && said.contains("is in use by another"), "{said}");
    let (code, said) = bench.verify(bench.mountpoint.path(), &[]);
    assert!(code == Some(2) && said.contains("is in use by another"), "{said}");
    // The first has not noticed.
    bench.wait_for_syncs(100);
    drop(writer);
    let (code, said) = bench.verify(bench.mountpoint.path(), &["--no-reboot"]);
    assert_eq!(code, Some(0), "{said}");
}

/// See [`delayed`].
struct Gate {
    dialed: mpsc::Receiver<()>,
    open: mpsc::Sender<()>,
}

/// An address at which the witness is heard only once the gate is opened; for one connection.
fn delayed(witness: &str) -> (String, Gate) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let witness = witness.to_owned();
    let ((tell, dialed), (open, opened)) = (mpsc::channel(), mpsc::channel());
    std::thread::spawn(move || {
        let (near, _) = listener.accept().unwrap();
        let far = TcpStream::connect(witness).unwrap();
        tell.send(()).unwrap();
        opened.recv().unwrap();
        let pass = |mut from: TcpStream, mut to: TcpStream| {
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Both);
            })
        };
        pass(near.try_clone().unwrap(), far.try_clone().unwrap());
        pass(far, near);
    });
    (address, Gate { dialed, open })
}

/// A disk that goes back to the run before, whole and well.
#[test]
fn a_folder_of_an_earlier_run_that_comes_back_is_a_lie() {
    let bench = Bench::new(&[]);
    let writer = bench.write(15);
    bench.wait_for_syncs(200);
    drop(writer);
    bench.layer().set("drop-syncs", "1").unwrap();
    let (writer, line) = Running::start(bench.writer(16).arg("--clean"));
    assert!(line.contains("is writing"), "{line}");
    bench.layer().cut_after(300, Cut::Lost, 16).unwrap();
    writer.end();
    let json = bench.elsewhere.path().join("found.json");
    let (code, said) = bench.verify(bench.backing.path(), &["--json", json.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("lies: the whole folder is from before run"), "{said}");
    let found: serde_json::Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(found["honest"], false);
    // Somebody who took the disk back, and says so, learns that the earlier run is whole.
    let run = found["run"].as_str().unwrap();
    let (code, said) = bench.verify(bench.backing.path(), &["--run", run]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_file_that_cannot_be_opened_is_a_finding_like_another() {
    let bench = Bench::new(&[]);
    let writer = bench.write(17);
    bench.wait_for_syncs(200);
    drop(writer);
    let file = bench.backing.path().join("graven-disk.honesty/in-place-fsync.0000000000");
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&file, &file).unwrap();
    let (code, said) = bench.after_cut();
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("unreadable: in-place-fsync.0000000000 at 0") && said.contains("cannot be opened"),
        "{said}"
    );
    let verdict = said.lines().last().unwrap();
    assert!(verdict.starts_with("lies: ") && verdict.ends_with(" unreadable"), "{said}");
}

#[test]
fn a_killed_witness_may_come_back() {
    let mut bench = Bench::new(&[]);
    let writer = bench.write(8);
    for _ in 0..3 {
        bench.wait_for_syncs(200);
        bench.start_witness();
    }
    bench.wait_for_syncs(200);
    bench.layer().cut_after(100, Cut::Lost, 8).unwrap();
    let (code, said) = writer.end();
    assert_eq!(code, Some(2), "{said}");
    let (code, said) = bench.after_cut();
    assert_eq!(code, Some(0), "{said}");
    let again =
        disk().arg("verify").arg(bench.backing.path()).args(["--witness", &bench.address]).output().unwrap();
    assert_eq!(String::from_utf8(again.stdout).unwrap(), said, "as the witness itself tells it");
    let acknowledged: u64 = said.split(": ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(acknowledged > 400, "{said}");
}

#[test]
fn a_witness_that_stays_away_ends_the_run() {
    let mut bench = Bench::new(&[]);
    let (writer, _) = Running::start(bench.writer(9).args(["--patience", "300ms"]));
    bench.wait_for_syncs(100);
    bench.witness = None;
    let (code, said) = writer.end();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("is away"), "{said}");
    let (code, said) = bench.verify(bench.mountpoint.path(), &["--no-reboot"]);
    assert_eq!(code, Some(0), "what was acknowledged is there: {said}");
}

/// What comes over the network is answered, or hung up on, and the witness goes on.
#[test]
fn a_witness_survives_what_strangers_say() {
    let bench = Bench::new(&[]);
    let long = vec![b'x'; 100_000];
    for said in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\0\xff\n\n\n", b"", &long, b"graven-disk-witness 1 ~00000000\n"]
    {
        let mut stream = TcpStream::connect(&bench.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.write_all(said);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"no "), "{}", String::from_utf8_lossy(&answer));
    }
    bench.write_until_cut(10, None, 100, Cut::Lost);
    assert_eq!(bench.after_cut().0, Some(0));
}

#[test]
fn bad_requests_are_one_line_and_leave_nothing() {
    let bench = Bench::new(&[]);
    let (dir, record) = (bench.mountpoint.path().to_str().unwrap(), bench.record());
    let (record, elsewhere) = (record.to_str().unwrap(), bench.elsewhere.path().to_str().unwrap());
    let address = bench.address.as_str();
    let garbage = format!("{elsewhere}/garbage");
    fs::write(&garbage, "no record").unwrap();
    // Nobody listens on a port that was just closed.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for (arguments, expected) in [
        (&["write", "/nowhere", "--witness", address][..], "/nowhere cannot be used"),
        (&["write", "/dev/null", "--witness", address], "is not a directory"),
        (&["write", "/proc", "--witness", address], "/proc"),
        (&["write", dir, "--witness", &closed], "honesty witness` there first"),
        (&["write", dir, "--witness", "nonsense"], "--witness nonsense"),
        (&["write", dir, "--witness", address, "--size", "1MiB"], "--size is too small"),
        (&["write", dir, "--witness", address, "--size", "900TiB"], "has too little space"),
        (&["write", dir, "--witness", address, "--size", "many"], "--size"),
        (&["write", dir], "--witness"),
        (&["witness", "--listen", "nowhere:1:2", "--record", record], "--listen"),
        (&["witness", "--listen", "127.0.0.1:0", "--record", record], "is in use"),
        (&["witness", "--listen", "127.0.0.1:0", "--record", &garbage], "is not a witness's record"),
        (&["witness", "--listen", "127.0.0.1:0", "--record", "/nowhere/record"], "cannot be written"),
        (&["verify", dir, "--record", &garbage], "is not a witness's record"),
        (&["verify", dir, "--record", "/nowhere/record"], "cannot be read"),
        (&["verify", dir, "--record", record], "the record no run there"),
        (&["verify", dir, "--record", record, "--run", "7"], "has no run"),
        (&["verify", dir, "--witness", &closed], "--witness"),
        (&["verify", dir], "--record"),
        (&["verify", "/nowhere", "--record", record], "/nowhere cannot be used"),
        (&["verify", dir, "--record", record, "--json", "/nowhere/x.json"], "--json"),
        (&["nothing"], "nothing"),
    ] {
        let out = disk().args(arguments).output().unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!((out.status.code(), said.lines().count()), (Some(2), 1), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(out.stdout.is_empty());
    }
    assert_eq!(fs::read_dir(bench.mountpoint.path()).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(&garbage).unwrap(), "no record");
}
