//! `rungs batch` as it is typed.

use std::path::PathBuf;

use super::{CommonArgs, ExtractArgs};
use crate::cli::metrics::MetricsAddress;
use crate::cli::value_enums::RecordFormatArg;

/// Fetch many pages. The same command again goes on where the last one ended.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A line of FILE is a URL, or a JSON object with url, method, headers, body, body_base64, target, session, \
        context; blank lines and those that begin with # are passed over.\n\nExit codes: 0 all succeeded, 1 failed as a whole, \
        2 wrong usage, 3 wrong settings, 8 some failed, 130 interrupted."
)]
pub(crate) struct BatchArgs {
    /// The list of URLs, - for stdin.
    #[arg(value_name = "FILE|-", required_unless_present = "sitemap")]
    pub(crate) file: Option<PathBuf>,

    /// Fetch what this sitemap lists.
    #[arg(long, value_name = "URL")]
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

/// How a batch goes on.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Batch")]
pub(crate) struct RunArgs {
    /// The most fetches that work at once. Those that wait for their host are not counted. Default: 64.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) concurrency: Option<u32>,

    /// Where it is kept what is done. Default: the --out file's name with .ckpt behind it.
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,

    /// Fetch once more, in the end and more slowly, what failed in a way that may pass; of an earlier run too.
    #[arg(long)]
    pub(crate) retry_failed: bool,

    /// Show how far it is. Default: on a terminal.
    #[arg(long, overrides_with = "no_progress")]
    pub(crate) progress: bool,

    /// Do not.
    #[arg(long)]
    pub(crate) no_progress: bool,

    /// Serve counts and times for Prometheus at /metrics while it runs: 127.0.0.1:9100, or a port of 127.0.0.1 alone.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics: Option<MetricsAddress>,
}

/// Which links a batch follows.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Crawl")]
pub(crate) struct CrawlArgs {
    /// Follow the links that match a CSS selector, or are in what does: 'a.next'. Or those whose path is so:
    /// 'pattern:/p/*'. Several are followed all.
    #[arg(long, value_name = "CSS|pattern:GLOB")]
    pub(crate) follow: Vec<String>,

    /// The most links between a listed page and a followed one. Default: no limit.
    #[arg(long, value_name = "N", requires = "follow")]
    pub(crate) depth: Option<u32>,

    /// The most pages of the whole crawl. Default: no limit.
    #[arg(long, value_name = "N", requires = "follow", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_pages: Option<u64>,

    /// Follow links to this host too, and to those under it.
    #[arg(long, value_name = "HOST", requires = "follow")]
    pub(crate) allow: Vec<String>,

    /// Follow links to any site. Default: to the page's own alone.
    #[arg(long, requires = "follow")]
    pub(crate) follow_external: bool,

    /// The most pages of one pattern of URLs. Default: 50000; of queries to one page 5000, of dates 400.
    #[arg(long, value_name = "N", requires = "follow", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) trap_limit: Option<u32>,

    /// Take URLs whose parameters differ in order alone for one.
    #[arg(long, requires = "follow")]
    pub(crate) sort_query: bool,
}

/// What comes out of a batch.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Write the records here. Default: stdout.
    #[arg(short = 'o', long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// How to write them. Default: what the name of --out says, or jsonl.
    #[arg(long, value_enum)]
    pub(crate) format: Option<RecordFormatArg>,

    /// Put bodies into files in this folder, named by what is in them.
    #[arg(long, value_name = "DIR")]
    pub(crate) save_dir: Option<PathBuf>,

    /// Count an HTTP status of 400 or more as a failure.
    #[arg(short = 'f', long)]
    pub(crate) fail: bool,

    /// Write a page here that shows how it went: throughput, latency, tiers, verdicts, proxies, failures (HTML).
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}
