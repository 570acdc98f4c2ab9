//! The arguments of `rungs fetch`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::{CaptureArgs, CommonArgs, ExtractArgs, TransferArgs};

/// The arguments of `rungs fetch`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 wrong settings, 4 or 5 an HTTP status of 4xx or 5xx with \
        -f, 6 redirects, 7 blocked at every tier allowed, 9 disallowed by robots.txt, 130 interrupted."
)]
pub(crate) struct FetchArgs {
    /// URLs to fetch
    ///
    /// A URL without a scheme is an http URL.
    #[arg(required_unless_present = "from_curl", value_name = "URL")]
    pub(crate) urls: Vec<String>,

    #[command(flatten)]
    pub(crate) common: CommonArgs,
    #[command(flatten)]
    pub(crate) transfer: TransferArgs,
    #[command(flatten)]
    pub(crate) captures: CaptureArgs,
    #[command(flatten)]
    pub(crate) extract: ExtractArgs,
    #[command(flatten)]
    pub(crate) output: FetchOutputArgs,
}

/// The output of `rungs fetch`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct FetchOutputArgs {
    /// Stream the body to this file
    ///
    /// Give one file for each URL, in order; - for stdout. The file appears when it is complete.
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Save the body under the file name of the URL
    ///
    /// Applies to all URLs without -o. The file is in the current folder and never hidden. An existing file is replaced,
    /// which a message tells.
    #[arg(short = 'O', long)]
    pub(crate) remote_name: bool,

    /// With -O, use the name that the server gives
    ///
    /// The name of Content-Disposition, else of the URL. It is never a path and never hidden. An existing file is an error.
    #[arg(short = 'J', long, requires = "remote_name")]
    pub(crate) remote_header_name: bool,

    /// Print the response headers before the body
    #[arg(short = 'i', long)]
    pub(crate) include: bool,

    /// Fail on an HTTP status of 400 or more
    ///
    /// The exit code is 4 for 4xx and 5 for 5xx. The body is not printed.
    #[arg(short = 'f', long)]
    pub(crate) fail: bool,

    /// Output format
    #[arg(long, value_enum, default_value_t = FetchFormat::Body)]
    pub(crate) format: FetchFormat,

    /// Print all attempts to stderr
    #[arg(long)]
    pub(crate) trace: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FetchFormat {
    /// The body only
    Body,
    /// One indented JSON object per fetch
    Json,
    /// One JSON object per fetch, on one line
    Jsonl,
}
