//! `graven-bench`: measurements of the storage and of servers.

fn main() -> std::process::ExitCode {
    measure::undo_on_panic();
    bench::run()
}
