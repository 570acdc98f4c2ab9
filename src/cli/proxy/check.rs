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
use crate::cli::exit::{self, Failure};
use crate::cli::runtime::{self, wait_for_interrupt};
use crate::cli::terminal;
use crate::cli::value_enums::{OutputFormat, TierArg};
use crate::cli::values;

/// The arguments of `rungs proxy check`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The echo URL returns the address of its client: as text, or as JSON under ip, origin or query, with the \
        country under country_code, countryCode or country.\n\nExit codes: 0 all proxies work, 1 some do not, 2 wrong usage, \
        3 wrong settings, 130 interrupted."
)]
pub(super) struct ProxyCheckArgs {
    /// URL that returns the address of its client
    #[arg(long, value_name = "URL")]
    echo: String,

    /// Proxy to check; repeatable
    #[arg(short = 'x', long, value_name = "URL")]
    proxy: Vec<String>,

    /// List of proxies, one URL per line; - for stdin
    #[arg(long, value_name = "FILE")]
    proxies: Option<PathBuf>,

    /// Dialect of the provider, a name or a file
    ///
    /// Checks the proxy of a provider account. `rungs proxy dialects` prints the names.
    #[arg(long, value_name = "NAME|FILE")]
    dialect: Option<String>,

    /// Output format
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,

    #[command(flatten)]
    account: AccountArgs,

    #[command(flatten)]
    geo: GeoArgs,

    #[command(flatten)]
    options: CheckOptions,
}

/// Settings of the check.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Check")]
struct CheckOptions {
    /// Number of requests through each proxy
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    requests: u32,

    /// Maximum time of one request, in seconds. Default: 15
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<String>,

    /// Maximum proxies to check concurrently
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,

    /// Tier for requests
    ///
    /// Default: plain.
    #[arg(long, value_name = "TIER", value_enum)]
    tier: Option<TierArg>,

    /// CA certificates for https proxies (PEM)
    ///
    /// Replaces the system's certificates for connections to https proxies.
    #[arg(long, value_name = "FILE")]
    proxy_cacert: Option<PathBuf>,

    /// Accept any certificate from an https proxy
    #[arg(long)]
    proxy_insecure: bool,

    /// Accept any certificate from the echo URL
    #[arg(short = 'k', long)]
    insecure: bool,

    /// CA certificates for the echo URL (PEM)
    ///
    /// Replaces the system's certificates for connections to the echo URL.
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,

    /// Address for a host name; * for every name
    ///
    /// Example: --resolve site.example:443:127.0.0.1. Repeatable.
    #[arg(long, value_name = "HOST:PORT:ADDR")]
    resolve: Vec<String>,
}

pub(super) fn run(args: &ProxyCheckArgs) -> Result<u8, Failure> {
    rungs::parse_url(&args.echo)?;
    let targets = check_targets(args)?;
    let builder = fetcher_builder(&args.options)?;
    let runtime = runtime::start()?;
    let reports = runtime.block_on(async {
        let all = async {
            let checks = targets.iter().map(|target| check(&builder, target, args));
            // Reports keep the order of the arguments.
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
    let mut out = terminal::stdout();
    match args.format {
        OutputFormat::Text => write_table(&mut out, &reports),
        OutputFormat::Json => {
            terminal::write_json(&mut out, &reports.iter().map(CheckReport::to_json).collect::<Vec<_>>())
        }
    }
    .map_err(Failure::stdout)?;
    Ok(if reports.iter().all(CheckReport::has_passed) { exit::OK } else { exit::FAILED })
}

/// A proxy to check, with its requested properties.
struct CheckTarget {
    proxy: Proxy,
    /// The requested country, two capital letters.
    country: Option<String>,
    /// Whether a session was requested, which must keep one address.
    sticky: bool,
}

fn check_targets(args: &ProxyCheckArgs) -> Result<Vec<CheckTarget>, Failure> {
    let unconditional = |proxy| CheckTarget { proxy, country: None, sticky: false };
    let mut targets = Vec::new();
    for text in &args.proxy {
        targets.push(unconditional(
            text.parse().map_err(|error: Error| values::flag_error("-x/--proxy", &error))?,
        ));
    }
    if let Some(path) = &args.proxies {
        let proxies = Proxy::parse_list(&read_list(path)?, &path.display().to_string())?;
        targets.extend(proxies.into_iter().map(unconditional));
    }
    if let Some(name) = &args.dialect {
        let password = args.account.password.read()?.unwrap_or_else(|| Secret::new(""));
        let (dialect, request) = account::credential_request(name, &args.account, &args.geo, password)?;
        let country = request.geo.country.as_ref().map(|code| code.to_ascii_uppercase());
        let country = country.map(|code| if code == "UK" { "GB".to_owned() } else { code });
        let sticky = request.session.is_some();
        targets.push(CheckTarget { proxy: dialect.render(&request)?, country, sticky });
    }
    if targets.is_empty() {
        let message = "missing proxies: give --proxy, --proxies or --dialect";
        return Err(Failure::Usage(message.to_owned()));
    }
    Ok(targets)
}

fn read_list(path: &Path) -> Result<String, Failure> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin().lock())
    } else {
        std::fs::read_to_string(path)
    };
    text.map_err(|cause| Failure::Config(format!("--proxies: could not read {}: {cause}", path.display())))
}

fn fetcher_builder(options: &CheckOptions) -> Result<FetcherBuilder, Failure> {
    let tier = options.tier.unwrap_or(TierArg::Plain).into();
    let mut limits = Limits::default();
    limits.max_body = MAX_REPLY_BYTES;
    let mut builder = Fetcher::builder()
        .target_layers(Targets::without_targets())
        .min_tier(tier)
        .max_tier(tier)
        .retries(0)
        .limits(limits)
        .insecure(options.insecure)
        .proxy_insecure(options.proxy_insecure);
    if let Some(path) = &options.proxy_cacert {
        builder = builder.proxy_ca_file(path);
    }
    if let Some(path) = &options.cacert {
        builder = builder.ca_file(path);
    }
    for text in &options.resolve {
        let (host, port, address) = values::parse_resolve(text)?;
        builder = builder.resolve(host, port, address);
    }
    Ok(builder)
}

/// The result of checking one proxy.
#[derive(Default)]
struct CheckReport {
    proxy: String,
    requests: u32,
    exit_ips: BTreeSet<IpAddr>,
    country: Option<String>,
    times: Vec<Duration>,
    sent: u64,
    received: u64,
    /// The first failure: a stable name, and the whole message.
    failure: Option<(&'static str, String)>,
}

impl CheckReport {
    fn has_passed(&self) -> bool {
        self.failure.is_none()
    }

    /// Returns `works`, or the stable name of the failure.
    fn status(&self) -> &'static str {
        self.failure.as_ref().map_or("works", |(state, _)| state)
    }

    /// Whether the address stays the same across connections. `None` after fewer than two responses.
    fn stickiness(&self) -> Option<&'static str> {
        match (self.times.len(), self.exit_ips.len()) {
            (0 | 1, _) => None,
            (_, 1) => Some("sticky"),
            (replies, addresses) if replies == addresses => Some("rotating"),
            _ => Some("mixed"),
        }
    }

    /// Returns the median time of a response.
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

/// Checks one proxy with sequential requests. Each request has a new identity and a new connection.
async fn check(
    builder: &FetcherBuilder,
    target: &CheckTarget,
    args: &ProxyCheckArgs,
) -> Result<CheckReport, Failure> {
    let timeout = match &args.options.timeout {
        Some(text) => values::parse_seconds("--timeout", text)?,
        None => DEFAULT_TIMEOUT,
    };
    // Each proxy has its own fetcher, so that rate limits and circuits of one do not affect another.
    let fetcher = builder.clone().build()?;
    let rules = ProxyRules::through(target.proxy.clone());
    let mut report = CheckReport { proxy: target.proxy.to_string(), ..CheckReport::default() };
    for number in 0..args.options.requests {
        let session = fetcher.session(&number.to_string()).with_proxy_rules(&rules);
        report.requests += 1;
        let started = Instant::now();
        let result = session.get(&args.echo).timeout(timeout).send().await;
        let time = started.elapsed();
        for identity in [session.identity(), session.plain_identity()] {
            let traffic = identity.traffic();
            report.sent += traffic.sent;
            report.received += traffic.received;
        }
        match result.and_then(|response| parse_reply(&response)) {
            Ok(Ok(reply)) => record_reply(&mut report, target, reply, time),
            Ok(Err(message)) => report.fail("echo", message),
            Err(error) => {
                let is_final = error.is_proxy_auth_error();
                let state = if is_final { "credentials" } else { error.kind().name() };
                report.fail(state, error.chain());
                // Another request would fail in the same way.
                if is_final {
                    break;
                }
            }
        }
    }
    if target.sticky && report.exit_ips.len() > 1 {
        report.fail("drifts", format!("{} addresses in one session", report.exit_ips.len()));
    }
    fetcher.close().await;
    Ok(report)
}

/// Parses the response of the echo URL. The inner error says why the response is unusable.
fn parse_reply(response: &rungs::Response) -> Result<Result<EchoReply, String>, Error> {
    if !response.status().is_success() {
        return Ok(Err(format!("the echo URL answered {}", response.status())));
    }
    Ok(echo::parse(&response.text()?).ok_or_else(|| "the echo URL did not return an address".to_owned()))
}

fn record_reply(report: &mut CheckReport, target: &CheckTarget, reply: EchoReply, time: Duration) {
    report.times.push(time);
    report.exit_ips.insert(reply.ip);
    let Some(country) = reply.country else { return };
    let requested = target.country.as_ref();
    if let Some(requested) = requested.filter(|requested| country.len() == 2 && **requested != country) {
        report.fail(
            "elsewhere",
            format!("the address {} is in {country}, but {requested} was requested", reply.ip),
        );
    }
    report.country.get_or_insert(country);
}

fn write_table(out: &mut impl Write, reports: &[CheckReport]) -> std::io::Result<()> {
    let mut rows = vec![
        ["proxy", "state", "address", "country", "rotation", "responses", "ms", "bytes"].map(str::to_owned),
    ];
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for report in reports {
        let address = report.exit_ips.first().map(|first| match report.exit_ips.len() {
            1 => first.to_string(),
            count => format!("{first} +{}", count - 1),
        });
        rows.push([
            report.proxy.clone(),
            report.status().to_owned(),
            or_dash(address),
            or_dash(report.country.clone()),
            or_dash(report.stickiness().map(str::to_owned)),
            format!("{}/{}", report.times.len(), report.requests),
            or_dash(report.median().map(|time| time.as_millis().to_string())),
            (report.sent + report.received).to_string(),
        ]);
    }
    let widths: Vec<usize> =
        (0..8).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let failures = std::iter::once(None).chain(reports.iter().map(|report| report.failure.as_ref()));
    for (row, failure) in rows.iter().zip(failures) {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{:<width$}", escape_terminal(cell)))
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
        if let Some((_, message)) = failure {
            writeln!(out, "  {}", escape_terminal(message))?;
        }
    }
    Ok(())
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);
/// The maximum size of a response of the echo URL, in bytes. Real responses are far smaller.
const MAX_REPLY_BYTES: u64 = 64 * 1024;
