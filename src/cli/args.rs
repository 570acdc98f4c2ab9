//! The command line as it is typed.

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::names::{
    BodyName, ContextName, FallbackName, FormatName, LoadName, ModeName, RobotsName, TierName, Told,
};
use super::password::PasswordSource;
use super::{diagnose, lab, memory, profile, proxy, target};

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
    /// Fetch many pages, and go on where an earlier run ended.
    Batch(Box<Batch>),
    /// List, show and check browser profiles.
    Profile(profile::Args),
    /// List, show and check targets: one site's settings.
    Target(target::Args),
    /// List proxy dialects, write credentials in them, and check proxies.
    Proxy(Box<proxy::Args>),
    /// Show, clear, export and import what was learned of sites.
    Memory(memory::Args),
    /// Say what a saved answer is, and why.
    Detect(Detect),
    /// Ask a site in several ways, one change at a time, and say what gives away the rest.
    Diagnose(Box<diagnose::Args>),
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
        -f, 6 redirects, 7 blocked at every tier allowed, 9 robots.txt forbids it, 130 interrupted."
)]
pub(crate) struct Fetch {
    /// What to fetch.
    #[arg(required = true, value_name = "URL")]
    pub(crate) urls: Vec<String>,

    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) pictures: PictureFiles,
    #[command(flatten)]
    pub(crate) reading: Reading,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Fetch many pages. The same command again goes on where the last one ended.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A line of FILE is a URL, or a JSON object with url, method, headers, body, body_base64, target, session, \
        context; blank lines and those that begin with # are passed over.\n\nExit codes: 0 all succeeded, 1 failed as a whole, \
        2 wrong usage, 3 wrong settings, 8 some failed, 130 interrupted."
)]
pub(crate) struct Batch {
    /// The list of URLs, - for stdin.
    #[arg(value_name = "FILE|-", required_unless_present = "sitemap")]
    pub(crate) file: Option<PathBuf>,

    /// Fetch what this sitemap lists.
    #[arg(long, value_name = "URL")]
    pub(crate) sitemap: Option<String>,

    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) course: Course,
    #[command(flatten)]
    pub(crate) crawl: Crawl,
    #[command(flatten)]
    pub(crate) reading: Reading,
    #[command(flatten)]
    pub(crate) records: Records,
}

/// How a batch goes on.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Batch")]
pub(crate) struct Course {
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
    pub(crate) metrics: Option<super::metrics::Address>,
}

/// Which links a batch follows.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Crawl")]
pub(crate) struct Crawl {
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

/// What is read out of pages.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Extraction")]
pub(crate) struct Reading {
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

/// What comes out of a batch.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Records {
    /// Write the records here. Default: stdout.
    #[arg(short = 'o', long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// How to write them. Default: what the name of --out says, or jsonl.
    #[arg(long, value_enum)]
    pub(crate) format: Option<FormatName>,

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

/// What fetches have in common, one or many.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) request: Request,
    #[command(flatten)]
    pub(crate) network: Network,
    #[command(flatten)]
    pub(crate) exits: Exits,
    #[command(flatten)]
    pub(crate) ladder: Ladder,
    #[command(flatten)]
    pub(crate) manners: Manners,
    #[command(flatten)]
    pub(crate) view: View,
    #[command(flatten)]
    pub(crate) looks: Looks,
    #[command(flatten)]
    pub(crate) judging: Judging,
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

/// How to get there.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct Reach {
    /// Go through this proxy, http://user:password@host:port; also https, socks5 (names are resolved
    /// here) and socks5h (by the proxy). Empty: through none. Default: what the environment says.
    /// Given several times: a pool of them.
    #[arg(short = 'x', long, value_name = "URL")]
    pub(crate) proxy: Vec<String>,

    /// User and password of a proxy whose URL has none, or of the account that --dialect is for; the
    /// password may come by --password-env, --password-file, --password-command or RUNGS_PROXY_PASSWORD.
    #[arg(short = 'U', long, value_name = "USER[:PASSWORD]")]
    pub(crate) proxy_user: Option<String>,

    /// Hosts to reach without the proxy: names with all below them, addresses, networks; `*` for all.
    #[arg(long, value_name = "LIST")]
    pub(crate) noproxy: Option<String>,

    /// Trust the CA certificates in this file (PEM) for https proxies instead of the system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) proxy_cacert: Option<PathBuf>,

    /// Take any certificate of an https proxy.
    #[arg(long)]
    pub(crate) proxy_insecure: bool,

    /// Let a public site lead to private addresses, by redirects and in the browser.
    #[arg(long)]
    pub(crate) allow_private: bool,

    /// Take any certificate.
    #[arg(short = 'k', long)]
    pub(crate) insecure: bool,

    /// Trust the CA certificates in this file (PEM) instead of the system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,

    /// Use this address for a name; `*` stands for every name.
    #[arg(long, value_name = "HOST:PORT:ADDR")]
    pub(crate) resolve: Vec<String>,
}

/// How to get there, and within what bounds.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct Network {
    #[command(flatten)]
    pub(crate) reach: Reach,

    /// The most time for the whole fetch, in seconds.
    #[arg(short = 'm', long, value_name = "SECONDS")]
    pub(crate) max_time: Option<String>,

    /// The most time for name lookup, TCP and TLS each, in seconds. Default: 5.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) connect_timeout: Option<String>,

    /// How often a network error, a failing origin and a rate limit are each retried on their tier. Default: 2.
    #[arg(long, value_name = "N")]
    pub(crate) retry: Option<u32>,

    /// The most attempts for one fetch, on all tiers together. Default: 12.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_attempts: Option<u32>,

    /// The most attempts in the browser for one fetch. Default: 3.
    #[arg(long, value_name = "N")]
    pub(crate) max_visits: Option<u32>,

    /// The most bytes of bodies for one fetch, block pages included, as 500000, 10k, 5M, 1G.
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_bytes: Option<String>,

    /// The largest body taken, in bytes or as 10k, 5M, 1G. Default: 32M.
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_size: Option<String>,
}

/// A pool of proxies.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Proxies")]
pub(crate) struct Exits {
    /// Go through the proxies listed there, one URL a line; an http or https URL is fetched once, directly.
    #[arg(long, value_name = "FILE|URL", conflicts_with = "proxy")]
    pub(crate) proxies: Option<String>,

    /// Go through an account at a provider that speaks this dialect: a name, or a file. With -U.
    #[arg(long, value_name = "DIALECT", conflicts_with_all = ["proxy", "proxies"])]
    pub(crate) dialect: Option<String>,

    /// The account's gateway. Default: the dialect's.
    #[arg(long, value_name = "URL")]
    pub(crate) gateway: Option<String>,

    /// Come out in this country: two letters.
    #[arg(long, value_name = "CC")]
    pub(crate) country: Option<String>,

    /// Come out in this state or region.
    #[arg(long, value_name = "NAME")]
    pub(crate) state: Option<String>,

    /// Come out in this city.
    #[arg(long, value_name = "NAME")]
    pub(crate) city: Option<String>,

    /// Come out at this postal code.
    #[arg(long, value_name = "CODE")]
    pub(crate) zip: Option<String>,

    /// Come out of the network of this number.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) asn: Option<String>,

    /// Come out of this internet provider's network.
    #[arg(long, value_name = "NAME")]
    pub(crate) isp: Option<String>,

    /// How long a session of the account lasts: 90s, 30m. Default: as the provider keeps it.
    #[arg(long, value_name = "TIME")]
    pub(crate) session_ttl: Option<String>,

    #[command(flatten)]
    pub(crate) password: PasswordSource,

    /// How long an identity keeps its exit. Default: sticky.
    #[arg(long, value_name = "MODE", value_enum)]
    pub(crate) proxy_mode: Option<ModeName>,

    /// The most attempts by one proxy at once. Default: no such limit.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) proxy_concurrency: Option<u32>,

    /// What to do while no proxy works. Default: none.
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(crate) proxy_fallback: Option<FallbackName>,
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
pub(crate) struct Manners {
    /// What to do about robots.txt. Default: ignore it for single pages, obey it in a batch.
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(crate) robots: Option<RobotsName>,

    /// The most requests to one host in a time, evenly spread: 2/s, 30/m, 1/5s. Default: no such limit.
    #[arg(long, value_name = "RATE")]
    pub(crate) rate: Option<String>,

    /// The most requests to one host at once. Default: 6.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) host_concurrency: Option<u32>,
}

/// What is wanted of a page in the browser.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Browser")]
pub(crate) struct View {
    /// Wait until this selector matches.
    #[arg(long, value_name = "CSS")]
    pub(crate) wait_for: Option<String>,

    /// The most time for a page to come to rest, in seconds; then it is taken as it is. Default: 10.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) settle_timeout: Option<String>,

    /// The most time for one attempt in the browser, in seconds. Default: 60.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) page_timeout: Option<String>,

    /// Which form of a page is its body. Default: dom.
    #[arg(long, value_enum, value_name = "FORM")]
    pub(crate) body: Option<BodyName>,

    /// What pages do not load, several separated by commas.
    #[arg(long, value_enum, value_name = "KIND", value_delimiter = ',')]
    pub(crate) block: Vec<LoadName>,

    /// Go down to the page's end before it is read.
    #[arg(long)]
    pub(crate) scroll: bool,
}

/// Pictures of pages.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Browser")]
pub(crate) struct PictureFiles {
    /// Save a picture of the whole page (PNG); starts at the browser tier; given once a URL, in order.
    #[arg(long, value_name = "FILE")]
    pub(crate) screenshot: Vec<PathBuf>,

    /// Save the page as printed; starts at the browser tier; given once a URL, in order.
    #[arg(long, value_name = "FILE")]
    pub(crate) pdf: Vec<PathBuf>,
}

/// How an answer is judged.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Verdict")]
pub(crate) struct Judging {
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

/// What the browser looks like to a site.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Browser")]
pub(crate) struct Looks {
    /// Run the browser with a window: on DISPLAY, or on an Xvfb of its own.
    #[arg(long)]
    pub(crate) headful: bool,

    /// The language the browser is set to: de-DE. Default: the profile's.
    #[arg(long, value_name = "TAG")]
    pub(crate) lang: Option<String>,

    /// The time zone that pages see: Europe/Berlin. Default: the machine's.
    #[arg(long, value_name = "ZONE")]
    pub(crate) timezone: Option<String>,

    /// The position that pages are told: 52.52,13.40. Default: none.
    #[arg(long, value_name = "LAT,LON", allow_hyphen_values = true)]
    pub(crate) geolocation: Option<String>,

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

#[derive(Debug, clap::Args)]
pub(crate) struct Detect {
    /// An answer saved with its status line and headers; - for stdin.
    #[arg(value_name = "FILE", required_unless_present = "rules")]
    pub(crate) file: Option<PathBuf>,

    /// The URL that answered.
    #[arg(long, default_value = "https://site.invalid/")]
    pub(crate) url: String,

    /// The URL that was asked for, where redirects led to another.
    #[arg(long, value_name = "URL")]
    pub(crate) requested: Option<String>,

    /// The tier that got it.
    #[arg(long, value_enum)]
    pub(crate) tier: Option<TierName>,

    /// It came through a proxy, whose own page it may be.
    #[arg(long)]
    pub(crate) via_proxy: bool,

    /// List the rules instead.
    #[arg(long)]
    pub(crate) rules: bool,

    #[command(flatten)]
    pub(crate) judging: Judging,

    /// What to print; with --rules, JSON is one object a line.
    #[arg(long, value_enum, default_value_t = Told::Text)]
    pub(crate) format: Told,
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
    TargetSchema,
    DialectSchema,
    Complete(Shell),
}

fn what(text: &str) -> Result<What, String> {
    match text {
        "man" => return Ok(What::Man),
        "target-schema" => return Ok(What::TargetSchema),
        "dialect-schema" => return Ok(What::DialectSchema),
        _ => {}
    }
    let shell = text.strip_prefix("complete-").and_then(|name| Shell::from_str(name, false).ok());
    shell.map(What::Complete).ok_or_else(|| {
        let shells: Vec<String> =
            Shell::value_variants().iter().map(|shell| format!("complete-{shell}")).collect();
        format!("expected man, target-schema, dialect-schema, {}", shells.join(", "))
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
