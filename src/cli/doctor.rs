//! `rungs doctor`: checks the installed software and the tiers.

use std::io::Write;

use serde_json::json;

use rungs::doctor::{CheckStatus, Finding};

use super::exit::{self, Failure};
use super::terminal;

#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &DoctorArgs) -> Result<u8, Failure> {
    let findings = rungs::doctor::run_checks();
    let mut out = terminal::stdout();
    for finding in &findings {
        show(&mut out, finding, args.json).map_err(Failure::stdout)?;
    }
    let broken = findings.iter().any(|finding| finding.status == CheckStatus::Broken);
    Ok(if broken { exit::FAILED } else { exit::OK })
}

fn show(out: &mut impl Write, finding: &Finding, as_json: bool) -> std::io::Result<()> {
    if as_json {
        let row = json!({
            "subject": finding.subject,
            "state": finding.status.name(),
            "detail": finding.detail,
            "fix": finding.fix,
        });
        return terminal::write_json(out, &row);
    }
    let detail = rungs::redact::escape_terminal(&finding.detail);
    writeln!(out, "{:<7} {:<12} {detail}", finding.status.name(), finding.subject)?;
    if let Some(fix) = &finding.fix {
        writeln!(out, "{:20} fix: {}", "", rungs::redact::escape_terminal(fix))?;
    }
    Ok(())
}
