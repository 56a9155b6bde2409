//! The command-line program that measures what a disk is worth to a control plane.

fn main() -> std::process::ExitCode {
    tools::disk(std::env::args_os())
}
