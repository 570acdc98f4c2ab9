//! `rungs diagnose`: what a site lets through, one change at a time.

use std::io::{self, Write};

use rungs::diagnose::{Diagnoser, DiagnosisReport, MAX_REQUESTS, Probe, ProbeReport, ProbeResult};
use rungs::{Fetcher, redact};

use super::args::{ConnectArgs, VerdictArgs};
use super::config::{self, HeaderLine};
use super::exit::{self, Failure};
use super::output::human::display_url;
use super::runtime::{self, wait_for_interrupt};
use super::value_enums::{OutputFormat, TierArg};

/// Ask a site for one page in several ways, each but one thing different from the one before, and say
/// which passed and what probably gives away the rest.
///
/// One request at a time, some seconds apart, and no more than are told by --dry-run. Every way is a
/// visitor of its own. A Retry-After is waited out up to 30 s; a longer one ends it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 some way passed, 7 none did, 2 wrong usage, 3 wrong settings, 130 interrupted."
)]
pub(crate) struct DiagnoseArgs {
    /// What to ask for.
    #[arg(value_name = "URL")]
    url: String,

    /// Say what would be asked, and send nothing.
    #[arg(long)]
    dry_run: bool,

    /// The time between two ways, in seconds. Default: 2.
    #[arg(long, value_name = "SECONDS")]
    pause: Option<String>,

    /// Use no higher tier than this.
    #[arg(long, value_name = "TIER", value_enum)]
    max_tier: Option<TierArg>,

    /// Look like this browser: the name of a profile, or a file.
    #[arg(long = "as", value_name = "BROWSER_PROFILE")]
    profile: Option<String>,

    /// With a proxy, ask once without it too: from this machine's own address.
    #[arg(long)]
    direct: bool,

    /// A header for every request, `Name: value`.
    #[arg(short = 'H', long = "header", value_name = "LINE")]
    headers: Vec<String>,

    /// Do not write down what passed in the host memory.
    #[arg(long)]
    no_memory: bool,

    #[command(flatten)]
    connect: ConnectArgs,

    #[command(flatten)]
    verdict: VerdictArgs,

    /// What to print.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

pub(crate) fn run(args: &DiagnoseArgs) -> Result<u8, Failure> {
    rungs::parse_url(&args.url)?;
    let diagnose = build_diagnose(args)?;
    let mut out = io::stdout().lock();
    if args.dry_run {
        write_plan(&mut out, &args.url, &diagnose.plan(), args.format).map_err(Failure::stdout)?;
        return Ok(exit::OK);
    }
    let runtime = runtime::start()?;
    let report = runtime.block_on(async {
        tokio::select! {
            report = diagnose.run() => Some(report),
            () = wait_for_interrupt() => None,
        }
    });
    drop(runtime);
    let Some(report) = report else { return Ok(exit::INTERRUPTED) };
    let report = report?;
    write_report(&mut out, &args.url, &report, args.format).map_err(Failure::stdout)?;
    Ok(if report.works.is_some() { exit::OK } else { exit::BLOCKED })
}

fn build_diagnose(args: &DiagnoseArgs) -> Result<Diagnoser, Failure> {
    let mut builder =
        config::apply_connect(Fetcher::builder(), &args.connect)?.rules(config::rules(&args.verdict)?);
    if let Some(name) = &args.profile {
        builder = builder.browser_profile(config::find_profile(name)?);
    }
    if let Some(path) = config::memory_path().filter(|_| !args.no_memory) {
        builder = builder.memory(path);
    }
    let mut diagnose =
        Diagnoser::new(builder, &args.url).direct(args.direct).expect(config::expectation(&args.verdict)?);
    for line in &args.headers {
        let HeaderLine::Add(name, value) = config::parse_header(line)? else {
            return Err(Failure::Usage("-H/--header: no header can be taken away here".to_owned()));
        };
        diagnose = diagnose.header(name, value);
    }
    if let Some(text) = &args.pause {
        diagnose = diagnose.pause(config::parse_seconds("--pause", text)?);
    }
    if let Some(tier) = args.max_tier {
        diagnose = diagnose.max_tier(tier.into());
    }
    Ok(diagnose)
}

fn write_plan(out: &mut impl Write, url: &str, ways: &[Probe], format: OutputFormat) -> io::Result<()> {
    let requests = ways.len() * MAX_REQUESTS / Probe::ALL.len();
    if format == OutputFormat::Json {
        let ways: Vec<_> = ways
            .iter()
            .map(|way| serde_json::json!({"way": way, "tier": way.tier(), "when": way.condition()}))
            .collect();
        let url = redact::url_text(url);
        let plan = serde_json::json!({"url": url, "max_requests": requests, "ways": ways});
        return writeln!(out, "{plan:#}");
    }
    writeln!(
        out,
        "{}: at most {requests} requests, beside what a page in the browser loads",
        display_url(url)
    )?;
    let width = label_width();
    for way in ways {
        writeln!(out, "  {way:<width$}  {}", way.condition())?;
    }
    Ok(())
}

fn write_report(
    out: &mut impl Write,
    url: &str,
    report: &DiagnosisReport,
    format: OutputFormat,
) -> io::Result<()> {
    if format == OutputFormat::Json {
        return writeln!(out, "{}", serde_json::to_string_pretty(report)?);
    }
    writeln!(out, "{}", display_url(url))?;
    for step in &report.steps {
        write_step(out, step)?;
    }
    match report.works {
        Some(way) => writeln!(out, "works: {way}")?,
        None => writeln!(out, "works: nothing that was tried")?,
    }
    let Some(diagnosis) = &report.diagnosis else { return Ok(()) };
    writeln!(out, "why: {}", redact::escape_terminal(&diagnosis.to_string()))?;
    for change in &diagnosis.suggestions {
        writeln!(out, "hint: {}", redact::escape_terminal(change))?;
    }
    Ok(())
}

fn write_step(out: &mut impl Write, step: &ProbeReport) -> io::Result<()> {
    let width = label_width();
    let reason = || redact::escape_terminal(step.reason.as_deref().unwrap_or_default());
    let last = step.attempts.last();
    let status = last.and_then(|attempt| attempt.status).map_or_else(|| "---".to_owned(), |s| s.to_string());
    let verdict = last.and_then(|attempt| attempt.verdict.as_ref());
    let told = match (step.found, verdict) {
        (ProbeResult::Skipped, _) => return writeln!(out, "  {:<width$}  not tried: {}", step.way, reason()),
        (_, Some(verdict)) => redact::escape_terminal(&verdict.to_string()),
        _ => reason(),
    };
    let mark = if step.found == ProbeResult::Passed { "passed " } else { "refused" };
    let mark = if step.found == ProbeResult::Failed { "failed " } else { mark };
    let elapsed: u128 = step.attempts.iter().map(|attempt| attempt.elapsed.as_millis()).sum();
    writeln!(out, "  {:<width$}  {mark}  {status}  {told}  {elapsed} ms", step.way)
}

/// The length of the longest way's words.
fn label_width() -> usize {
    Probe::ALL.iter().map(|way| way.to_string().len()).max().unwrap_or(0)
}
