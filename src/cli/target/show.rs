//! `rungs target show`.

use std::io::Write;
use std::path::PathBuf;

use rungs::redact::escape_terminal;
use rungs::target::{ResolvedTarget, Targets};
use serde_json::json;

use crate::cli::exit::{self, Failure};
use crate::cli::terminal;

#[derive(Debug, clap::Args)]
#[command(after_help = "Cookies, credentials and the proxy's password are shown as ***.")]
pub(super) struct TargetShowArgs {
    /// URL whose settings to print
    url: String,

    /// Apply this target over the others
    ///
    /// Has the same effect as `rungs fetch --target`.
    #[arg(long, value_name = "FILE")]
    target: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &TargetShowArgs) -> Result<u8, Failure> {
    let url = rungs::parse_url(&args.url)?;
    let mut targets = Targets::from_user_config()?;
    if let Some(path) = &args.target {
        targets = targets.with_file(path)?;
    }
    let resolved = targets.resolve(&url)?;
    let mut out = terminal::stdout();
    show(&mut out, &resolved, args.json).map_err(Failure::stdout)?;
    Ok(exit::OK)
}

fn show(out: &mut impl Write, resolved: &ResolvedTarget, as_json: bool) -> std::io::Result<()> {
    let values = resolved.list_settings();
    if as_json {
        let rows: Vec<_> = values
            .iter()
            .map(|shown| json!({"key": shown.key, "value": shown.value, "from": shown.origin.to_string()}))
            .collect();
        let object = json!({"target": resolved.target(), "values": rows});
        return terminal::write_json(out, &object);
    }
    let width = |length: &dyn Fn(usize) -> usize| (0..values.len()).map(length).max().unwrap_or(0).min(48);
    let (key_width, value_width) = (width(&|at| values[at].key.len()), width(&|at| values[at].value.len()));
    writeln!(out, "target: {}", escape_terminal(resolved.target().unwrap_or("none")))?;
    for shown in &values {
        let (key, value) = (escape_terminal(&shown.key), escape_terminal(&shown.value));
        writeln!(
            out,
            "{key:<key_width$}  {value:<value_width$}  {}",
            escape_terminal(&shown.origin.to_string())
        )?;
    }
    Ok(())
}
