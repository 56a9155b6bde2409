//! The command-line client.

fn main() -> std::process::ExitCode {
    tools::ctl(std::env::args_os())
}
