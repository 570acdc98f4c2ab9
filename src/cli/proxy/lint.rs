//! `rungs proxy lint`.

use std::io::Write;
use std::path::PathBuf;

use rungs::Dialect;
use rungs::redact::escape_terminal;

use crate::cli::exit::{self, Failure};

#[derive(Debug, clap::Args)]
#[command(after_help = "Exits with 3 when a file is wrong.")]
pub(super) struct ProxyLintArgs {
    /// The files to check.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(args: &ProxyLintArgs) -> Result<u8, Failure> {
    let mut out = std::io::stdout().lock();
    let mut code = exit::OK;
    for path in &args.files {
        let said = match Dialect::from_file(path) {
            Ok(_) => format!("{}: good", path.display()),
            Err(error) => {
                code = exit::CONFIG;
                error.chain()
            }
        };
        // One fault a line.
        for line in said.lines() {
            writeln!(out, "{}", escape_terminal(line)).map_err(Failure::stdout)?;
        }
    }
    Ok(code)
}
