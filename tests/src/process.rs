//! A server as a process of its own, with a private data directory and ports nobody else uses.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::TempDir;

/// How long a server may take to start or to stop before the test fails. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server says on its log when clients may come.
const READY: &str = "ready to serve client requests";

/// The program under test: `GRAVEN_BIN`, or the workspace's own, built if need be.
///
/// # Panics
/// When it cannot be built.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match std::env::var_os("GRAVEN_BIN") {
        Some(path) => path.into(),
        None => build("graven-server", "graven").expect("the server can be built"),
    })
}

/// Whether the program under test is Graven, and not an etcd.
///
/// # Panics
/// When it does not run.
pub fn is_graven() -> bool {
    let version = Command::new(program()).arg("--version").env_remove("GRAVEN_BIN").output();
    let version = version.expect("the program under test runs");
    String::from_utf8_lossy(&version.stdout).to_lowercase().contains("graven")
}

/// `gravenutl`, built if need be.
///
/// # Panics
/// When it cannot be built.
pub fn utl() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build("graven-tools", "gravenutl").expect("gravenutl can be built"))
}

/// Builds a program in the profile this test was built in, and finds it beside the test.
fn build(package: &str, program: &str) -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let mut folder = test.parent().context("a test lies in a folder")?;
    if folder.ends_with("deps") {
        folder = folder.parent().context("deps lies in a profile's folder")?;
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    cargo.args(["build", "--quiet", "--package", package, "--bin", program]);
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    if let Some(target) = folder.parent() {
        cargo.env("CARGO_TARGET_DIR", target);
    }
    let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().context("cargo does not run")?;
    if !status.success() {
        bail!("cargo build of {program} failed");
    }
    Ok(folder.join(program))
}

/// A running server. It is killed when dropped.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    child: Option<Child>,
    dir: Arc<TempDir>,
    extra: Vec<String>,
    client: u16,
    peer: u16,
    log: Arc<Mutex<String>>,
    closed: Receiver<()>,
}

impl Server {
    /// Starts the program under test on an empty data directory.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_program(program(), &[])
    }

    /// Starts `program`, which takes etcd's flags, on an empty data directory with `extra` flags.
    pub fn start_program(program: &Path, extra: &[&str]) -> anyhow::Result<Self> {
        let dir = Arc::new(tempfile::tempdir()?);
        let extra: Vec<_> = extra.iter().map(ToString::to_string).collect();
        // A port is only known to be free until somebody else takes it: then choose others.
        for _ in 0..5 {
            let (client, peer) = free_ports()?;
            match Self::spawn(program, dir.clone(), extra.clone(), client, peer) {
                Err(error) if format!("{error:#}").contains("in use") => {}
                started => return started,
            }
        }
        bail!("no free ports were found")
    }

    fn spawn(
        program: &Path,
        dir: Arc<TempDir>,
        extra: Vec<String>,
        client: u16,
        peer: u16,
    ) -> anyhow::Result<Self> {
        let client_url = format!("http://127.0.0.1:{client}");
        let peer_url = format!("http://127.0.0.1:{peer}");
        let mut command = Command::new(program);
        command
            .args(["--name", "default", "--data-dir"])
            .arg(dir.path().join("data"))
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("default={peer_url}")])
            .args(&extra)
            .env_remove("GRAVEN_BIN")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{} does not start", program.display()))?;
        let stderr = child.stderr.take().context("stderr is piped")?;
        let log = Arc::new(Mutex::new(String::new()));
        let (ready, is_ready) = channel();
        let (close, closed) = channel();
        let kept = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let up = line.contains(READY);
                let mut log = kept.lock().expect("nobody panics with the log in hand");
                log.push_str(&line);
                log.push('\n');
                drop(log);
                if up {
                    _ = ready.send(());
                }
            }
            // End of the log: the process is gone. Dropping `ready` wakes who waits for a start.
            drop(ready);
            _ = close.send(());
        });
        let server =
            Self { program: program.to_owned(), child: Some(child), dir, extra, client, peer, log, closed };
        match is_ready.recv_timeout(PATIENCE) {
            Ok(()) => Ok(server),
            Err(RecvTimeoutError::Timeout) => {
                bail!("{} is not ready after {PATIENCE:?}:\n{}", program.display(), server.log())
            }
            Err(RecvTimeoutError::Disconnected) => bail!("{} ended:\n{}", program.display(), server.log()),
        }
    }

    /// HOST:PORT for clients.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.client)
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Everything it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().expect("nobody panics with the log in hand").clone()
    }

    /// `kill -9`, at once, without any chance to tidy up.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill()?;
        child.wait()?;
        self.log_is_whole();
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        let mut child = self.child.take().context("the server does not run")?;
        let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
        if !status.success() {
            bail!("kill -TERM failed");
        }
        if self.closed.recv_timeout(PATIENCE).is_err() {
            child.kill()?;
            bail!("the server is still there {PATIENCE:?} after SIGTERM:\n{}", self.log());
        }
        Ok(child.wait()?)
    }

    /// Starts it again after [`kill`](Self::kill) or [`terminate`](Self::terminate), on the same data and ports.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.child.is_none(), "the server still runs");
        let again = Self::spawn(&self.program, self.dir.clone(), self.extra.clone(), self.client, self.peer)?;
        *self = again;
        Ok(())
    }

    fn log_is_whole(&self) {
        _ = self.closed.recv_timeout(PATIENCE);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            _ = child.kill();
            _ = child.wait();
        }
    }
}

/// Two ports that nobody listens on right now.
fn free_ports() -> anyhow::Result<(u16, u16)> {
    let (a, b) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok((a.local_addr()?.port(), b.local_addr()?.port()))
}
