//! `rungs detect`: classifies a saved response.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rungs::detect::{ResponseView, RuleInfo, Rules, StructureExplanation, recorded};
use rungs::{Verdict, redact};

use super::args::VerdictArgs;
use super::config;
use super::exit::{self, Failure};
use super::terminal;
use super::value_enums::{OutputFormat, TierArg};

#[derive(Debug, clap::Args)]
pub(crate) struct DetectArgs {
    /// Saved response, with status line and headers; - for stdin
    #[arg(value_name = "FILE", required_unless_present = "rules")]
    file: Option<PathBuf>,

    /// URL of the response
    #[arg(long, default_value = "https://site.invalid/")]
    url: String,

    /// Requested URL, before redirects. Default: --url
    #[arg(long, value_name = "URL")]
    requested: Option<String>,

    /// Tier that fetched it
    #[arg(long, value_enum)]
    tier: Option<TierArg>,

    /// The response came through a proxy
    ///
    /// The response may then be the proxy's own page.
    #[arg(long)]
    via_proxy: bool,

    /// Show what the structural detector sees
    ///
    /// Features of the page and the score of each kind, whatever the rules say.
    #[arg(long, conflicts_with = "rules")]
    explain: bool,

    /// List the block rules instead
    #[arg(long)]
    rules: bool,

    /// Output format
    ///
    /// With --rules, json is one object per line.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,

    #[command(flatten)]
    verdict: VerdictArgs,
}

pub(crate) fn run(args: &DetectArgs) -> Result<u8, Failure> {
    let rules = config::rules(&args.verdict)?;
    let Some(file) = args.file.as_deref().filter(|_| !args.rules) else {
        return list_rules(&rules, args.format);
    };
    let expect = config::expectation(&args.verdict)?;
    let bytes = read_file(file)?;
    let response = recorded::parse(&bytes)
        .map_err(|error| Failure::Usage(format!("{}: {}", file.display(), error.chain())))?;
    let url = rungs::parse_url(&args.url)?;
    let requested = args.requested.as_deref().map_or_else(|| Ok(url.clone()), rungs::parse_url)?;
    let view = ResponseView {
        tier: args.tier.map(Into::into),
        requested: &requested,
        via_proxy: args.via_proxy,
        ..response.view(&url)
    };
    let verdict = rules.classify_with_expectation(&view, &expect);
    if args.explain {
        return print_explanation(&verdict, &rules.explain_structure(&view), args.format);
    }
    print_verdict(&verdict, args.format)
}

/// Prints the verdict with what the structural detector sees.
fn print_explanation(
    verdict: &Verdict,
    structure: &StructureExplanation,
    format: OutputFormat,
) -> Result<u8, Failure> {
    if format == OutputFormat::Json {
        let both = serde_json::json!({ "verdict": verdict, "structure": structure });
        writeln!(terminal::stdout(), "{}", to_json(&both)?).map_err(Failure::stdout)?;
        return Ok(exit::OK);
    }
    print_verdict(verdict, format)?;
    let mut out = terminal::stdout();
    if structure.features.is_empty() {
        writeln!(out, "structure: not judged: it has content, or is neither a page nor small JSON")
            .map_err(Failure::stdout)?;
        return Ok(exit::OK);
    }
    writeln!(out, "structure: {}", structure.features.join(", ")).map_err(Failure::stdout)?;
    for score in structure.scores.iter().filter(|score| score.score > 0.0) {
        let reasons: Vec<String> =
            score.reasons.iter().map(|(features, weight)| format!("{features} {weight:+.2}")).collect();
        writeln!(out, "  {:<12} {:.2}  {}", score.kind, score.score, reasons.join(", "))
            .map_err(Failure::stdout)?;
    }
    Ok(exit::OK)
}

/// Prints every rule, one per line.
fn list_rules(rules: &Rules, format: OutputFormat) -> Result<u8, Failure> {
    let mut out = terminal::stdout();
    for rule in rules.list() {
        writeln!(out, "{}", format_rule(rule, format)?).map_err(Failure::stdout)?;
    }
    Ok(exit::OK)
}

fn format_rule(rule: &RuleInfo, format: OutputFormat) -> Result<String, Failure> {
    if format == OutputFormat::Json {
        return to_json(rule);
    }
    let source = redact::escape_terminal(&rule.source);
    Ok(format!("{:<34} {:<12} {:.2}  {source} ({})", rule.id, rule.kind, rule.confidence, rule.seen))
}

fn print_verdict(verdict: &Verdict, format: OutputFormat) -> Result<u8, Failure> {
    let mut out = terminal::stdout();
    if format == OutputFormat::Json {
        writeln!(out, "{}", to_json(verdict)?).map_err(Failure::stdout)?;
        return Ok(exit::OK);
    }
    writeln!(out, "{verdict} (confidence {:.2})", verdict.confidence).map_err(Failure::stdout)?;
    for item in &verdict.evidence {
        let (part, text) = (redact::escape_terminal(&item.place), redact::escape_terminal(&item.text));
        writeln!(out, "  {} in {part}: {text}", item.rule).map_err(Failure::stdout)?;
    }
    Ok(exit::OK)
}

fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(value).map_err(|cause| Failure::stdout(cause.into()))?;
    Ok(redact::escape_json(&text).into_owned())
}

/// Reads a file, or stdin for `-`, up to [`MAX_INPUT_BYTES`].
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

/// Input beyond this size is ignored. Classification reads far less.
const MAX_INPUT_BYTES: u64 = 64 * 1024 * 1024;
