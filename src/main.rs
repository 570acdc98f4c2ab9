//! The command-line program. It sees only the library's public API.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
