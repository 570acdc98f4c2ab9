//! The arguments of the program, parsed by clap.
//!
//! The first paragraph of an option's doc comment is its line in `-h`. The whole comment is its text in `--help`.

mod authentication;
mod batch;
mod browser;
mod data;
mod fetch;
mod network;
mod transfer;

pub(crate) use authentication::{AuthenticationArgs, CertificateFormat};
pub(crate) use batch::{BatchArgs, CrawlArgs};
pub(crate) use browser::{CaptureArgs, EmulationArgs, RenderArgs};
pub(crate) use data::{DataArgs, DataKind};
pub(crate) use fetch::{FetchArgs, FetchFormat};
pub(crate) use network::{ConnectArgs, NetworkArgs, ProxyPoolArgs};
pub(crate) use transfer::TransferArgs;

use std::path::PathBuf;

use super::value_enums::{ContextArg, RobotsArg, TierArg};

/// Arguments that `fetch` and `batch` share.
#[derive(Debug, clap::Args)]
pub(crate) struct CommonArgs {
    #[command(flatten)]
    pub(crate) request: RequestArgs,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) proxy_pool: ProxyPoolArgs,
    #[command(flatten)]
    pub(crate) escalation: EscalationArgs,
    #[command(flatten)]
    pub(crate) politeness: PolitenessArgs,
    #[command(flatten)]
    pub(crate) render: RenderArgs,
    #[command(flatten)]
    pub(crate) emulation: EmulationArgs,
    #[command(flatten)]
    pub(crate) verdict: VerdictArgs,
}

/// The request: method, headers, body and cookies.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Request")]
pub(crate) struct RequestArgs {
    /// Request method. Default: GET; POST with a body, PUT with -T
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    pub(crate) method: Option<String>,

    /// Header, 'Name: value'; 'Name:' removes one
    ///
    /// 'Name: value' sets a header, 'Name:' removes one that would be sent, and 'Name;' sends it with an empty value.
    /// Repeatable.
    #[arg(short = 'H', long = "header", value_name = "LINE")]
    pub(crate) headers: Vec<String>,

    #[command(flatten)]
    pub(crate) data: DataArgs,

    /// JSON body; @FILE reads a file, @- stdin
    ///
    /// Sets 'content-type: application/json' unless -H sets one, and the context fetch unless --context names one.
    #[arg(long, value_name = "DATA", conflicts_with_all = ["data", "data_binary", "data_raw", "data_urlencode"], allow_hyphen_values = true)]
    pub(crate) json: Option<String>,

    /// Context
    ///
    /// The browser feature that would make this request. It determines headers such as Sec-Fetch-Mode and Accept.
    /// Default: navigation, form with -d, fetch with --json.
    #[arg(long, value_name = "CONTEXT", value_enum)]
    pub(crate) context: Option<ContextArg>,

    /// User-Agent header. Default: the one of the tier
    #[arg(short = 'A', long, value_name = "NAME")]
    pub(crate) user_agent: Option<String>,

    /// Cookies ('a=1; b=2'), or a cookie file
    ///
    /// A value without '=' is the name of a file in Netscape format, which is read as curl reads it. A message tells the number
    /// of each line that is skipped. Repeatable.
    #[arg(short = 'b', long = "cookie", value_name = "DATA|FILE")]
    pub(crate) cookies: Vec<String>,

    /// Write all cookies to this file at the end
    ///
    /// The file has Netscape format and is readable by its owner only.
    #[arg(short = 'c', long, value_name = "FILE")]
    pub(crate) cookie_jar: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) authentication: AuthenticationArgs,

    /// Send HEAD and print the headers
    #[arg(short = 'I', long, conflicts_with_all = ["form", "form_string", "json"])]
    pub(crate) head: bool,
}

/// Tiers, browser profile, target and identity.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Tiers")]
pub(crate) struct EscalationArgs {
    /// Use only this tier
    #[arg(long, value_name = "TIER", value_enum, conflicts_with_all = ["min_tier", "max_tier"])]
    pub(crate) tier: Option<TierArg>,

    /// Start at this tier
    #[arg(long, value_name = "TIER", value_enum)]
    pub(crate) min_tier: Option<TierArg>,

    /// Highest tier to use
    #[arg(long, value_name = "TIER", value_enum)]
    pub(crate) max_tier: Option<TierArg>,

    /// Browser profile, a name or a file
    ///
    /// `rungs profile list` prints the names. Default: the profile of the installed browser, else the newest captured one.
    #[arg(long = "as", value_name = "BROWSER_PROFILE")]
    pub(crate) profile: Option<String>,

    /// Apply this target over shipped targets and your own
    ///
    /// A target is a TOML file with the settings of one site. `rungs target show URL` prints the merged settings.
    #[arg(long, value_name = "FILE")]
    pub(crate) target: Option<PathBuf>,

    /// Name of the identity to use
    ///
    /// Fetches with the same name share cookies, connections and proxy session. Default: one unnamed identity.
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<String>,

    /// Do not read or write host memory
    #[arg(long)]
    pub(crate) no_memory: bool,
}

/// Rate limits and robots.txt. `Retry-After` is respected in any case.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Politeness")]
pub(crate) struct PolitenessArgs {
    /// Obey or ignore robots.txt
    ///
    /// Default: ignore for `rungs fetch`, obey for `rungs batch`.
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(crate) robots: Option<RobotsArg>,

    /// Maximum request rate per host, e.g. 2/s. Default: unlimited
    ///
    /// Requests are spread evenly. Examples: 2/s, 30/m, 1/5s.
    #[arg(long, value_name = "RATE")]
    pub(crate) rate: Option<String>,

    /// Maximum concurrent requests per host. Default: 6
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) host_concurrency: Option<u32>,
}

/// Values extracted from pages.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Extraction")]
pub(crate) struct ExtractArgs {
    /// Add a field to the record, by CSS selector
    ///
    /// The value is the text of the first match. NAME[]=CSS returns all matches, CSS@ATTR an attribute, CSS@html the
    /// element. Example: --select 'price=.price' --select 'images[]=img@src'.
    #[arg(long, value_name = "NAME=CSS[@ATTR]")]
    pub(crate) select: Vec<String>,

    /// Add the visible text of the page to the record
    ///
    /// In the browser it is the page's innerText. The HTTP tiers know only styles in attributes.
    #[arg(long)]
    pub(crate) text: bool,

    /// Add links and the canonical URL to the record
    #[arg(long)]
    pub(crate) links: bool,
}

/// How a response is classified.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Verdict")]
pub(crate) struct VerdictArgs {
    /// Add block rules from this folder
    ///
    /// A rule with the id of a shipped rule replaces it.
    #[arg(long, value_name = "DIR")]
    pub(crate) rules_dir: Option<PathBuf>,

    /// Treat a 200 response as blocked unless this CSS selector matches
    #[arg(long, value_name = "CSS")]
    pub(crate) expect_css: Option<String>,

    /// Treat a 200 response without this text as blocked
    #[arg(long, value_name = "TEXT")]
    pub(crate) expect_text: Option<String>,

    /// Treat a 200 response smaller than this as blocked
    ///
    /// The size is in bytes, or has a unit of 1024: 500, 10k, 1M.
    #[arg(long, value_name = "SIZE")]
    pub(crate) expect_min_bytes: Option<String>,
}
