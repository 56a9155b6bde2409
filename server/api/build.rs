//! Compiles the `.proto` files without protoc.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Every file; those that only others import are found through them, but a list in one place is easier to trust.
const FILES: &[&str] = &[
    "auth",
    "authpb",
    "cluster",
    "graven",
    "header",
    "health",
    "kv",
    "lease",
    "leasepb",
    "maintenance",
    "membershippb",
    "mvccpb",
    "raft_internal",
    "v3electionpb",
    "v3lockpb",
    "watch",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let root = Path::new("proto");
    let files: Vec<_> = FILES.iter().map(|name| root.join(format!("{name}.proto"))).collect();
    let mut set = protox::compile(files, [root])?;

    // The names on the wire are etcd's. The generator would turn `peerURLs` into `peer_ur_ls`.
    for message in set.file.iter_mut().flat_map(|file| &mut file.message_type) {
        for field in &mut message.field {
            if let Some(stem) = field.name.as_deref().and_then(|name| name.strip_suffix("URLs")) {
                field.name = Some(format!("{stem}_urls"));
            }
        }
    }

    let mut methods = String::from("&[\n");
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                let (client, server) = (method.client_streaming(), method.server_streaming());
                writeln!(
                    methods,
                    "Rpc {{ path: {path:?}, client_streaming: {client}, server_streaming: {server} }},"
                )?;
            }
        }
    }
    methods.push(']');
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    std::fs::write(out.join("methods.rs"), methods)?;

    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    if std::env::var_os("CARGO_FEATURE_CLIENT").is_some() {
        config.service_generator(tonic_prost_build::configure().build_server(false).service_generator());
    }
    config.compile_fds(set)?;
    Ok(())
}
