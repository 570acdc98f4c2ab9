//! `rungs detect`: what a saved answer is, and why.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rungs::detect::{RuleInfo, Rules, Seen, saved};
use rungs::{Verdict, redact};

use super::args::Judging;
use super::exit::{self, Failure};
use super::names::{TierName, Told};
use super::settings;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// An answer saved with its status line and headers; - for stdin.
    #[arg(value_name = "FILE", required_unless_present = "rules")]
    file: Option<PathBuf>,

    /// The URL that answered.
    #[arg(long, default_value = "https://site.invalid/")]
    url: String,

    /// The URL that was asked for, where redirects led to another.
    #[arg(long, value_name = "URL")]
    requested: Option<String>,

    /// The tier that got it.
    #[arg(long, value_enum)]
    tier: Option<TierName>,

    /// It came through a proxy, whose own page it may be.
    #[arg(long)]
    via_proxy: bool,

    /// List the rules instead.
    #[arg(long)]
    rules: bool,

    #[command(flatten)]
    judging: Judging,

    /// What to print; with --rules, JSON is one object a line.
    #[arg(long, value_enum, default_value_t = Told::Text)]
    format: Told,
}

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    let rules = settings::rules(&args.judging)?;
    let Some(file) = args.file.as_deref().filter(|_| !args.rules) else {
        return list(&rules, args.format);
    };
    let expect = settings::expect(&args.judging)?;
    let bytes = read(file)?;
    let answer = saved::parse(&bytes)
        .map_err(|error| Failure::Usage(format!("{}: {}", file.display(), error.chain())))?;
    let url = rungs::parse_url(&args.url)?;
    let requested = args.requested.as_deref().map_or_else(|| Ok(url.clone()), rungs::parse_url)?;
    let seen = Seen {
        tier: args.tier.map(Into::into),
        requested: &requested,
        via_proxy: args.via_proxy,
        ..answer.seen(&url)
    };
    print(&rules.judge_expecting(&seen, &expect), args.format)
}

/// Every rule, one a line.
fn list(rules: &Rules, format: Told) -> Result<u8, Failure> {
    let mut out = std::io::stdout().lock();
    for rule in rules.list() {
        writeln!(out, "{}", listed(rule, format)?).map_err(Failure::stdout)?;
    }
    Ok(exit::OK)
}

fn listed(rule: &RuleInfo, format: Told) -> Result<String, Failure> {
    if format == Told::Json {
        return json(rule);
    }
    let from = redact::terminal(&rule.source);
    Ok(format!("{:<34} {:<12} {:.2}  {from} ({})", rule.id, rule.kind, rule.confidence, rule.seen))
}

fn print(verdict: &Verdict, format: Told) -> Result<u8, Failure> {
    let mut out = std::io::stdout().lock();
    if format == Told::Json {
        writeln!(out, "{}", json(verdict)?).map_err(Failure::stdout)?;
        return Ok(exit::OK);
    }
    writeln!(out, "{verdict} (confidence {:.2})", verdict.confidence).map_err(Failure::stdout)?;
    for found in &verdict.evidence {
        let (place, text) = (redact::terminal(&found.place), redact::terminal(&found.text));
        writeln!(out, "  {} in {place}: {text}", found.rule).map_err(Failure::stdout)?;
    }
    Ok(exit::OK)
}

fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|cause| Failure::stdout(cause.into()))
}

/// The file, or stdin for `-`, up to a bound.
fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(MAX_SAVED).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAX_SAVED).read_to_end(&mut bytes))
    };
    read.map_err(|cause| Failure::Io(format!("could not read {}", file.display()), cause))?;
    Ok(bytes)
}

/// Far beyond what a verdict looks at.
const MAX_SAVED: u64 = 64 * 1024 * 1024;
