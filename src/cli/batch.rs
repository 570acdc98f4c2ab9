//! `rungs batch`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use rungs::batch::{Batch, Input, Output, RecordFormat, Report, Run, Summary};
use rungs::output_file::{self, FileMode};
use rungs::{Fetcher, redact};

use super::args;
use super::config;
use super::cookie_file;
use super::exit::{self, Failure};
use super::hsts_file::HstsFile;
use super::metrics::{Metrics, MetricsAddress, MetricsServer};
use super::password_prompt;
use super::progress::{ProgressDisplay, format_bytes};
use super::request_template::RequestTemplate;
use super::runtime::{self, wait_for_interrupt};
use super::signal::{self, DumpOnSignal};
use super::terminal;

/// Fetches a list of URLs. The exit code tells whether all fetches succeeded.
pub(crate) fn run(mut args: args::BatchArgs, quiet: bool) -> Result<u8, Failure> {
    config::check_head(&args.common.request)?;
    password_prompt::complete(&mut args.common.request.authentication)?;
    let args = &args;
    let hsts = HstsFile::open(&args.common.network)?;
    let runtime = runtime::start()?;
    let outcome = runtime.block_on(async {
        let mut dumps = DumpOnSignal::listen()?;
        let concurrency = args.run.concurrency.unwrap_or(DEFAULT_CONCURRENCY) as usize;
        let fetcher = build_fetcher(args, concurrency, hsts.as_ref()).await?;
        let session = config::session(&args.common, &fetcher);
        let outcome = run_batch(args, &session, concurrency, quiet, &mut dumps).await;
        runtime::close(&fetcher).await;
        outcome
    });
    runtime.shutdown_background();
    if let (Some(hsts), Ok(_)) = (&hsts, &outcome) {
        hsts.write()?;
    }
    outcome
}

#[cfg_attr(not(feature = "browser"), expect(unused_variables, reason = "only the browser has a queue"))]
async fn build_fetcher(
    args: &args::BatchArgs,
    concurrency: usize,
    hsts: Option<&HstsFile>,
) -> Result<Fetcher, Failure> {
    let builder = HstsFile::apply(hsts, config::fetcher_builder(&args.common, &[]).await?);
    // Many fetches of a batch wait for the browser. A waiting fetch does not delay another one.
    #[cfg(feature = "browser")]
    let builder = builder.browser_queue(concurrency * 5 + 64).browser_queue_timeout(BROWSER_QUEUE_TIMEOUT);
    Ok(builder.build()?)
}

async fn run_batch(
    args: &args::BatchArgs,
    session: &Fetcher,
    concurrency: usize,
    quiet: bool,
    dumps: &mut DumpOnSignal,
) -> Result<u8, Failure> {
    let jars = [session.identity().jar(), session.plain_identity().jar()];
    let template = RequestTemplate::from_args(&args.common, &jars)?;
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
        .method(template.method.clone())
        .extract(extract)
        .each_request(move |request| template.apply(request));
    if let Some(follow) = follow {
        if !args.common.request.data.pieces.is_empty() || args.common.request.json.is_some() {
            let message = "--follow requests links without a body: remove -d and --json";
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
    let metrics_server = match args.run.metrics {
        Some(address) => {
            let metrics = Metrics::new(args.output.fail);
            batch = batch.observer(metrics.clone());
            Some((start_metrics(address, &metrics, quiet).await?, metrics))
        }
        None => None,
    };
    let run = batch.save(input, output)?;
    if let Some((_, metrics)) = &metrics_server {
        metrics.attach(run.handle());
    }
    let (summary, was_interrupted) = watch_run(run, args, quiet, session, dumps).await;
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
        let _ = write!(terminal::stderr(), "{}", format_summary(&summary));
    }
    let counters = &summary.progress.counters;
    Ok(if summary.output_closed {
        exit::OK
    } else if was_interrupted && !summary.complete {
        exit::INTERRUPTED
    } else if counters.blocked + counters.failed > 0 {
        exit::BATCH
    } else {
        exit::OK
    })
}

/// Starts the metrics server and prints its address.
async fn start_metrics(
    address: MetricsAddress,
    metrics: &Metrics,
    quiet: bool,
) -> Result<MetricsServer, Failure> {
    let server = MetricsServer::start(address, metrics.clone()).await?;
    if !quiet {
        let note = if server.is_public() { " (reachable from other machines)" } else { "" };
        terminal::print_message(&format!("metrics at {}{note}", server.url()));
    }
    Ok(server)
}

/// Creates a report. Fails before the run when the file cannot be written.
fn prepare_report(path: &Path) -> Result<Report, Failure> {
    let wrong = |why: &str| Failure::Config(format!("--report {}: {why}", path.display()));
    if path.is_dir() {
        return Err(wrong("is a folder; name a file"));
    }
    output_file::check(path)
        .map(|()| Report::new())
        .map_err(|cause| wrong(&format!("could not write: {cause}")))
}

/// Shows progress until the run ends or is interrupted.
async fn watch_run(
    run: Run,
    args: &args::BatchArgs,
    quiet: bool,
    fetcher: &Fetcher,
    dumps: &mut DumpOnSignal,
) -> (rungs::Result<Summary>, bool) {
    let handle = run.handle();
    let mut display = ProgressDisplay::new(args.run.progress, args.run.no_progress, quiet);
    let resumed = handle.progress().resumed;
    if resumed > 0 && !quiet {
        display.print(&format!("resuming: {resumed} finished in earlier runs"));
    }
    let mut finish = pin!(run.finish());
    let mut interruption = pin!(wait_for_interrupt());
    let mut tick = tokio::time::interval(TICK);
    let mut was_interrupted = false;
    let ended = loop {
        tokio::select! {
            ended = &mut finish => break ended,
            () = &mut interruption => {
                if !was_interrupted && !quiet {
                    display.print(&format!(
                        "stopping: waiting up to {} s for fetches in flight; press Ctrl-C again to stop at once",
                        GRACE.as_secs()
                    ));
                }
                was_interrupted = true;
                handle.stop(GRACE);
                interruption.set(wait_for_interrupt());
            }
            () = dumps.recv() => display.print(signal::format_in_flight(&fetcher.in_flight()).trim_end()),
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
    if args.sitemap.as_deref() == Some("robots") {
        let missing = || {
            Failure::Usage("--sitemap robots: give a FILE, or - for stdin, with URLs of the sites".to_owned())
        };
        return listed.map(|listed| listed.with_robots_sitemaps(session)).ok_or_else(missing);
    }
    let mapped = args.sitemap.as_deref().map(|url| Input::sitemap(session, url)).transpose()?;
    match (listed, mapped) {
        (Some(listed), Some(mapped)) => Ok(listed.and(mapped)),
        (Some(input), None) | (None, Some(input)) => Ok(input),
        (None, None) => {
            Err(Failure::Usage("missing input: give a FILE, - for stdin, or --sitemap URL".to_owned()))
        }
    }
}

/// Returns the output, and its file if it is a regular one. Checkpoint and summary are written beside that file.
fn build_output(args: &args::BatchArgs) -> (Output, Option<PathBuf>) {
    let format = args.output.format.map(RecordFormat::from);
    match args.output.out.as_deref() {
        None => (Output::stdout(format.unwrap_or_default()), None),
        Some(path) if path == Path::new("-") => (Output::stdout(format.unwrap_or_default()), None),
        Some(path) => {
            let format = format.or_else(|| RecordFormat::from_path(path)).unwrap_or_default();
            let is_file = output_file::is_regular_or_missing(path);
            (Output::file(path, format), is_file.then(|| path.to_owned()))
        }
    }
}

fn checkpoint_path(args: &args::BatchArgs, file: Option<&Path>) -> Option<PathBuf> {
    args.run.checkpoint.clone().or_else(|| file.map(|path| with_suffix(path, ".ckpt")))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Writes the summary beside the records.
fn write_summary(path: &Path, summary: &Summary) -> Result<(), Failure> {
    let path = with_suffix(path, ".meta.json");
    let failed = |cause| Failure::Io(format!("could not write {}", path.display()), cause);
    let text = serde_json::to_string_pretty(summary).map_err(|cause| failed(cause.into()))? + "\n";
    output_file::write(&path, text.as_bytes(), FileMode::Ordinary).map_err(failed)
}

/// Formats the summary as text.
fn format_summary(summary: &Summary) -> String {
    let progress = &summary.progress;
    let counters = &progress.counters;
    let tiers = &counters.tiers;
    let seconds = summary.elapsed.as_secs_f64();
    let mut text = format!(
        "{} done in {seconds:.1} s: {} succeeded (plain {}, impersonate {}, browser {}), {} blocked, {} failed\n",
        counters.attempted,
        counters.succeeded,
        tiers.plain,
        tiers.impersonate,
        tiers.browser,
        counters.blocked,
        counters.failed
    );
    for (count, what) in [
        (progress.resumed, "finished in earlier runs"),
        (progress.duplicates, "skipped as duplicates"),
        (progress.retries, "attempts were retries or escalations"),
    ] {
        if count > 0 {
            let _ = writeln!(text, "  {count} {what}");
        }
    }
    let _ = writeln!(text, "  {} received", format_bytes(progress.bytes));
    text.push_str(&format_limits(summary));
    if !summary.complete && !summary.output_closed {
        text.push_str("incomplete; run the same command again to resume\n");
    } else if counters.retryable > 0 {
        let _ =
            writeln!(text, "hint: --retry-failed retries the transient failures ({})", counters.retryable);
    }
    text
}

/// Formats the limits that a crawl reached.
fn format_limits(summary: &Summary) -> String {
    let mut text = String::new();
    if summary.beyond > 0 {
        let _ = writeln!(text, "  {} links not followed: --max-pages is reached", summary.beyond);
    }
    for trap in summary.traps.iter().take(MAX_TRAPS) {
        let pattern = redact::escape_terminal(&trap.pattern);
        let (followed, left, why) = (trap.followed, trap.left, trap.why);
        let _ =
            writeln!(text, "  limited ({why}): {pattern}: {followed} followed, {left} links not followed");
    }
    let more = summary.traps.len().saturating_sub(MAX_TRAPS);
    if more > 0 {
        let _ = writeln!(text, "  and {more} more patterns");
    }
    if summary.traps.iter().any(|trap| trap.followed > 0) {
        text.push_str("hint: --trap-limit N follows more links of a pattern\n");
    }
    text
}

const DEFAULT_CONCURRENCY: u32 = 64;
/// The maximum number of URL patterns in the summary.
const MAX_TRAPS: usize = 8;
/// Time for fetches in flight after an interruption.
const GRACE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(200);
#[cfg(feature = "browser")]
const BROWSER_QUEUE_TIMEOUT: Duration = Duration::from_secs(600);
