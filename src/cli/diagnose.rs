//! `rungs diagnose`: what a site lets through, one change at a time.

use std::io::{self, Write};

use rungs::diagnose::{Diagnose, Found, MAX_REQUESTS, Report, Step, Way};
use rungs::{Fetcher, redact};

use super::args::{Judging, Reach};
use super::exit::{self, Failure};
use super::names::{TierName, Told};
use super::output::story::shown;
use super::runtime::{self, interrupted};
use super::settings::{self, HeaderLine};

/// Ask a site for one page in several ways, each but one thing different from the one before, and say
/// which passed and what probably gives away the rest.
///
/// One request at a time, some seconds apart, and no more than are told by --dry-run. Every way is a
/// visitor of its own. A Retry-After is waited out up to 30 s; a longer one ends it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 some way passed, 7 none did, 2 wrong usage, 3 wrong settings, 130 interrupted."
)]
pub(crate) struct Args {
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
    max_tier: Option<TierName>,

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
    reach: Reach,

    #[command(flatten)]
    judging: Judging,

    /// What to print.
    #[arg(long, value_enum, default_value_t = Told::Text)]
    format: Told,
}

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    rungs::parse_url(&args.url)?;
    let diagnose = read(args)?;
    let mut out = io::stdout().lock();
    if args.dry_run {
        plan(&mut out, &args.url, &diagnose.plan(), args.format).map_err(Failure::stdout)?;
        return Ok(exit::OK);
    }
    let runtime = runtime::start()?;
    let report = runtime.block_on(async {
        tokio::select! {
            report = diagnose.run() => Some(report),
            () = interrupted() => None,
        }
    });
    drop(runtime);
    let Some(report) = report else { return Ok(exit::INTERRUPTED) };
    let report = report?;
    write(&mut out, &args.url, &report, args.format).map_err(Failure::stdout)?;
    Ok(if report.works.is_some() { exit::OK } else { exit::BLOCKED })
}

fn read(args: &Args) -> Result<Diagnose, Failure> {
    let mut builder =
        settings::reach(Fetcher::builder(), &args.reach)?.rules(settings::rules(&args.judging)?);
    if let Some(name) = &args.profile {
        builder = builder.browser_profile(settings::profile(name)?);
    }
    if let Some(path) = settings::memory().filter(|_| !args.no_memory) {
        builder = builder.memory(path);
    }
    let mut diagnose =
        Diagnose::new(builder, &args.url).direct(args.direct).expect(settings::expect(&args.judging)?);
    for line in &args.headers {
        let HeaderLine::Add(name, value) = settings::header(line)? else {
            return Err(Failure::Usage("-H/--header: no header can be taken away here".to_owned()));
        };
        diagnose = diagnose.header(name, value);
    }
    if let Some(text) = &args.pause {
        diagnose = diagnose.pause(settings::seconds("--pause", text)?);
    }
    if let Some(tier) = args.max_tier {
        diagnose = diagnose.max_tier(tier.into());
    }
    Ok(diagnose)
}

fn plan(out: &mut impl Write, url: &str, ways: &[Way], format: Told) -> io::Result<()> {
    let requests = ways.len() * MAX_REQUESTS / Way::ALL.len();
    if format == Told::Json {
        let ways: Vec<_> = ways
            .iter()
            .map(|way| serde_json::json!({"way": way, "tier": way.tier(), "when": way.when()}))
            .collect();
        let url = redact::url_text(url);
        let plan = serde_json::json!({"url": url, "max_requests": requests, "ways": ways});
        return writeln!(out, "{plan:#}");
    }
    writeln!(out, "{}: at most {requests} requests, beside what a page in the browser loads", shown(url))?;
    let width = width();
    for way in ways {
        writeln!(out, "  {way:<width$}  {}", way.when())?;
    }
    Ok(())
}

fn write(out: &mut impl Write, url: &str, report: &Report, format: Told) -> io::Result<()> {
    if format == Told::Json {
        return writeln!(out, "{}", serde_json::to_string_pretty(report)?);
    }
    writeln!(out, "{}", shown(url))?;
    for step in &report.steps {
        line(out, step)?;
    }
    match report.works {
        Some(way) => writeln!(out, "works: {way}")?,
        None => writeln!(out, "works: nothing that was tried")?,
    }
    let Some(diagnosis) = &report.diagnosis else { return Ok(()) };
    writeln!(out, "why: {}", redact::terminal(&diagnosis.to_string()))?;
    for change in &diagnosis.change {
        writeln!(out, "hint: {}", redact::terminal(change))?;
    }
    Ok(())
}

fn line(out: &mut impl Write, step: &Step) -> io::Result<()> {
    let width = width();
    let reason = || redact::terminal(step.reason.as_deref().unwrap_or_default());
    let last = step.attempts.last();
    let status = last.and_then(|attempt| attempt.status).map_or_else(|| "---".to_owned(), |s| s.to_string());
    let verdict = last.and_then(|attempt| attempt.verdict.as_ref());
    let told = match (step.found, verdict) {
        (Found::Skipped, _) => return writeln!(out, "  {:<width$}  not tried: {}", step.way, reason()),
        (_, Some(verdict)) => redact::terminal(&verdict.to_string()),
        _ => reason(),
    };
    let mark = if step.found == Found::Passed { "passed " } else { "refused" };
    let mark = if step.found == Found::Failed { "failed " } else { mark };
    let elapsed: u128 = step.attempts.iter().map(|attempt| attempt.elapsed.as_millis()).sum();
    writeln!(out, "  {:<width$}  {mark}  {status}  {told}  {elapsed} ms", step.way)
}

/// The length of the longest way's words.
fn width() -> usize {
    Way::ALL.iter().map(|way| way.to_string().len()).max().unwrap_or(0)
}
