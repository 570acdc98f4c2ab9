//! The command line as it is typed.

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use rungs::{Context, Tier};

use super::{lab, profile};

/// Gets pages by the cheapest means the site allows.
#[derive(Debug, Parser)]
#[command(name = "rungs", version, max_term_width = 100)]
pub(crate) struct Args {
    /// Log what is done, on stderr; -vv for details.
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,

    /// Say nothing but errors.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fetch pages.
    Fetch(Box<Fetch>),
    /// List, show and check browser profiles.
    Profile(profile::Args),
    /// Say what a saved answer is, and why.
    Detect(Detect),
    /// Say what is installed, what each tier can do here, and the fix for what it cannot.
    Doctor(Doctor),
    /// Tell any client that asks what it looks like on the wire; on loopback only.
    Lab(lab::Args),
    /// Print the man page or a shell's completions.
    Generate(Generate),
}

/// Fetch pages. Several URLs share connections and identity.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 wrong settings, 4 or 5 an HTTP status of 4xx or 5xx with \
        -f, 6 redirects, 7 blocked at every tier allowed, 130 interrupted."
)]
pub(crate) struct Fetch {
    /// What to fetch.
    #[arg(required = true, value_name = "URL")]
    pub(crate) urls: Vec<String>,

    #[command(flatten)]
    pub(crate) request: Request,
    #[command(flatten)]
    pub(crate) network: Network,
    #[command(flatten)]
    pub(crate) ladder: Ladder,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// What is asked for.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Request")]
pub(crate) struct Request {
    /// The method. Default: GET, or POST with -d.
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    pub(crate) method: Option<String>,

    /// A header, `Name: value`; `Name:` takes one away, `Name;` sends it empty.
    #[arg(short = 'H', long = "header", value_name = "LINE")]
    pub(crate) headers: Vec<String>,

    /// A body, sent as a form; @FILE reads it from a file, @- from stdin; several are joined by &.
    #[arg(short = 'd', long = "data", value_name = "DATA", allow_hyphen_values = true)]
    pub(crate) data: Vec<String>,

    /// A JSON body, sent as a script's fetch; @FILE and @- as with -d.
    #[arg(long, value_name = "DATA", conflicts_with = "data", allow_hyphen_values = true)]
    pub(crate) json: Option<String>,

    /// What in a browser makes the request. Default: navigation, form with -d, fetch with --json.
    #[arg(long, value_name = "CONTEXT", value_enum)]
    pub(crate) context: Option<ContextName>,

    /// The user agent to claim, instead of the tier's own.
    #[arg(short = 'A', long, value_name = "NAME")]
    pub(crate) user_agent: Option<String>,

    /// Cookies, `a=1; b=2`, or the name of a cookie file.
    #[arg(short = 'b', long = "cookie", value_name = "DATA|FILE")]
    pub(crate) cookies: Vec<String>,

    /// Write all cookies to this file afterwards (Netscape format).
    #[arg(short = 'c', long, value_name = "FILE")]
    pub(crate) cookie_jar: Option<PathBuf>,

    /// Ask for the headers only.
    #[arg(short = 'I', long, conflicts_with_all = ["data", "json"])]
    pub(crate) head: bool,
}

/// How to get there, and within what bounds.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct Network {
    /// Go through this proxy, http://user:password@host:port.
    #[arg(short = 'x', long, value_name = "URL")]
    pub(crate) proxy: Option<String>,

    /// Take any certificate.
    #[arg(short = 'k', long)]
    pub(crate) insecure: bool,

    /// Trust the CA certificates in this file (PEM) instead of the system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,

    /// Use this address for a name; `*` stands for every name.
    #[arg(long, value_name = "HOST:PORT:ADDR")]
    pub(crate) resolve: Vec<String>,

    /// The most time for the whole fetch, in seconds.
    #[arg(short = 'm', long, value_name = "SECONDS")]
    pub(crate) max_time: Option<String>,

    /// The most time for name lookup, TCP and TLS each, in seconds. Default: 5.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) connect_timeout: Option<String>,

    /// How often a network error is retried on its tier.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) retry: u32,

    /// The largest body taken, in bytes or as 10k, 5M, 1G. Default: 32M.
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_size: Option<String>,
}

/// Which tiers, and as whom.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Tiers")]
pub(crate) struct Ladder {
    /// Use this tier only.
    #[arg(long, value_name = "TIER", value_enum, conflicts_with_all = ["min_tier", "max_tier"])]
    pub(crate) tier: Option<TierName>,

    /// Start at this tier.
    #[arg(long, value_name = "TIER", value_enum)]
    pub(crate) min_tier: Option<TierName>,

    /// Climb no higher than this tier.
    #[arg(long, value_name = "TIER", value_enum)]
    pub(crate) max_tier: Option<TierName>,

    /// Look like this browser: the name of a profile, or a file.
    #[arg(long = "as", value_name = "BROWSER_PROFILE")]
    pub(crate) profile: Option<String>,

    /// Use the identity of this name.
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<String>,

    /// In the browser, wait until this selector matches.
    #[arg(long, value_name = "CSS")]
    pub(crate) wait_for: Option<String>,

    /// The most browser pages open at once. Default: one a core, at least 2, if memory allows.
    #[cfg(feature = "browser")]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) browser_pages: Option<u16>,

    /// The most browser processes. Default: one for every 16 pages.
    #[cfg(feature = "browser")]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) browser_processes: Option<u16>,
}

/// What comes out.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Output {
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
    #[arg(long, value_enum, default_value_t = Format::Body)]
    pub(crate) format: Format,

    /// Print all attempts on stderr.
    #[arg(long)]
    pub(crate) trace: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The body alone.
    Body,
    /// One indented JSON object a fetch.
    Json,
    /// One JSON object a fetch, on one line.
    Jsonl,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TierName {
    /// An honest HTTP client.
    Plain,
    /// A real browser's TLS, HTTP/2 and headers.
    Impersonate,
    /// A headless Chromium.
    Browser,
}

impl From<TierName> for Tier {
    fn from(name: TierName) -> Self {
        match name {
            TierName::Plain => Self::Plain,
            TierName::Impersonate => Self::Impersonate,
            TierName::Browser => Self::Browser,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ContextName {
    /// An address typed by hand, or a link clicked (with -H 'Referer: …').
    Navigation,
    /// The page loaded anew.
    Reload,
    /// A form sent by its button.
    Form,
    /// A script's fetch().
    Fetch,
    /// A script's XMLHttpRequest.
    Xhr,
}

impl From<ContextName> for Context {
    fn from(name: ContextName) -> Self {
        match name {
            ContextName::Navigation => Self::Navigation,
            ContextName::Reload => Self::Reload,
            ContextName::Form => Self::Form,
            ContextName::Fetch => Self::Fetch,
            ContextName::Xhr => Self::Xhr,
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Detect {
    /// An answer saved with its status line and headers; - for stdin.
    #[arg(value_name = "FILE", required_unless_present = "rules")]
    pub(crate) file: Option<PathBuf>,

    /// The URL that answered.
    #[arg(long, default_value = "https://site.invalid/")]
    pub(crate) url: String,

    /// List the rules instead.
    #[arg(long)]
    pub(crate) rules: bool,

    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Generate {
    /// `man`, or `complete-` and the name of a shell.
    #[arg(value_name = "WHAT", value_parser = what)]
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    Man,
    Complete(Shell),
}

fn what(text: &str) -> Result<What, String> {
    if text == "man" {
        return Ok(What::Man);
    }
    let shell = text.strip_prefix("complete-").and_then(|name| Shell::from_str(name, false).ok());
    shell.map(What::Complete).ok_or_else(|| {
        let shells: Vec<String> =
            Shell::value_variants().iter().map(|shell| format!("complete-{shell}")).collect();
        format!("expected man, {}", shells.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
