//! What `--version` prints: etcd's four lines, which scripts read, and our own.

use crate::maintenance::VERSION;

/// The text of `--version`.
pub fn version_text() -> String {
    let os = std::env::consts::OS;
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!(
        "etcd Version: {VERSION}\nGit SHA: Not provided\nGo Version: none\nGo OS/Arch: {os}/{arch}\nGraven Version: {}\n",
        env!("CARGO_PKG_VERSION")
    )
}
