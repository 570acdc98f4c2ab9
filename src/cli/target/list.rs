//! `rungs target list`.

use std::io::Write;

use rungs::redact::escape_terminal;
use rungs::target::{Target, Targets};
use serde_json::json;

use crate::cli::exit::{self, Failure};
use crate::cli::terminal;

#[derive(Debug, clap::Args)]
pub(super) struct TargetListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &TargetListArgs) -> Result<u8, Failure> {
    let targets = Targets::from_user_config()?;
    let all: Vec<&Target> = targets.list().collect();
    let mut out = terminal::stdout();
    list(&mut out, &all, args.json).map_err(Failure::stdout)?;
    Ok(exit::OK)
}

fn list(out: &mut impl Write, targets: &[&Target], as_json: bool) -> std::io::Result<()> {
    if as_json {
        let rows: Vec<_> = targets
            .iter()
            .map(|target| {
                let matches = target.matches();
                let origin = target.origin().to_string();
                json!({"name": target.name(), "hosts": matches.hosts, "paths": matches.paths, "origin": origin})
            })
            .collect();
        return terminal::write_json(out, &rows);
    }
    let width = targets.iter().map(|target| target.name().len()).max().unwrap_or(0);
    for target in targets {
        let matches = target.matches();
        let hosts = escape_terminal(&matches.hosts.join(" "));
        let paths = escape_terminal(&matches.paths.join(" "));
        let space = if paths.is_empty() { "" } else { " " };
        let origin = escape_terminal(&target.origin().to_string());
        writeln!(out, "{:<width$}  {hosts}{space}{paths}  ({origin})", escape_terminal(target.name()))?;
    }
    Ok(())
}
