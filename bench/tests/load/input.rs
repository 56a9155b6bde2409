//! Requests that can't be carried out: exit code 2 and one line that says what and what to do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Instant;

use super::fake::{Fake, Faults};
use super::{command, text};

/// The one line a refused command says.
fn refused(arguments: &[&str]) -> String {
    let began = Instant::now();
    let output = command(arguments).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}{said}", text(&output.stdout));
    assert!(output.stdout.is_empty(), "{arguments:?}: {}", text(&output.stdout));
    assert!(said.starts_with("graven-bench: ") && said.lines().count() == 1, "{arguments:?}: {said}");
    assert!(began.elapsed().as_secs() < 60);
    said
}

fn at(endpoint: &str) -> String {
    refused(&["put", "--endpoints", endpoint])
}

/// A server that says the same to everybody, after it has heard something, and goes.
fn says(words: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut socket, _)) = listener.accept() {
            let mut heard = [0; 1024];
            let _ = socket.read(&mut heard);
            let _ = socket.write_all(words);
        }
    });
    address
}

#[test]
fn who_is_no_etcd_is_named() {
    // A port that was free a moment ago.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = at(&format!("http://{nobody}"));
    assert!(
        said.contains(&format!("cannot reach http://{nobody}")) && said.contains("is a server running there"),
        "{said}"
    );

    let web = says(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    let said = at(&web.to_string());
    assert!(
        said.contains("answers with HTTP/1") && said.contains("give the client port of an etcd"),
        "{said}"
    );

    let noise = says(b"220 mail.example.com ESMTP, what can I do for you today?\r\n");
    let said = at(&noise.to_string());
    assert!(said.contains("give the client port of an etcd"), "{said}");

    let silent = says(b"");
    let said = at(&silent.to_string());
    assert!(said.contains("closed the connection") && said.contains("https://"), "{said}");

    let said = at(&format!("https://{web}"));
    assert!(said.contains("does not speak TLS") && said.contains("use http://"), "{said}");
}

#[test]
fn tls_is_not_mistaken() {
    let plain = Fake::start(Faults::default());
    let said = at(&format!("https://{}", plain.address));
    assert!(said.contains("the TLS handshake failed") && said.contains("use http://"), "{said}");
    let secure = Fake::start(Faults { tls: true, ..Faults::default() });
    let said = at(&format!("http://{}", secure.address));
    assert!(said.contains("https://"), "{said}");
    let said = at(&format!("https://{}", secure.address));
    assert!(said.contains("--cacert") && said.contains("--insecure-skip-tls-verify"), "{said}");
}

#[test]
fn passwords_are_asked_for() {
    let fake = Fake::start(Faults { wants_token: true, ..Faults::default() });
    let endpoint = fake.address.to_string();
    let said = at(&endpoint);
    assert!(said.contains("user name is empty") && said.contains("give --user NAME:PASSWORD"), "{said}");
    let said = refused(&["put", "--endpoints", &endpoint, "--user", "root:wrong"]);
    assert!(said.contains("--user root") && said.contains("check the name and the password"), "{said}");
    assert!(!said.contains("wrong"), "a password is not repeated: {said}");
    let open = Fake::start(Faults::default());
    let said = refused(&["put", "--endpoints", &open.address.to_string(), "--user", "root:x"]);
    assert!(said.contains("authentication is not enabled") && said.contains("leave --user out"), "{said}");
    assert_eq!(fake.asked() + open.asked(), 0);
}

#[test]
fn endpoints_of_two_clusters_are_not_mixed() {
    let (one, other) = (Fake::start(Faults::default()), Fake::start(Faults::default()));
    let said = at(&format!("{},{}", one.address, other.address));
    assert!(said.contains("another cluster") && said.contains("give members of one"), "{said}");
    // Started alike, two clusters have one identity; they do not list the same members.
    let other = one.beside(Faults { other_members: true, ..Faults::default() });
    let said = at(&format!("{},{}", one.address, other.address));
    assert!(said.contains("has other members") && said.contains("give members of one"), "{said}");
    assert_eq!(one.asked() + other.asked(), 0);
}

/// A server that has no authentication at all is no stranger for that.
#[test]
fn a_server_without_authentication_is_told() {
    let fake = Fake::start(Faults { no_passwords: true, ..Faults::default() });
    let said = refused(&["put", "--endpoints", &fake.address.to_string(), "--user", "root:x"]);
    assert!(said.contains("Unimplemented") && said.contains("leave --user out"), "{said}");
}

#[test]
fn a_process_that_does_not_listen_there_is_refused() {
    let fake = Fake::start(Faults::default());
    let mut other = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let pid = other.id().to_string();
    let said = refused(&["put", "--endpoints", &fake.address.to_string(), "--pid", &pid]);
    drop(other.stdin.take());
    other.wait().unwrap();
    assert!(said.contains(&format!("--pid {pid}")) && said.contains("does not listen on port"), "{said}");
}

#[test]
fn contradictions_are_pointed_out() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("no/such/file");
    let missing = missing.to_str().unwrap();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&["put", "--connections", "9", "--clients", "3"], "give at least as many clients"),
        (
            &["put", "--threads", "3", "--connections", "2", "--clients", "4"],
            "a connection belongs to one thread",
        ),
        (&["put", "--key-size", "3", "--key-space", "100000"], "can't tell 100000 keys apart"),
        (&["put", "--keys", "kubernetes", "--key-size", "9"], "have a length of their own"),
        (&["txn-put", "--operations", "5", "--key-space", "4"], "raise --key-space"),
        (&["range", "b", "a"], "ends before it begins"),
        (&["range", ""], "needs --prefix"),
        (&["range", "b", "--fill"], "leave one out"),
        (&["put", "--endpoints", "http://127.0.0.1:1", "--cacert", "x"], "leave one of them out"),
        (&["put", "--endpoints", "https://127.0.0.1:1", "--cacert", missing], "cannot use --cacert"),
        (&["put", "--endpoints", "127.0.0.1:1", "--cacert", empty.to_str().unwrap()], "no certificate"),
        (
            &["put", "--endpoints", "127.0.0.1:1", "--insecure-skip-tls-verify", "--cert", missing],
            "go together",
        ),
        (&["put", "--endpoints", "127.0.0.1"], "is no endpoint; write HOST:PORT"),
        (&["put", "--endpoints", "no.such.host.invalid:1"], "cannot reach"),
        (&["put", "--user", "root"], "wants NAME:PASSWORD"),
        (&["put", "--pid", "2147483646"], "there is no such process"),
        (&["stm", "--keys-per-txn", "3", "--txn-keyspace", "2"], "raise --txn-keyspace"),
        (&["stm", "--key-space", "9"], "give --txn-keyspace"),
        (&["stm", "--verify", "--isolation", "read-committed"], "loses updates by design"),
        (&["snapshot", "--rate", "9"], "give --puts"),
        (&["snapshot", "--puts", "9", "--total", "9"], "give --duration"),
        (&["snapshot", "--puts", "9", "--duration", "2s"], "give a longer --duration"),
        (&["snapshot", "--threads", "2", "--connections", "2"], "leave it out"),
        (&["put", "--json", missing], "give a file that can be written"),
    ];
    for (arguments, words) in cases {
        let said = refused(arguments);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    assert!(!Path::new(missing).exists());
    // What the command line itself finds wrong.
    for arguments in [
        &[][..],
        &["putt"],
        &["compare"],
        &["put", "--total", "5", "--duration", "5s"],
        &["put", "--fixed"],
        &["put", "--rate", "0"],
        &["put", "--duration", "5"],
        &["range", "--prefix"],
        &["range", "a", "b", "--prefix"],
        &["range", "--count-only", "--keys-only"],
        &["mixed", "--reads", "101"],
        &["txn-put", "--operations", "129"],
        &["put", "--value-size", "9-3"],
        &["lease", "--ttl", "1"],
        &["stm", "--isolation", "none"],
        &["stm", "--keys-per-txn", "41"],
        &["snapshot", "--streams", "0"],
    ] {
        let said = refused(arguments);
        let known = arguments.first().filter(|name| **name != "putt");
        let command = known.map_or("graven-bench".to_owned(), |name| format!("graven-bench {name}"));
        assert!(said.ends_with(&format!("see {command} --help\n")), "{arguments:?}: {said}");
    }
}
