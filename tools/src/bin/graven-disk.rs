//! The command-line program that measures what a disk is worth to a control plane.

fn main() -> std::process::ExitCode {
    measure::undo_on_panic();
    tools::disk(std::env::args_os())
}
