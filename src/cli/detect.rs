//! `rungs detect`: what a saved answer is, and why.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rungs::detect::{ResponseView, RuleInfo, Rules, recorded};
use rungs::{Verdict, redact};

use super::args::VerdictArgs;
use super::config;
use super::exit::{self, Failure};
use super::value_enums::{OutputFormat, TierArg};

#[derive(Debug, clap::Args)]
pub(crate) struct DetectArgs {
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
    tier: Option<TierArg>,

    /// It came through a proxy, whose own page it may be.
    #[arg(long)]
    via_proxy: bool,

    /// List the rules instead.
    #[arg(long)]
    rules: bool,

    #[command(flatten)]
    verdict: VerdictArgs,

    /// What to print; with --rules, JSON is one object a line.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

pub(crate) fn run(args: &DetectArgs) -> Result<u8, Failure> {
    let rules = config::rules(&args.verdict)?;
    let Some(file) = args.file.as_deref().filter(|_| !args.rules) else {
        return list_rules(&rules, args.format);
    };
    let expect = config::expectation(&args.verdict)?;
    let bytes = read_file(file)?;
    let answer = recorded::parse(&bytes)
        .map_err(|error| Failure::Usage(format!("{}: {}", file.display(), error.chain())))?;
    let url = rungs::parse_url(&args.url)?;
    let requested = args.requested.as_deref().map_or_else(|| Ok(url.clone()), rungs::parse_url)?;
    let seen = ResponseView {
        tier: args.tier.map(Into::into),
        requested: &requested,
        via_proxy: args.via_proxy,
        ..answer.view(&url)
    };
    print_verdict(&rules.classify_with_expectation(&seen, &expect), args.format)
}

/// Every rule, one a line.
fn list_rules(rules: &Rules, format: OutputFormat) -> Result<u8, Failure> {
    let mut out = std::io::stdout().lock();
    for rule in rules.list() {
        writeln!(out, "{}", format_rule(rule, format)?).map_err(Failure::stdout)?;
    }
    Ok(exit::OK)
}

fn format_rule(rule: &RuleInfo, format: OutputFormat) -> Result<String, Failure> {
    if format == OutputFormat::Json {
        return to_json(rule);
    }
    let from = redact::escape_terminal(&rule.source);
    Ok(format!("{:<34} {:<12} {:.2}  {from} ({})", rule.id, rule.kind, rule.confidence, rule.seen))
}

fn print_verdict(verdict: &Verdict, format: OutputFormat) -> Result<u8, Failure> {
    let mut out = std::io::stdout().lock();
    if format == OutputFormat::Json {
        writeln!(out, "{}", to_json(verdict)?).map_err(Failure::stdout)?;
        return Ok(exit::OK);
    }
    writeln!(out, "{verdict} (confidence {:.2})", verdict.confidence).map_err(Failure::stdout)?;
    for found in &verdict.evidence {
        let (place, text) = (redact::escape_terminal(&found.place), redact::escape_terminal(&found.text));
        writeln!(out, "  {} in {place}: {text}", found.rule).map_err(Failure::stdout)?;
    }
    Ok(exit::OK)
}

fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|cause| Failure::stdout(cause.into()))
}

/// The file, or stdin for `-`, up to a bound.
fn read_file(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(MAX_INPUT_BYTES).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAX_INPUT_BYTES).read_to_end(&mut bytes))
    };
    read.map_err(|cause| Failure::Io(format!("could not read {}", file.display()), cause))?;
    Ok(bytes)
}

/// Far beyond what a verdict looks at.
const MAX_INPUT_BYTES: u64 = 64 * 1024 * 1024;
