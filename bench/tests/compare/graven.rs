//! A real member: `GRAVEN_BIN`, or the workspace's own program, built if need be.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// What it says when clients may come.
const READY: &str = "ready to serve client requests";

fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match std::env::var_os("GRAVEN_BIN") {
        Some(path) => path.into(),
        None => built(),
    })
}

/// In the profile this test was built in, beside graven-bench.
fn built() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_BIN_EXE_graven-bench")).parent().unwrap().to_owned();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "graven-server", "--bin", "graven"]);
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    cargo.env("CARGO_TARGET_DIR", folder.parent().unwrap());
    assert!(cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    folder.join("graven")
}

/// The command of a member, as people write it.
pub(crate) fn command() -> String {
    format!(
        "{} --name m --data-dir {{dir}}/data --listen-client-urls http://{{endpoint}} --advertise-client-urls \
         http://127.0.0.1:{{client-port}} --listen-peer-urls http://127.0.0.1:{{peer-port}} \
         --initial-advertise-peer-urls http://127.0.0.1:{{peer-port}} --initial-cluster m=http://127.0.0.1:{{peer-port}}",
        program().display()
    )
}

/// A member that runs; killed when dropped.
pub(crate) struct Member {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl Member {
    pub(crate) fn start() -> Member {
        // A port is only known to be free until somebody else takes it: then others are chosen.
        (0..5).find_map(|_| Member::try_start()).expect("there are free ports")
    }

    fn try_start() -> Option<Member> {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let (client, peer) = (one.local_addr().unwrap().port(), other.local_addr().unwrap().port());
        drop((one, other));
        let line = command()
            .replace("{dir}", dir.path().to_str().unwrap())
            .replace("{endpoint}", &format!("127.0.0.1:{client}"))
            .replace("{client-port}", &client.to_string())
            .replace("{peer-port}", &peer.to_string());
        let mut words = line.split_whitespace();
        let mut child = Command::new(words.next().unwrap())
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let is_ready = log.any(|line| line.contains(READY));
        // Its log is read to the end, so that it never waits for somebody to take it.
        std::thread::spawn(move || log.for_each(drop));
        let member = Member { child, port: client, _dir: dir };
        is_ready.then_some(member)
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
