//! `rungs batch`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use rungs::batch::{Batch, Format, Input, Output, Report, Run, Summary};
use rungs::{Fetcher, redact};

use super::args;
use super::cookie_file;
use super::exit::{self, Failure};
use super::in_flight::{self, Asked};
use super::metrics::{Address, Metrics, Server};
use super::plan::Plan;
use super::progress::{Display, size};
use super::runtime::{self, interrupted};
use super::settings;
use super::whole;

/// Fetches what a list names; the exit code says whether all of it succeeded.
pub(crate) fn run(args: &args::Batch, quiet: bool) -> Result<u8, Failure> {
    let runtime = runtime::start()?;
    let outcome = runtime.block_on(async {
        let mut asked = Asked::listen()?;
        let concurrency = args.course.concurrency.unwrap_or(CONCURRENCY) as usize;
        let fetcher = fetcher(args, concurrency).await?;
        let session = settings::session(&args.common, &fetcher);
        let outcome = all(args, &session, concurrency, quiet, &mut asked).await;
        runtime::close(&fetcher).await;
        outcome
    });
    runtime.shutdown_background();
    outcome
}

#[cfg_attr(not(feature = "browser"), expect(unused_variables, reason = "only the browser has a queue"))]
async fn fetcher(args: &args::Batch, concurrency: usize) -> Result<Fetcher, Failure> {
    let builder = settings::fetcher(&args.common, &[]).await?;
    // Fetches that wait for the browser are many here, and none of them holds up another.
    #[cfg(feature = "browser")]
    let builder = builder.browser_queue(concurrency * 5 + 64).browser_patience(BROWSER_PATIENCE);
    Ok(builder.build()?)
}

async fn all(
    args: &args::Batch,
    session: &Fetcher,
    concurrency: usize,
    quiet: bool,
    asked: &mut Asked,
) -> Result<u8, Failure> {
    let jars = [session.identity().jar(), session.plain_identity().jar()];
    let plan = Plan::read(&args.common, &jars)?;
    let (mut output, file) = output(args);
    if let Some(folder) = &args.records.save_dir {
        output = output.bodies(folder);
    }
    let (extract, follow) = (settings::extract(&args.reading)?, settings::follow(&args.crawl)?);
    let input = input(args, session)?;
    let mut batch = Batch::new(session.clone())
        .concurrency(concurrency)
        .retry_failed(args.course.retry_failed)
        .fail_status(args.records.fail)
        .method(plan.method.clone())
        .extract(extract)
        .each_request(move |request| plan.add(request));
    if let Some(follow) = follow {
        if !args.common.request.data.is_empty() || args.common.request.json.is_some() {
            let message = "--follow asks for links without a body: leave out -d and --json";
            return Err(Failure::Usage(message.to_owned()));
        }
        batch = batch.follow(follow);
    }
    if let Some(path) = checkpoint(args, file.as_deref()) {
        batch = batch.checkpoint(path);
    }
    let report = args.records.report.as_deref().map(report_in).transpose()?;
    if let Some(report) = &report {
        batch = batch.observer(report.clone().fail_status(args.records.fail));
    }
    let served = match args.course.metrics {
        Some(address) => {
            let metrics = Metrics::new(args.records.fail);
            batch = batch.observer(metrics.clone());
            Some((served(address, &metrics, quiet).await?, metrics))
        }
        None => None,
    };
    let run = batch.save(input, output)?;
    if let Some((_, metrics)) = &served {
        metrics.watch(run.handle());
    }
    let (summary, was_interrupted) = watched(run, args, quiet, session, asked).await;
    let summary = summary?;
    if let Some(path) = &file {
        note(path, &summary)?;
    }
    if let (Some(report), Some(path)) = (&report, &args.records.report) {
        report.write(path, &summary)?;
    }
    if let Some(path) = &args.common.request.cookie_jar {
        cookie_file::write(path, &jars)?;
    }
    if !quiet {
        let _ = write!(std::io::stderr(), "{}", told(&summary));
    }
    let tally = &summary.progress.tally;
    Ok(if summary.unwanted {
        exit::OK
    } else if was_interrupted && !summary.complete {
        exit::INTERRUPTED
    } else if tally.blocked + tally.failed > 0 {
        exit::BATCH
    } else {
        exit::OK
    })
}

/// Serves the metrics, and says where.
async fn served(address: Address, metrics: &Metrics, quiet: bool) -> Result<Server, Failure> {
    let server = Server::start(address, metrics.clone()).await?;
    if !quiet {
        let whom = if server.is_public() { ", to whoever reaches this machine" } else { "" };
        let _ = writeln!(std::io::stderr(), "metrics at {}{whom}", server.url());
    }
    Ok(server)
}

/// A report for this file, which is told now if it cannot be written: afterwards would be late.
fn report_in(path: &Path) -> Result<Report, Failure> {
    let wrong = |why: &str| Failure::Config(format!("--report {}: {why}", path.display()));
    if path.is_dir() {
        return Err(wrong("is a folder; name a file"));
    }
    whole::begin(path)
        .map(|_| Report::new())
        .map_err(|cause| wrong(&format!("nothing can be written there: {cause}")))
}

/// Shows how far it is, until it ends or is told to.
async fn watched(
    run: Run,
    args: &args::Batch,
    quiet: bool,
    fetcher: &Fetcher,
    asked: &mut Asked,
) -> (rungs::Result<Summary>, bool) {
    let handle = run.handle();
    let mut display = Display::new(args.course.progress, args.course.no_progress, quiet);
    let resumed = handle.progress().resumed;
    if resumed > 0 && !quiet {
        display.say(&format!("goes on: {resumed} are done already"));
    }
    let mut finishing = pin!(run.finish());
    let mut interruption = pin!(interrupted());
    let mut tick = tokio::time::interval(TICK);
    let mut was_interrupted = false;
    let ended = loop {
        tokio::select! {
            ended = &mut finishing => break ended,
            () = &mut interruption => {
                if !was_interrupted && !quiet {
                    display.say(&format!("ends what is under way, within {} s; again to stop at once", GRACE.as_secs()));
                }
                was_interrupted = true;
                handle.stop(GRACE);
                interruption.set(interrupted());
            }
            () = asked.next() => display.say(in_flight::told(&fetcher.in_flight()).trim_end()),
            _ = tick.tick() => display.show(&handle.progress()),
        }
    };
    display.end();
    (ended, was_interrupted)
}

fn input(args: &args::Batch, session: &Fetcher) -> Result<Input, Failure> {
    let listed = match args.file.as_deref() {
        None => None,
        Some(path) if path == Path::new("-") => Some(Input::stdin()),
        Some(path) => Some(Input::file(path)?),
    };
    let mapped = args.sitemap.as_deref().map(|url| Input::sitemap(session, url)).transpose()?;
    match (listed, mapped) {
        (Some(listed), Some(mapped)) => Ok(listed.and(mapped)),
        (Some(input), None) | (None, Some(input)) => Ok(input),
        (None, None) => Err(Failure::Usage("name a FILE, - for stdin, or a --sitemap".to_owned())),
    }
}

/// Where records go, and the file among them that others go beside.
fn output(args: &args::Batch) -> (Output, Option<PathBuf>) {
    let format = args.records.format.map(Format::from);
    match args.records.out.as_deref() {
        None => (Output::stdout(format.unwrap_or_default()), None),
        Some(path) if path == Path::new("-") => (Output::stdout(format.unwrap_or_default()), None),
        Some(path) => {
            let format = format.or_else(|| Format::of(path)).unwrap_or_default();
            let is_file = std::fs::metadata(path).map_or(true, |meta| meta.is_file());
            (Output::file(path, format), is_file.then(|| path.to_owned()))
        }
    }
}

fn checkpoint(args: &args::Batch, file: Option<&Path>) -> Option<PathBuf> {
    args.course.checkpoint.clone().or_else(|| file.map(|path| beside(path, ".ckpt")))
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Writes how it ended beside the records.
fn note(path: &Path, summary: &Summary) -> Result<(), Failure> {
    let path = beside(path, ".meta.json");
    let unwritten = |cause| Failure::Io(format!("could not write {}", path.display()), cause);
    let mut file = whole::begin(&path).map_err(unwritten)?;
    serde_json::to_writer_pretty(&mut file, summary).map_err(|cause| unwritten(cause.into()))?;
    file.write_all(b"\n").map_err(unwritten)?;
    file.persist(&path).map_err(|cause| unwritten(cause.error))?;
    Ok(())
}

/// How it ended, for people.
fn told(summary: &Summary) -> String {
    let progress = &summary.progress;
    let tally = &progress.tally;
    let tiers = &tally.tiers;
    let seconds = summary.elapsed.as_secs_f64();
    let mut text = format!(
        "{} done in {seconds:.1} s: {} succeeded (plain {}, impersonate {}, browser {}), {} blocked, {} failed\n",
        tally.attempted,
        tally.succeeded,
        tiers.plain,
        tiers.impersonate,
        tiers.browser,
        tally.blocked,
        tally.failed
    );
    for (count, what) in [
        (progress.resumed, "were done by earlier runs"),
        (progress.duplicates, "were there before and not fetched again"),
        (progress.retries, "attempts were repeats or climbs"),
    ] {
        if count > 0 {
            let _ = writeln!(text, "  {count} {what}");
        }
    }
    let _ = writeln!(text, "  {} received", size(progress.bytes));
    text.push_str(&bounded(summary));
    if !summary.complete && !summary.unwanted {
        text.push_str("not all of it is done; the same command goes on from here\n");
    } else if tally.may_pass > 0 {
        let _ = writeln!(
            text,
            "hint: {} failed in a way that may pass; --retry-failed tries them again",
            tally.may_pass
        );
    }
    text
}

/// Where a crawl stopped by itself.
fn bounded(summary: &Summary) -> String {
    let mut text = String::new();
    if summary.beyond > 0 {
        let _ = writeln!(text, "  {} links were left out: --max-pages is reached", summary.beyond);
    }
    for trap in summary.traps.iter().take(TRAPS) {
        let pattern = redact::terminal(&trap.pattern);
        let (followed, left, why) = (trap.followed, trap.left, trap.why);
        let _ = writeln!(text, "  bounded ({why}): {pattern}: {followed} followed, {left} links left out");
    }
    let more = summary.traps.len().saturating_sub(TRAPS);
    if more > 0 {
        let _ = writeln!(text, "  and {more} patterns more");
    }
    if summary.traps.iter().any(|trap| trap.followed > 0) {
        text.push_str("hint: --trap-limit N follows more of a pattern\n");
    }
    text
}

const CONCURRENCY: u32 = 64;
/// Patterns told one by one.
const TRAPS: usize = 8;
/// How long what is under way may take once it is told to end.
const GRACE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(200);
#[cfg(feature = "browser")]
const BROWSER_PATIENCE: Duration = Duration::from_secs(600);
