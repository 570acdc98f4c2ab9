//! `rungs diagnose`: finds out why a site blocks fetches.

use std::io::{self, Write};

use rungs::diagnose::{Diagnoser, DiagnosisReport, MAX_REQUESTS, Probe, ProbeReport, ProbeResult};
use rungs::{Fetcher, redact};

use super::args::{ConnectArgs, VerdictArgs};
use super::config::{self, HeaderLine};
use super::connect;
use super::exit::{self, Failure};
use super::output::human::display_url;
use super::runtime::{self, wait_for_interrupt};
use super::terminal;
use super::value_enums::{OutputFormat, TierArg};
use super::values;

/// The arguments of `rungs diagnose`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 some probe passed, 7 none did, 2 wrong usage, 3 wrong settings, 130 interrupted."
)]
pub(crate) struct DiagnoseArgs {
    /// URL to probe
    #[arg(value_name = "URL")]
    url: String,

    /// Print the probes and send nothing
    #[arg(long)]
    dry_run: bool,

    /// Pause between probes, in seconds. Default: 2
    #[arg(long, value_name = "SECONDS")]
    pause: Option<String>,

    /// Highest tier to use
    #[arg(long, value_name = "TIER", value_enum)]
    max_tier: Option<TierArg>,

    /// Browser profile, a name or a file
    #[arg(long = "as", value_name = "BROWSER_PROFILE")]
    profile: Option<String>,

    /// Probe once without the proxy too
    ///
    /// The probe uses the address of this machine. Without a proxy it has no effect.
    #[arg(long)]
    direct: bool,

    /// Header for every request, 'Name: value'
    #[arg(short = 'H', long = "header", value_name = "LINE")]
    headers: Vec<String>,

    /// Do not write the results to host memory
    #[arg(long)]
    no_memory: bool,

    /// Output format
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,

    #[command(flatten)]
    connect: ConnectArgs,

    #[command(flatten)]
    verdict: VerdictArgs,
}

pub(crate) fn run(args: &DiagnoseArgs) -> Result<u8, Failure> {
    rungs::parse_url(&args.url)?;
    let diagnoser = build_diagnose(args)?;
    let mut out = terminal::stdout();
    if args.dry_run {
        write_plan(&mut out, &args.url, &diagnoser.plan(), args.format).map_err(Failure::stdout)?;
        return Ok(exit::OK);
    }
    let runtime = runtime::start()?;
    let report = runtime.block_on(async {
        tokio::select! {
            report = diagnoser.run() => Some(report),
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
        connect::apply_connect(Fetcher::builder(), &args.connect)?.rules(config::rules(&args.verdict)?);
    if let Some(name) = &args.profile {
        builder = builder.browser_profile(config::find_profile(name)?);
    }
    if let Some(path) = config::memory_path().filter(|_| !args.no_memory) {
        builder = builder.memory(path);
    }
    let mut diagnoser =
        Diagnoser::new(builder, &args.url).direct(args.direct).expect(config::expectation(&args.verdict)?);
    for line in &args.headers {
        let HeaderLine::Add(name, value) = config::parse_header(line)? else {
            return Err(Failure::Usage(
                "-H/--header: diagnose cannot remove a header; write it as `Name: value`".to_owned(),
            ));
        };
        diagnoser = diagnoser.header(name, value);
    }
    if let Some(text) = &args.pause {
        diagnoser = diagnoser.pause(values::parse_seconds("--pause", text)?);
    }
    if let Some(tier) = args.max_tier {
        diagnoser = diagnoser.max_tier(tier.into());
    }
    Ok(diagnoser)
}

fn write_plan(out: &mut impl Write, url: &str, probes: &[Probe], format: OutputFormat) -> io::Result<()> {
    let requests = probes.len() * MAX_REQUESTS / Probe::ALL.len();
    if format == OutputFormat::Json {
        let probes: Vec<_> = probes
            .iter()
            .map(|probe| serde_json::json!({"way": probe, "tier": probe.tier(), "when": probe.condition()}))
            .collect();
        let url = redact::url_text(url);
        let plan = serde_json::json!({"url": url, "max_requests": requests, "ways": probes});
        return terminal::write_indented_json(out, &plan);
    }
    writeln!(
        out,
        "{}: at most {requests} requests, not counting the resources of a page in the browser",
        display_url(url)
    )?;
    let width = label_width();
    for probe in probes {
        writeln!(out, "  {probe:<width$}  {}", probe.condition())?;
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
        return terminal::write_indented_json(out, report);
    }
    writeln!(out, "{}", display_url(url))?;
    for step in &report.steps {
        write_step(out, step)?;
    }
    match report.works {
        Some(probe) => writeln!(out, "works: {probe}")?,
        None => writeln!(out, "works: none of the probes")?,
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
    let outcome = match (step.result, verdict) {
        (ProbeResult::Skipped, _) => {
            return writeln!(out, "  {:<width$}  not tried: {}", step.probe, reason());
        }
        (_, Some(verdict)) => redact::escape_terminal(&verdict.to_string()),
        _ => reason(),
    };
    let mark = if step.result == ProbeResult::Passed { "passed " } else { "refused" };
    let mark = if step.result == ProbeResult::Failed { "failed " } else { mark };
    let elapsed: u128 = step.attempts.iter().map(|attempt| attempt.elapsed.as_millis()).sum();
    writeln!(out, "  {:<width$}  {mark}  {status}  {outcome}  {elapsed} ms", step.probe)
}

/// Returns the length of the longest probe label.
fn label_width() -> usize {
    Probe::ALL.iter().map(|probe| probe.to_string().len()).max().unwrap_or(0)
}
