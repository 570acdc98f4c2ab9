//! `rungs target check`.

use std::io::Write;
use std::path::PathBuf;

use rungs::redact::escape_terminal;
use rungs::target;

use crate::cli::exit::{self, Failure};
use crate::cli::terminal;

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 all files are valid, 3 a file is wrong.")]
pub(super) struct TargetCheckArgs {
    /// Target files to check
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(args: &TargetCheckArgs) -> Result<u8, Failure> {
    let mut out = terminal::stdout();
    let mut code = exit::OK;
    for path in &args.files {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|cause| Failure::Config(format!("could not read {shown}: {cause}")))?;
        let errors = target::lint(&text, &shown);
        if errors.is_empty() {
            writeln!(out, "{}: ok", escape_terminal(&shown)).map_err(Failure::stdout)?;
        } else {
            code = exit::CONFIG;
        }
        for error in errors {
            writeln!(out, "{}", escape_terminal(&error)).map_err(Failure::stdout)?;
        }
    }
    Ok(code)
}
