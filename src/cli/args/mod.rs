//! The command line as it is typed.

mod batch;
mod browser;
mod fetch;
mod network;

pub(crate) use batch::{BatchArgs, CrawlArgs};
pub(crate) use browser::{CaptureArgs, EmulationArgs, RenderArgs};
pub(crate) use fetch::{FetchArgs, FetchFormat};
pub(crate) use network::{ConnectArgs, NetworkArgs, ProxyPoolArgs};

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand};

use super::value_enums::{ContextArg, RobotsArg, TierArg};
use super::{detect, diagnose, doctor, generate, lab, memory, profile, proxy, target};

/// Gets pages by the cheapest means the site allows.
#[derive(Debug, Parser)]
#[command(name = "rungs", version, max_term_width = 100)]
pub(crate) struct Cli {
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
    Fetch(Box<FetchArgs>),
    /// Fetch many pages, and go on where an earlier run ended.
    Batch(Box<BatchArgs>),
    /// List, show and check browser profiles.
    Profile(profile::ProfileArgs),
    /// List, show and check targets: one site's settings.
    Target(target::TargetArgs),
    /// List proxy dialects, write credentials in them, and check proxies.
    Proxy(Box<proxy::ProxyArgs>),
    /// Show, clear, export and import what was learned of sites.
    Memory(memory::MemoryArgs),
    /// Say what a saved answer is, and why.
    Detect(detect::DetectArgs),
    /// Ask a site in several ways, one change at a time, and say what gives away the rest.
    Diagnose(Box<diagnose::DiagnoseArgs>),
    /// Say what is installed, what each tier can do here, and the fix for what it cannot.
    Doctor(doctor::DoctorArgs),
    /// Tell any client that asks what it looks like on the wire; on loopback only.
    Lab(lab::LabArgs),
    /// Print the man page or a shell's completions.
    Generate(generate::GenerateArgs),
}

/// What fetches have in common, one or many.
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

/// What is asked for.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Request")]
pub(crate) struct RequestArgs {
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
    pub(crate) context: Option<ContextArg>,

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

/// Which tiers, and as whom.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Tiers")]
pub(crate) struct EscalationArgs {
    /// Use this tier only.
    #[arg(long, value_name = "TIER", value_enum, conflicts_with_all = ["min_tier", "max_tier"])]
    pub(crate) tier: Option<TierArg>,

    /// Start at this tier.
    #[arg(long, value_name = "TIER", value_enum)]
    pub(crate) min_tier: Option<TierArg>,

    /// Climb no higher than this tier.
    #[arg(long, value_name = "TIER", value_enum)]
    pub(crate) max_tier: Option<TierArg>,

    /// Look like this browser: the name of a profile, or a file.
    #[arg(long = "as", value_name = "BROWSER_PROFILE")]
    pub(crate) profile: Option<String>,

    /// Lay the target in this file over the shipped ones and your own (`rungs target show URL`).
    #[arg(long, value_name = "FILE")]
    pub(crate) target: Option<PathBuf>,

    /// Use the identity of this name.
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<String>,

    /// Learn nothing from earlier runs, and leave nothing for later ones.
    #[arg(long)]
    pub(crate) no_memory: bool,
}

/// How politely. A host that asks for more time gets it in any case.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Politeness")]
pub(crate) struct PolitenessArgs {
    /// What to do about robots.txt. Default: ignore it for single pages, obey it in a batch.
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(crate) robots: Option<RobotsArg>,

    /// The most requests to one host in a time, evenly spread: 2/s, 30/m, 1/5s. Default: no such limit.
    #[arg(long, value_name = "RATE")]
    pub(crate) rate: Option<String>,

    /// The most requests to one host at once. Default: 6.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) host_concurrency: Option<u32>,
}

/// What is read out of pages.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Extraction")]
pub(crate) struct ExtractArgs {
    /// A field of the record: the text of what matches first. NAME[]= takes all matches, @ATTR an attribute, @html the
    /// element.
    #[arg(long, value_name = "NAME=CSS[@ATTR]")]
    pub(crate) select: Vec<String>,

    /// Put the page's text into the record.
    #[arg(long)]
    pub(crate) text: bool,

    /// Put the page's links into the record, and its canonical URL.
    #[arg(long)]
    pub(crate) links: bool,
}

/// How an answer is judged.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Verdict")]
pub(crate) struct VerdictArgs {
    /// Add the block rules of this folder, and let them override the shipped ones.
    #[arg(long, value_name = "DIR")]
    pub(crate) rules_dir: Option<PathBuf>,

    /// A 200 without an element that matches is no page.
    #[arg(long, value_name = "CSS")]
    pub(crate) expect_css: Option<String>,

    /// A 200 without this text is no page.
    #[arg(long, value_name = "TEXT")]
    pub(crate) expect_text: Option<String>,

    /// A 200 smaller than this is no page, in bytes or as 10k.
    #[arg(long, value_name = "SIZE")]
    pub(crate) expect_min_bytes: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
