//! The command-line program for files.

fn main() -> std::process::ExitCode {
    tools::utl(std::env::args_os())
}
