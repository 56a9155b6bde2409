//! A graven process, filled through its front door.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use api::etcdserverpb::PutRequest;
use api::etcdserverpb::kv_client::KvClient;
use tonic::transport::Endpoint;

use super::load::{self, Values};
use crate::error::{Error, Result};
use measure::Stop;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// What it says when clients may come.
const READY: &str = "ready to serve client requests";
const CALLERS: usize = 64;
/// The quota of etcd's default would not hold a million keys with their history.
const QUOTA: &str = "8589934592";

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    endpoint: String,
}

impl Server {
    /// Starts `program` on an empty data directory in `dir`.
    pub(crate) fn start(program: &Path, dir: &Path) -> Result<Server> {
        let (client, peer) = free_ports()?;
        let (client_url, peer_url) =
            (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let mut child = Command::new(program)
            .args(["--name", "m", "--data-dir"])
            .arg(dir.join("data"))
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("m={peer_url}"), "--quota-backend-bytes", QUOTA])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Error::Usage(format!("--server {}: {error}", program.display())))?;
        let log = BufReader::new(child.stderr.take().expect("it is piped"));
        let (ready, is_ready) = channel();
        // Reads on to the end, so that the server never waits for somebody to take its log.
        std::thread::spawn(move || {
            let mut last = String::new();
            for line in log.lines().map_while(std::result::Result::ok) {
                if line.contains(READY) {
                    let _ = ready.send(Ok(()));
                }
                last = line;
            }
            let _ = ready.send(Err(last));
        });
        let server = Server { child, endpoint: client_url };
        let why = match is_ready.recv_timeout(PATIENCE) {
            Ok(Ok(())) => return Ok(server),
            Ok(Err(last)) => last,
            Err(RecvTimeoutError::Timeout) => format!("not ready after {PATIENCE:?}"),
            Err(RecvTimeoutError::Disconnected) => "it ended".to_owned(),
        };
        Err(Error::Usage(format!("--server {}: does not serve: {why}", program.display())))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Puts the keys with the numbers below `keys`, each once.
    pub(crate) fn fill(&self, stop: &Stop, keys: u64, value_bytes: usize) -> Result<()> {
        let failed = |what: String| Error::Wrong(format!("{}: {what}", self.endpoint));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async {
            let channel = Endpoint::from_shared(self.endpoint.clone())
                .map_err(|error| failed(error.to_string()))?
                .connect()
                .await
                .map_err(|error| failed(error.to_string()))?;
            let next = Arc::new(AtomicU64::new(0));
            let mut callers: tokio::task::JoinSet<Result<()>> = tokio::task::JoinSet::new();
            for caller in 0..CALLERS {
                let (next, stop) = (Arc::clone(&next), stop.clone());
                let mut client = KvClient::new(channel.clone());
                callers.spawn_local(async move {
                    let mut values = Values::new(caller as u64);
                    let mut key = Vec::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= keys {
                            return Ok(());
                        }
                        stop.check()?;
                        load::key(number, &mut key);
                        let request = PutRequest {
                            key: key.clone().into(),
                            value: values.next(value_bytes).to_vec().into(),
                            ..PutRequest::default()
                        };
                        client
                            .put(request)
                            .await
                            .map_err(|status| Error::Wrong(format!("a put: {status}")))?;
                    }
                });
            }
            while let Some(result) = callers.join_next().await {
                result.map_err(|error| failed(error.to_string()))??;
            }
            Ok(())
        })
    }

    /// Ends it.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.child.kill().map_err(|error| Error::Wrong(format!("cannot end the server: {error}")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two ports that nobody listens on right now.
fn free_ports() -> Result<(u16, u16)> {
    let listen = || TcpListener::bind("127.0.0.1:0").and_then(|one| Ok((one.local_addr()?.port(), one)));
    let failed = |error| Error::Wrong(format!("no free port: {error}"));
    let ((a, one), (b, other)) = (listen().map_err(failed)?, listen().map_err(failed)?);
    drop((one, other));
    Ok((a, b))
}
