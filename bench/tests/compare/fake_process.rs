//! The fake etcd as a command that a comparison can start: this test's own program, told by its environment to be one.
//!
//! It holds nothing on any disk, so it is also the server that answers puts before they are durable.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use crate::fake::{Fake, Faults};

const PORT: &str = "GRAVEN_BENCH_FAKE_PORT";
const DIES: &str = "GRAVEN_BENCH_FAKE_DIES";
/// What it says and how it ends when it dies.
pub(crate) const LAST_WORDS: &str = "the fake has had enough";
pub(crate) const EXIT_CODE: i32 = 9;

/// A command for `--a`; it dies after so many requests.
pub(crate) fn command(dies_after: Option<u64>) -> String {
    let program = std::env::current_exe().unwrap();
    let dies = dies_after.map_or_else(String::new, |after| after.to_string());
    format!(
        "{PORT}={{client-port}} {DIES}={dies} exec {} --exact fake_process::serves_when_it_is_told_to --nocapture # {{dir}}",
        program.display()
    )
}

/// Does nothing in a run of the tests.
#[test]
fn serves_when_it_is_told_to() {
    let Ok(port) = std::env::var(PORT) else { return };
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    let die_after = std::env::var(DIES).unwrap().parse().ok();
    let fake = Fake::start(Faults { die_after, ..Faults::default() });
    for client in listener.incoming() {
        let client = client.unwrap();
        let Ok(server) = TcpStream::connect(fake.address) else { die() };
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || pass(&mut from, &mut to));
        let address = fake.address;
        thread::spawn(move || {
            let (mut from, mut to) = (server, client);
            pass(&mut from, &mut to);
            // The fake has ended this connection: is it still there?
            if TcpStream::connect(address).is_err() {
                die();
            }
        });
    }
}

fn die() -> ! {
    let _ = writeln!(std::io::stderr(), "{LAST_WORDS}");
    std::process::exit(EXIT_CODE)
}

fn pass(from: &mut TcpStream, to: &mut TcpStream) {
    from.set_nodelay(true).unwrap();
    to.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
