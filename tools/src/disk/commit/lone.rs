//! A lone client over loopback whose every request is made durable before it is answered: the wake-ups of a put with
//! nobody else about, on CPUs that fall asleep meanwhile, and the log's durable write among them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use measure::{Error, Latencies, Result, Stop};

use super::rig::Rig;
use super::schedule::Waiting;

/// Bytes of a put on the wire, and of its answer.
pub(crate) const REQUEST: usize = 400;
const ANSWER: usize = 60;

impl Rig {
    /// Round trips, one after the other, for so long; and the durable writes in them.
    pub(crate) fn lone(&mut self, time: Duration, stop: &Stop) -> Result<(Latencies, Latencies)> {
        let failed = |error| Error::Wrong(format!("a connection over loopback failed: {error}"));
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let client = TcpStream::connect(address).map_err(failed)?;
        let (mut server, _) = listener.accept().map_err(failed)?;
        client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).map_err(failed)?;
        self.series.resume();
        let mut waiting = Waiting::of_this_thread();
        let mut syncs = Latencies::new();
        let latencies = thread::scope(|scope| {
            let asking = scope.spawn(move || ask(client, time));
            let mut request = [0; REQUEST];
            let mut result = Ok(());
            // The client closes when its time is over.
            while server.read_exact(&mut request).is_ok() {
                match stop.check().and_then(|()| self.commit(1, &mut waiting)) {
                    Ok(took) => syncs.record(took),
                    Err(error) => {
                        result = Err(error);
                        break;
                    }
                }
                if server.write_all(&request[..ANSWER]).is_err() {
                    break;
                }
            }
            // What ends this side early ends the other.
            drop(server);
            let asked = asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            result.and_then(|()| asked.map_err(failed))
        });
        self.series.pause();
        Ok((latencies?, syncs))
    }
}

fn ask(mut client: TcpStream, time: Duration) -> std::io::Result<Latencies> {
    let mut latencies = Latencies::new();
    let (request, mut answer) = ([1; REQUEST], [0; ANSWER]);
    let begun = Instant::now();
    let mut last = begun;
    while last - begun < time {
        client.write_all(&request)?;
        client.read_exact(&mut answer)?;
        let now = Instant::now();
        latencies.record(now - last);
        last = now;
    }
    Ok(latencies)
}
