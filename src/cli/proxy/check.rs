//! `rungs proxy check`.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rungs::redact::escape_terminal;
use rungs::target::Targets;
use rungs::{Error, Fetcher, FetcherBuilder, Limits, Proxy, ProxyRules, Secret};
use serde_json::{Value, json};

use super::account::{self, AccountArgs, GeoArgs};
use super::echo::{self, EchoReply};
use crate::cli::config;
use crate::cli::exit::{self, Failure};
use crate::cli::runtime::{self, wait_for_interrupt};
use crate::cli::value_enums::{OutputFormat, TierArg};

/// Ask an echo URL through each proxy, every time on a connection of its own, and say whether it works,
/// where it comes out, whether the exit stays, how long it takes and what it costs.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The echo URL answers with the address it was asked from: alone, or as JSON under ip, origin or query, with the \
        country under country_code, countryCode or country.\n\nExit codes: 0 all work, 1 some do not, 2 wrong usage, 3 wrong settings, \
        130 interrupted."
)]
pub(super) struct ProxyCheckArgs {
    /// What to ask.
    #[arg(long, value_name = "URL")]
    echo: String,

    /// A proxy to check; several can be given.
    #[arg(short = 'x', long, value_name = "URL")]
    proxy: Vec<String>,

    /// Check the proxies listed in this file, one URL a line; - for stdin.
    #[arg(long, value_name = "FILE")]
    proxies: Option<PathBuf>,

    /// Check what this provider's dialect makes of an account: a name of `rungs proxy dialects`, or a file.
    #[arg(long, value_name = "NAME|FILE")]
    dialect: Option<String>,

    #[command(flatten)]
    account: AccountArgs,

    #[command(flatten)]
    geo: GeoArgs,

    #[command(flatten)]
    options: CheckOptions,

    /// What to print.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

/// How they are checked.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Check")]
struct CheckOptions {
    /// How often each proxy is asked.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    requests: u32,

    /// The most time for one request, in seconds. Default: 15.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<String>,

    /// The most proxies checked at once.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,

    /// The tier that asks. Default: plain.
    #[arg(long, value_name = "TIER", value_enum)]
    tier: Option<TierArg>,

    /// Trust the CA certificates in this file (PEM) for https proxies instead of the system's.
    #[arg(long, value_name = "FILE")]
    proxy_cacert: Option<PathBuf>,

    /// Take any certificate of an https proxy.
    #[arg(long)]
    proxy_insecure: bool,

    /// Take any certificate of the echo URL.
    #[arg(short = 'k', long)]
    insecure: bool,

    /// Trust the CA certificates in this file (PEM) instead of the system's.
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,

    /// Use this address for a name; `*` stands for every name.
    #[arg(long, value_name = "HOST:PORT:ADDR")]
    resolve: Vec<String>,
}

pub(super) fn run(args: &ProxyCheckArgs) -> Result<u8, Failure> {
    rungs::parse_url(&args.echo)?;
    let subjects = check_targets(args)?;
    let builder = fetcher_builder(&args.options)?;
    let runtime = runtime::start()?;
    let reports = runtime.block_on(async {
        let all = async {
            let checks = subjects.iter().map(|subject| check(&builder, subject, args));
            // In the order they were given, for a reader who compares.
            futures_util::stream::iter(checks)
                .buffered(args.options.concurrency.into())
                .collect::<Vec<Result<CheckReport, Failure>>>()
                .await
        };
        tokio::select! {
            reports = all => Some(reports),
            () = wait_for_interrupt() => None,
        }
    });
    runtime.shutdown_background();
    let Some(reports) = reports else { return Ok(exit::INTERRUPTED) };
    let reports = reports.into_iter().collect::<Result<Vec<CheckReport>, Failure>>()?;
    let mut out = std::io::stdout().lock();
    match args.format {
        OutputFormat::Text => write_table(&mut out, &reports),
        OutputFormat::Json => {
            writeln!(out, "{}", Value::from(reports.iter().map(CheckReport::to_json).collect::<Vec<_>>()))
        }
    }
    .map_err(Failure::stdout)?;
    Ok(if reports.iter().all(CheckReport::has_passed) { exit::OK } else { exit::FAILED })
}

/// What is checked: a proxy, and what it was asked to be.
struct CheckTarget {
    proxy: Proxy,
    /// The country that was wished, two letters in capitals.
    country: Option<String>,
    /// Whether one exit was wished.
    sticky: bool,
}

fn check_targets(args: &ProxyCheckArgs) -> Result<Vec<CheckTarget>, Failure> {
    let bare = |proxy| CheckTarget { proxy, country: None, sticky: false };
    let mut subjects = Vec::new();
    for text in &args.proxy {
        subjects.push(bare(text.parse().map_err(|error: Error| config::flag_error("-x/--proxy", &error))?));
    }
    if let Some(path) = &args.proxies {
        subjects
            .extend(Proxy::parse_list(&read_list(path)?, &path.display().to_string())?.into_iter().map(bare));
    }
    if let Some(name) = &args.dialect {
        let password = args.account.password.read()?.unwrap_or_else(|| Secret::new(""));
        let (dialect, ask) = account::credential_request(name, &args.account, &args.geo, password)?;
        let country = ask.geo.country.as_ref().map(|code| code.to_ascii_uppercase());
        let country = country.map(|code| if code == "UK" { "GB".to_owned() } else { code });
        subjects.push(CheckTarget { proxy: dialect.render(&ask)?, country, sticky: ask.session.is_some() });
    }
    if subjects.is_empty() {
        let message = "which proxies? name them by --proxy, --proxies or --dialect";
        return Err(Failure::Usage(message.to_owned()));
    }
    Ok(subjects)
}

fn read_list(path: &Path) -> Result<String, Failure> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin().lock())
    } else {
        std::fs::read_to_string(path)
    };
    text.map_err(|cause| Failure::Config(format!("--proxies: could not read {}: {cause}", path.display())))
}

fn fetcher_builder(manner: &CheckOptions) -> Result<FetcherBuilder, Failure> {
    let tier = manner.tier.unwrap_or(TierArg::Plain).into();
    let mut bounds = Limits::default();
    bounds.max_body = MAX_REPLY_BYTES;
    let mut builder = Fetcher::builder()
        .target_layers(Targets::without_targets())
        .min_tier(tier)
        .max_tier(tier)
        .retries(0)
        .limits(bounds)
        .insecure(manner.insecure)
        .proxy_insecure(manner.proxy_insecure);
    if let Some(path) = &manner.proxy_cacert {
        builder = builder.proxy_ca_file(path);
    }
    if let Some(path) = &manner.cacert {
        builder = builder.ca_file(path);
    }
    for text in &manner.resolve {
        let (host, port, address) = config::parse_resolve(text)?;
        builder = builder.resolve(host, port, address);
    }
    Ok(builder)
}

/// What one proxy is like.
#[derive(Default)]
struct CheckReport {
    proxy: String,
    requests: u32,
    exit_ips: BTreeSet<IpAddr>,
    country: Option<String>,
    times: Vec<Duration>,
    sent: u64,
    received: u64,
    /// The first thing that went wrong: a stable name, and the whole message.
    failure: Option<(&'static str, String)>,
}

impl CheckReport {
    fn has_passed(&self) -> bool {
        self.failure.is_none()
    }

    /// `works`, or what kind of thing went wrong.
    fn status(&self) -> &'static str {
        self.failure.as_ref().map_or("works", |(state, _)| state)
    }

    /// Whether the exit stays from one connection to the next; a single answer does not tell.
    fn stickiness(&self) -> Option<&'static str> {
        match (self.times.len(), self.exit_ips.len()) {
            (0 | 1, _) => None,
            (_, 1) => Some("sticky"),
            (answers, exits) if answers == exits => Some("rotating"),
            _ => Some("mixed"),
        }
    }

    /// The time in the middle.
    fn median(&self) -> Option<Duration> {
        let mut times = self.times.clone();
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    }

    fn fail(&mut self, state: &'static str, message: impl Into<String>) {
        self.failure.get_or_insert_with(|| (state, message.into()));
    }

    fn to_json(&self) -> Value {
        json!({
            "proxy": self.proxy,
            "state": self.status(),
            "error": self.failure.as_ref().map(|(_, message)| message),
            "requests": self.requests,
            "answers": self.times.len(),
            "exits": self.exit_ips,
            "country": self.country,
            "verdict": self.stickiness(),
            "median_ms": self.median().map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            "bytes_sent": self.sent,
            "bytes_received": self.received,
        })
    }
}

/// Asks through one proxy, one request after the other; each visitor is a new one, on connections of its own.
async fn check(
    builder: &FetcherBuilder,
    subject: &CheckTarget,
    args: &ProxyCheckArgs,
) -> Result<CheckReport, Failure> {
    let patience = match &args.options.timeout {
        Some(text) => config::parse_seconds("--timeout", text)?,
        None => DEFAULT_TIMEOUT,
    };
    // A fetcher each: what one proxy does slows down no other.
    let fetcher = builder.clone().build()?;
    let route = ProxyRules::through(subject.proxy.clone());
    let mut report = CheckReport { proxy: subject.proxy.to_string(), ..CheckReport::default() };
    for number in 0..args.options.requests {
        let visitor = fetcher.session(&number.to_string()).with_proxy_rules(&route);
        report.requests += 1;
        let asked = Instant::now();
        let answer = visitor.get(&args.echo).timeout(patience).send().await;
        let time = asked.elapsed();
        for identity in [visitor.identity(), visitor.plain_identity()] {
            let traffic = identity.traffic();
            report.sent += traffic.sent;
            report.received += traffic.received;
        }
        match answer.and_then(|page| parse_reply(&page)) {
            Ok(Ok(seen)) => record_reply(&mut report, subject, seen, time),
            Ok(Err(what)) => report.fail("echo", what),
            Err(error) => {
                let is_final = error.is_proxy_auth_error();
                let state = if is_final { "credentials" } else { error.kind().name() };
                report.fail(state, error.chain());
                // It will say the same again.
                if is_final {
                    break;
                }
            }
        }
    }
    if subject.sticky && report.exit_ips.len() > 1 {
        report.fail("drifts", format!("{} exits in one session", report.exit_ips.len()));
    }
    fetcher.close().await;
    Ok(report)
}

/// What the echo URL says, or why that says nothing.
fn parse_reply(page: &rungs::Response) -> Result<Result<EchoReply, String>, Error> {
    if !page.status().is_success() {
        return Ok(Err(format!("the echo URL answered {}", page.status())));
    }
    Ok(echo::parse(&page.text()?).ok_or_else(|| "the echo URL did not answer with an address".to_owned()))
}

fn record_reply(report: &mut CheckReport, subject: &CheckTarget, seen: EchoReply, time: Duration) {
    report.times.push(time);
    report.exit_ips.insert(seen.ip);
    let Some(country) = seen.country else { return };
    if let Some(wished) = subject.country.as_ref().filter(|wished| country.len() == 2 && **wished != country)
    {
        report.fail("elsewhere", format!("the exit {} is in {country}, and {wished} was asked for", seen.ip));
    }
    report.country.get_or_insert(country);
}

fn write_table(out: &mut impl Write, reports: &[CheckReport]) -> std::io::Result<()> {
    let mut rows =
        vec![["proxy", "state", "exit", "country", "exits", "answers", "ms", "bytes"].map(str::to_owned)];
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for report in reports {
        let exit = report.exit_ips.first().map(|first| match report.exit_ips.len() {
            1 => first.to_string(),
            all => format!("{first} +{}", all - 1),
        });
        rows.push([
            report.proxy.clone(),
            report.status().to_owned(),
            or_dash(exit),
            or_dash(report.country.clone()),
            or_dash(report.stickiness().map(str::to_owned)),
            format!("{}/{}", report.times.len(), report.requests),
            or_dash(report.median().map(|time| time.as_millis().to_string())),
            (report.sent + report.received).to_string(),
        ]);
    }
    let widths: Vec<usize> =
        (0..8).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let faults = std::iter::once(None).chain(reports.iter().map(|report| report.failure.as_ref()));
    for (row, fault) in rows.iter().zip(faults) {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{:<width$}", escape_terminal(cell)))
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
        if let Some((_, message)) = fault {
            writeln!(out, "  {}", escape_terminal(message))?;
        }
    }
    Ok(())
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);
/// An address with all that some sites say of it is far smaller.
const MAX_REPLY_BYTES: u64 = 64 * 1024;
