//! `rungs proxy lint`.

use std::io::Write;
use std::path::PathBuf;

use rungs::Dialect;
use rungs::redact::escape_terminal;

use crate::cli::exit::{self, Failure};
use crate::cli::terminal;

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 all files are valid, 3 a file is wrong.")]
pub(super) struct ProxyLintArgs {
    /// Dialect files to check
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(args: &ProxyLintArgs) -> Result<u8, Failure> {
    let mut out = terminal::stdout();
    let mut code = exit::OK;
    for path in &args.files {
        let report = match Dialect::from_file(path) {
            Ok(_) => format!("{}: ok", path.display()),
            Err(error) => {
                code = exit::CONFIG;
                error.chain()
            }
        };
        // One error per line.
        for line in report.lines() {
            writeln!(out, "{}", escape_terminal(line)).map_err(Failure::stdout)?;
        }
    }
    Ok(code)
}
