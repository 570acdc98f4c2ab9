//! Arguments of `rungs fetch` for uploads, conditional requests and downloads.

use std::path::PathBuf;

/// Uploads, conditions and downloads.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Request")]
pub(crate) struct TransferArgs {
    /// Read a request from a curl command line
    ///
    /// Takes a line that DevTools copied as cURL, for bash or for cmd; @FILE reads it from a file, - from stdin. Other
    /// arguments are added to it. Example: --from-curl "curl 'https://site.example/' -H 'accept: */*'".
    #[arg(long, value_name = "LINE")]
    pub(crate) from_curl: Option<String>,

    /// Send -d as the query of a GET request
    #[arg(short = 'G', long, conflicts_with_all = ["form", "form_string", "upload_file"])]
    pub(crate) get: bool,

    /// Upload a file with PUT; - for stdin
    ///
    /// The file is streamed. Its name is added to a URL that ends with '/'. Give one file for each URL, in order.
    #[arg(short = 'T', long, value_name = "FILE", conflicts_with_all = ["data", "data_binary", "data_raw", "data_urlencode", "form", "form_string", "json", "head"])]
    pub(crate) upload_file: Vec<PathBuf>,

    /// URL of the page that leads here
    ///
    /// Sets Referer. With a suffix ';auto', redirects set it to the URL that redirected (HTTP tiers); ';auto' alone is
    /// allowed. Without it, redirects follow the referrer policy of browsers.
    #[arg(short = 'e', long, value_name = "URL")]
    pub(crate) referer: Option<String>,

    /// Fetch only if newer than a date or a file
    ///
    /// Sets If-Modified-Since. With '-' before the date, If-Unmodified-Since: only if older.
    #[arg(short = 'z', long, value_name = "DATE|FILE", allow_hyphen_values = true)]
    pub(crate) time_cond: Option<String>,

    /// Fetch only if the ETag in this file differs
    ///
    /// Sets If-None-Match. With -C, If-Range.
    #[arg(long, value_name = "FILE")]
    pub(crate) etag_compare: Option<PathBuf>,

    /// Save the ETag of the response to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) etag_save: Option<PathBuf>,

    /// Resume at a byte offset; - for the file's size
    ///
    /// Requests the rest and appends it to the file of -o or -O. An error if the server sends another part. With -T, skips
    /// the beginning of the uploaded file.
    #[arg(short = 'C', long, value_name = "OFFSET|-", allow_hyphen_values = true)]
    pub(crate) continue_at: Option<String>,
}
