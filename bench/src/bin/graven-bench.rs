//! `graven-bench`: measurements of the storage and, later, of servers.

fn main() -> std::process::ExitCode {
    bench::run()
}
