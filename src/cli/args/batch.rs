//! The arguments of `rungs batch`.

use std::path::PathBuf;

use super::{CommonArgs, ExtractArgs};
use crate::cli::metrics::MetricsAddress;
use crate::cli::value_enums::RecordFormatArg;

/// The arguments of `rungs batch`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A line of FILE is a URL, or a JSON object with url, method, headers, body, body_base64, target, session, \
        context. Blank lines and lines that begin with # are skipped.\n\nExit codes: 0 all succeeded, 1 the run failed, \
        2 wrong usage, 3 wrong settings, 8 some fetches failed, 130 interrupted."
)]
pub(crate) struct BatchArgs {
    /// List of URLs; - for stdin
    #[arg(value_name = "FILE|-", required_unless_present = "sitemap")]
    pub(crate) file: Option<PathBuf>,

    /// Fetch the URLs that this sitemap lists
    ///
    /// XML, RSS, Atom or one URL a line, also gzipped. A sitemap index is followed. `robots` means the sitemaps that
    /// robots.txt of each site in FILE names. Can be combined with FILE.
    #[arg(long, value_name = "URL|robots")]
    pub(crate) sitemap: Option<String>,

    #[command(flatten)]
    pub(crate) common: CommonArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) crawl: CrawlArgs,
    #[command(flatten)]
    pub(crate) extract: ExtractArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Concurrency, checkpoint, progress and metrics of a batch.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Batch")]
pub(crate) struct RunArgs {
    /// Maximum concurrent fetches. Default: 64
    ///
    /// Fetches that wait for a rate limit, a retry or the browser do not count. Fewer run when the machine is short of
    /// CPU time, memory or file descriptors.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) concurrency: Option<u32>,

    /// File that records finished URLs. Default: <OUT>.ckpt
    ///
    /// A batch that writes to stdout keeps a checkpoint only when this names one.
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,

    /// Retry transient failures once, after the run
    ///
    /// Runs at a quarter of the concurrency. Includes failures recorded by an earlier run. Transient failures are network
    /// errors, rate limits, and the statuses 408, 425, 429, 500, 502, 503 and 504.
    #[arg(long)]
    pub(crate) retry_failed: bool,

    /// Show progress. Default: on a terminal
    #[arg(long, overrides_with = "no_progress")]
    pub(crate) progress: bool,

    /// Hide progress
    #[arg(long)]
    pub(crate) no_progress: bool,

    /// Serve Prometheus metrics at this address
    ///
    /// The endpoint is /metrics. It exists during the run and has no authentication. A port without an address means
    /// 127.0.0.1. Example: --metrics 127.0.0.1:9100.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics: Option<MetricsAddress>,
}

/// The links that a batch follows.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Crawl")]
pub(crate) struct CrawlArgs {
    /// Follow links that match this selector or pattern
    ///
    /// A CSS selector selects links, and links inside matching elements: 'a.next'. It also selects 'link[rel=next]',
    /// 'iframe' and 'frame'. A pattern selects links by path and
    /// query: 'pattern:/p/*'. Repeatable; links that match any are followed.
    #[arg(long, value_name = "CSS|pattern:GLOB")]
    pub(crate) follow: Vec<String>,

    /// Maximum link depth. Default: unlimited
    ///
    /// The depth is the number of links between a listed page and a followed one.
    #[arg(long, value_name = "N", requires = "follow")]
    pub(crate) depth: Option<u32>,

    /// Maximum pages of the crawl. Default: unlimited
    #[arg(long, value_name = "N", requires = "follow", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_pages: Option<u64>,

    /// Follow links to this host and its subdomains too
    ///
    /// Such links may also lead to private addresses.
    #[arg(long, value_name = "HOST", requires = "follow")]
    pub(crate) allow: Vec<String>,

    /// Follow links to any site
    ///
    /// Default: links to the registrable domain of the page.
    #[arg(long, requires = "follow")]
    pub(crate) follow_external: bool,

    /// Maximum pages of one URL pattern. Default: 50000
    ///
    /// Limits endless series of URLs. A pattern is a folder, numbers aside. Other patterns have lower limits: 5000 queries
    /// of one path, 400 pages that are dates.
    #[arg(long, value_name = "N", requires = "follow", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) trap_limit: Option<u32>,

    /// Ignore the order of query parameters in URLs
    #[arg(long, requires = "follow")]
    pub(crate) sort_query: bool,

    /// Do not follow links to the canonical URL of a fetched page
    ///
    /// Default: rel=canonical keeps no page away, because it may be wrong.
    #[arg(long, requires = "follow")]
    pub(crate) trust_canonical: bool,
}

/// The output of a batch.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// File for the records. Default: stdout
    #[arg(short = 'o', long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Format of the records
    ///
    /// Default: by the file name of --out, else jsonl.
    #[arg(long, value_enum)]
    pub(crate) format: Option<RecordFormatArg>,

    /// Save bodies as files in this folder
    ///
    /// The name of a file is the SHA-256 of its content.
    #[arg(long, value_name = "DIR")]
    pub(crate) save_dir: Option<PathBuf>,

    /// Count an HTTP status of 400 or more as a failure
    #[arg(short = 'f', long)]
    pub(crate) fail: bool,

    /// Write an HTML report to this file
    ///
    /// The report shows throughput, latency, tiers, verdicts, proxies and failures. It has no scripts and makes no requests.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}
