//! `rungs batch`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use rungs::batch::{Batch, Input, Output, RecordFormat, Report, Run, Summary};
use rungs::{Fetcher, redact};

use super::args;
use super::atomic_file;
use super::config;
use super::cookie_file;
use super::exit::{self, Failure};
use super::metrics::{Metrics, MetricsAddress, MetricsServer};
use super::progress::{ProgressDisplay, format_bytes};
use super::request_template::RequestTemplate;
use super::runtime::{self, wait_for_interrupt};
use super::signal::{self, DumpOnSignal};

/// Fetches what a list names; the exit code says whether all of it succeeded.
pub(crate) fn run(args: &args::BatchArgs, quiet: bool) -> Result<u8, Failure> {
    let runtime = runtime::start()?;
    let outcome = runtime.block_on(async {
        let mut asked = DumpOnSignal::listen()?;
        let concurrency = args.run.concurrency.unwrap_or(DEFAULT_CONCURRENCY) as usize;
        let fetcher = build_fetcher(args, concurrency).await?;
        let session = config::session(&args.common, &fetcher);
        let outcome = run_batch(args, &session, concurrency, quiet, &mut asked).await;
        runtime::close(&fetcher).await;
        outcome
    });
    runtime.shutdown_background();
    outcome
}

#[cfg_attr(not(feature = "browser"), expect(unused_variables, reason = "only the browser has a queue"))]
async fn build_fetcher(args: &args::BatchArgs, concurrency: usize) -> Result<Fetcher, Failure> {
    let builder = config::fetcher_builder(&args.common, &[]).await?;
    // Fetches that wait for the browser are many here, and none of them holds up another.
    #[cfg(feature = "browser")]
    let builder = builder.browser_queue(concurrency * 5 + 64).browser_queue_timeout(BROWSER_QUEUE_TIMEOUT);
    Ok(builder.build()?)
}

async fn run_batch(
    args: &args::BatchArgs,
    session: &Fetcher,
    concurrency: usize,
    quiet: bool,
    asked: &mut DumpOnSignal,
) -> Result<u8, Failure> {
    let jars = [session.identity().jar(), session.plain_identity().jar()];
    let plan = RequestTemplate::from_args(&args.common, &jars)?;
    let (mut output, file) = build_output(args);
    if let Some(folder) = &args.output.save_dir {
        output = output.bodies(folder);
    }
    let (extract, follow) = (config::extract(&args.extract)?, config::crawl_options(&args.crawl)?);
    let input = build_input(args, session)?;
    let mut batch = Batch::new(session.clone())
        .concurrency(concurrency)
        .retry_failed(args.run.retry_failed)
        .fail_status(args.output.fail)
        .method(plan.method.clone())
        .extract(extract)
        .each_request(move |request| plan.apply(request));
    if let Some(follow) = follow {
        if !args.common.request.data.is_empty() || args.common.request.json.is_some() {
            let message = "--follow asks for links without a body: leave out -d and --json";
            return Err(Failure::Usage(message.to_owned()));
        }
        batch = batch.crawl(follow);
    }
    if let Some(path) = checkpoint_path(args, file.as_deref()) {
        batch = batch.checkpoint(path);
    }
    let report = args.output.report.as_deref().map(prepare_report).transpose()?;
    if let Some(report) = &report {
        batch = batch.observer(report.clone().fail_status(args.output.fail));
    }
    let served = match args.run.metrics {
        Some(address) => {
            let metrics = Metrics::new(args.output.fail);
            batch = batch.observer(metrics.clone());
            Some((start_metrics(address, &metrics, quiet).await?, metrics))
        }
        None => None,
    };
    let run = batch.save(input, output)?;
    if let Some((_, metrics)) = &served {
        metrics.attach(run.handle());
    }
    let (summary, was_interrupted) = watch_run(run, args, quiet, session, asked).await;
    let summary = summary?;
    if let Some(path) = &file {
        write_summary(path, &summary)?;
    }
    if let (Some(report), Some(path)) = (&report, &args.output.report) {
        report.write(path, &summary)?;
    }
    if let Some(path) = &args.common.request.cookie_jar {
        cookie_file::write(path, &jars)?;
    }
    if !quiet {
        let _ = write!(std::io::stderr(), "{}", format_summary(&summary));
    }
    let tally = &summary.progress.counters;
    Ok(if summary.output_closed {
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
async fn start_metrics(
    address: MetricsAddress,
    metrics: &Metrics,
    quiet: bool,
) -> Result<MetricsServer, Failure> {
    let server = MetricsServer::start(address, metrics.clone()).await?;
    if !quiet {
        let whom = if server.is_public() { ", to whoever reaches this machine" } else { "" };
        let _ = writeln!(std::io::stderr(), "metrics at {}{whom}", server.url());
    }
    Ok(server)
}

/// A report for this file, which is told now if it cannot be written: afterwards would be late.
fn prepare_report(path: &Path) -> Result<Report, Failure> {
    let wrong = |why: &str| Failure::Config(format!("--report {}: {why}", path.display()));
    if path.is_dir() {
        return Err(wrong("is a folder; name a file"));
    }
    atomic_file::create(path)
        .map(|_| Report::new())
        .map_err(|cause| wrong(&format!("nothing can be written there: {cause}")))
}

/// Shows how far it is, until it ends or is told to.
async fn watch_run(
    run: Run,
    args: &args::BatchArgs,
    quiet: bool,
    fetcher: &Fetcher,
    asked: &mut DumpOnSignal,
) -> (rungs::Result<Summary>, bool) {
    let handle = run.handle();
    let mut display = ProgressDisplay::new(args.run.progress, args.run.no_progress, quiet);
    let resumed = handle.progress().resumed;
    if resumed > 0 && !quiet {
        display.print(&format!("goes on: {resumed} are done already"));
    }
    let mut finishing = pin!(run.finish());
    let mut interruption = pin!(wait_for_interrupt());
    let mut tick = tokio::time::interval(TICK);
    let mut was_interrupted = false;
    let ended = loop {
        tokio::select! {
            ended = &mut finishing => break ended,
            () = &mut interruption => {
                if !was_interrupted && !quiet {
                    display.print(&format!("ends what is under way, within {} s; again to stop at once", GRACE.as_secs()));
                }
                was_interrupted = true;
                handle.stop(GRACE);
                interruption.set(wait_for_interrupt());
            }
            () = asked.recv() => display.print(signal::format_in_flight(&fetcher.in_flight()).trim_end()),
            _ = tick.tick() => display.update(&handle.progress()),
        }
    };
    display.finish();
    (ended, was_interrupted)
}

fn build_input(args: &args::BatchArgs, session: &Fetcher) -> Result<Input, Failure> {
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
fn build_output(args: &args::BatchArgs) -> (Output, Option<PathBuf>) {
    let format = args.output.format.map(RecordFormat::from);
    match args.output.out.as_deref() {
        None => (Output::stdout(format.unwrap_or_default()), None),
        Some(path) if path == Path::new("-") => (Output::stdout(format.unwrap_or_default()), None),
        Some(path) => {
            let format = format.or_else(|| RecordFormat::from_path(path)).unwrap_or_default();
            let is_file = std::fs::metadata(path).map_or(true, |meta| meta.is_file());
            (Output::file(path, format), is_file.then(|| path.to_owned()))
        }
    }
}

fn checkpoint_path(args: &args::BatchArgs, file: Option<&Path>) -> Option<PathBuf> {
    args.run.checkpoint.clone().or_else(|| file.map(|path| with_suffix(path, ".ckpt")))
}

fn with_suffix(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Writes how it ended beside the records.
fn write_summary(path: &Path, summary: &Summary) -> Result<(), Failure> {
    let path = with_suffix(path, ".meta.json");
    let unwritten = |cause| Failure::Io(format!("could not write {}", path.display()), cause);
    let mut file = atomic_file::create(&path).map_err(unwritten)?;
    serde_json::to_writer_pretty(&mut file, summary).map_err(|cause| unwritten(cause.into()))?;
    file.write_all(b"\n").map_err(unwritten)?;
    file.persist(&path).map_err(|cause| unwritten(cause.error))?;
    Ok(())
}

/// How it ended, for people.
fn format_summary(summary: &Summary) -> String {
    let progress = &summary.progress;
    let tally = &progress.counters;
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
    let _ = writeln!(text, "  {} received", format_bytes(progress.bytes));
    text.push_str(&format_limits(summary));
    if !summary.complete && !summary.output_closed {
        text.push_str("not all of it is done; the same command goes on from here\n");
    } else if tally.retryable > 0 {
        let _ = writeln!(
            text,
            "hint: {} failed in a way that may pass; --retry-failed tries them again",
            tally.retryable
        );
    }
    text
}

/// Where a crawl stopped by itself.
fn format_limits(summary: &Summary) -> String {
    let mut text = String::new();
    if summary.beyond > 0 {
        let _ = writeln!(text, "  {} links were left out: --max-pages is reached", summary.beyond);
    }
    for trap in summary.traps.iter().take(MAX_TRAPS) {
        let pattern = redact::escape_terminal(&trap.pattern);
        let (followed, left, why) = (trap.followed, trap.left, trap.why);
        let _ = writeln!(text, "  bounded ({why}): {pattern}: {followed} followed, {left} links left out");
    }
    let more = summary.traps.len().saturating_sub(MAX_TRAPS);
    if more > 0 {
        let _ = writeln!(text, "  and {more} patterns more");
    }
    if summary.traps.iter().any(|trap| trap.followed > 0) {
        text.push_str("hint: --trap-limit N follows more of a pattern\n");
    }
    text
}

const DEFAULT_CONCURRENCY: u32 = 64;
/// Patterns told one by one.
const MAX_TRAPS: usize = 8;
/// How long what is under way may take once it is told to end.
const GRACE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(200);
#[cfg(feature = "browser")]
const BROWSER_QUEUE_TIMEOUT: Duration = Duration::from_secs(600);
