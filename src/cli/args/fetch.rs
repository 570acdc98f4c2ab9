//! `rungs fetch` as it is typed.

use std::path::PathBuf;

use clap::ValueEnum;

use super::{CaptureArgs, CommonArgs, ExtractArgs};

/// Fetch pages. Several URLs share connections and identity.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 wrong settings, 4 or 5 an HTTP status of 4xx or 5xx with \
        -f, 6 redirects, 7 blocked at every tier allowed, 9 robots.txt forbids it, 130 interrupted."
)]
pub(crate) struct FetchArgs {
    /// What to fetch.
    #[arg(required = true, value_name = "URL")]
    pub(crate) urls: Vec<String>,

    #[command(flatten)]
    pub(crate) common: CommonArgs,
    #[command(flatten)]
    pub(crate) captures: CaptureArgs,
    #[command(flatten)]
    pub(crate) extract: ExtractArgs,
    #[command(flatten)]
    pub(crate) output: FetchOutputArgs,
}

/// What comes out.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct FetchOutputArgs {
    /// Stream the body to a file; given once a URL, in order.
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Print the answer's headers before the body.
    #[arg(short = 'i', long)]
    pub(crate) include: bool,

    /// Fail with exit code 4 or 5 on an HTTP status of 400 or more, without its body.
    #[arg(short = 'f', long)]
    pub(crate) fail: bool,

    /// What to print.
    #[arg(long, value_enum, default_value_t = FetchFormat::Body)]
    pub(crate) format: FetchFormat,

    /// Print all attempts on stderr.
    #[arg(long)]
    pub(crate) trace: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FetchFormat {
    /// The body alone.
    Body,
    /// One indented JSON object a fetch.
    Json,
    /// One JSON object a fetch, on one line.
    Jsonl,
}
