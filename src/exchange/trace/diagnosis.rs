//! Infers from the trace of a blocked fetch what the site probably detected. Pure.

use std::fmt;

use serde::Serialize;

use super::{Attempt, Trace};
use crate::exchange::tier::Tier;
use crate::exchange::verdict::VerdictKind;

/// The property by which a site distinguishes clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DetectionLayer {
    /// The IP address: its owner, country and reputation.
    Ip,
    /// The rate and number of requests.
    Pace,
    /// The TLS and HTTP/2 fingerprint.
    Tls,
    /// The results of scripts, or that scripts do not run.
    Javascript,
    /// The headers and cookies of the request.
    Headers,
    /// The account that is logged in, or that none is.
    Account,
    /// The proxy, not the site.
    Proxy,
    /// The trace does not show it.
    Unknown,
}

impl DetectionLayer {
    /// Returns the stable snake-case name used in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Pace => "pace",
            Self::Tls => "tls",
            Self::Javascript => "javascript",
            Self::Headers => "headers",
            Self::Account => "account",
            Self::Proxy => "proxy",
            Self::Unknown => "unknown",
        }
    }
}

/// Writes a human-readable name, such as `the address` or `TLS and HTTP/2`.
impl fmt::Display for DetectionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ip => "the address",
            Self::Pace => "the request rate",
            Self::Tls => "TLS and HTTP/2",
            Self::Javascript => "JavaScript",
            Self::Headers => "headers and cookies",
            Self::Account => "the account",
            Self::Proxy => "the proxy",
            Self::Unknown => "unknown",
        })
    }
}

/// The probable reason why a fetch is blocked. It is inferred: only the site knows the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The property that the site probably detected.
    pub layer: DetectionLayer,
    /// The evidence for `layer`, strongest first.
    #[serde(rename = "because")]
    pub evidence: Vec<String>,
    /// The attempts, one line per tier and outcome: `impersonate: cloudflare challenge`.
    pub tried: Vec<String>,
    /// Suggested changes, most promising first.
    #[serde(rename = "change")]
    pub suggestions: Vec<String>,
}

/// Writes the layer and the strongest evidence, such as `probably the address: a real browser was refused`.
impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layer {
            DetectionLayer::Unknown => write!(f, "unknown")?,
            layer => write!(f, "probably {layer}")?,
        }
        self.evidence.first().map_or(Ok(()), |evidence| write!(f, ": {evidence}"))
    }
}

impl Diagnosis {
    pub(crate) fn new(layer: DetectionLayer, evidence: &[&str], suggestions: &[&str]) -> Self {
        let own = |lines: &[&str]| lines.iter().map(ToString::to_string).collect();
        Self { layer, evidence: own(evidence), tried: Vec::new(), suggestions: own(suggestions) }
    }
}

impl Trace {
    /// Returns the probable reason why the fetch is blocked. `None` if its last attempt was not refused.
    #[must_use]
    pub fn diagnosis(&self) -> Option<Diagnosis> {
        let last = self.attempts.last()?;
        let kind = kind(last).filter(|kind| is_refusal(*kind))?;
        let mut diagnosis = match kind {
            VerdictKind::RateLimit => request_rate(self),
            VerdictKind::ProxyFault => proxy(),
            VerdictKind::Geo => country(last),
            VerdictKind::LoginWall => account(),
            VerdictKind::Captcha => captcha(last),
            kind => match last.tier {
                Tier::Plain => plain_tier(),
                Tier::Impersonate => impersonate_tier(self, last, kind),
                Tier::Browser => browser_tier(self, last, kind),
            },
        };
        diagnosis.tried = format_attempts(&self.attempts);
        Some(diagnosis)
    }
}

fn request_rate(trace: &Trace) -> Diagnosis {
    let limits =
        trace.attempts.iter().filter(|attempt| kind(attempt) == Some(VerdictKind::RateLimit)).count();
    let evidence = match limits {
        1 => "the site answered that there are too many requests".to_owned(),
        limits => format!("the site answered {limits} times that there are too many requests"),
    };
    Diagnosis::new(
        DetectionLayer::Pace,
        &[&evidence],
        &[
            "wait, then lower `--rate` and `--host-concurrency`",
            "spread the requests over more addresses with `--proxies`",
        ],
    )
}

fn proxy() -> Diagnosis {
    Diagnosis::new(
        DetectionLayer::Proxy,
        &["the proxy answered instead of the site"],
        &["check the proxy's password, quota and rules, or use another proxy with `-x`"],
    )
}

fn country(last: &Attempt) -> Diagnosis {
    let from = if last.proxy.is_some() { "the proxy's country" } else { "this country" };
    Diagnosis::new(
        DetectionLayer::Ip,
        &[&format!("the site says that it does not serve {from}")],
        &["use a proxy in a country that the site serves, with `-x`"],
    )
}

fn account() -> Diagnosis {
    Diagnosis::new(
        DetectionLayer::Account,
        &["the page requires a login"],
        &["send the cookies of a logged-in browser with `-b`"],
    )
}

fn captcha(last: &Attempt) -> Diagnosis {
    match last.tier {
        Tier::Plain => Diagnosis::new(
            DetectionLayer::Headers,
            &["the plain tier identifies itself as a program, and got a CAPTCHA at once"],
            &["start as a browser: `--min-tier impersonate`"],
        ),
        Tier::Impersonate | Tier::Browser => Diagnosis::new(
            DetectionLayer::Ip,
            &[
                "even a browser fingerprint got a CAPTCHA: the address is not trusted, or sends too many requests",
            ],
            &[proxy_suggestion(last), "wait, then lower `--rate`"],
        ),
    }
}

/// The diagnosis if the plain tier was the last.
fn plain_tier() -> Diagnosis {
    Diagnosis::new(
        DetectionLayer::Headers,
        &["the plain tier identifies itself as a program, and no other tier was tried"],
        &["allow a higher tier: `--max-tier impersonate`"],
    )
}

/// The diagnosis if the impersonate tier was the last.
fn impersonate_tier(trace: &Trace, last: &Attempt, kind: VerdictKind) -> Diagnosis {
    if is_clearance_refused(trace) {
        return Diagnosis::new(
            DetectionLayer::Tls,
            &[
                "the browser's clearance was refused on the impersonate tier: it is bound to TLS or to the address",
            ],
            &[
                "fetch with the browser: `--min-tier browser`",
                "use the profile of the installed browser: omit `--as`",
            ],
        );
    }
    match kind {
        VerdictKind::Challenge => Diagnosis::new(
            DetectionLayer::Javascript,
            &["the site requires JavaScript, and no attempted tier runs it"],
            &["allow a higher tier: `--max-tier browser`"],
        ),
        VerdictKind::Stub if is_unexpected(last) => missing_content(last.tier),
        VerdictKind::Stub => Diagnosis::new(
            DetectionLayer::Javascript,
            &["the page has no content: scripts may load it"],
            &["allow a higher tier: `--max-tier browser`"],
        ),
        _ => Diagnosis::new(
            layer_for_vendor(last),
            &["a browser fingerprint was refused, and the browser tier was not tried"],
            &["allow a higher tier to learn more: `--max-tier browser`", proxy_suggestion(last)],
        ),
    }
}

/// The diagnosis if the browser tier was the last.
fn browser_tier(trace: &Trace, last: &Attempt, kind: VerdictKind) -> Diagnosis {
    match kind {
        VerdictKind::Challenge => Diagnosis::new(
            DetectionLayer::Javascript,
            &["the challenge ran in the browser and was not passed"],
            &[
                proxy_suggestion(last),
                "compare with a browser window: `rungs diagnose`",
                "allow more time: `--page-timeout`",
            ],
        ),
        VerdictKind::Stub if is_unexpected(last) => missing_content(last.tier),
        VerdictKind::Stub => Diagnosis::new(
            DetectionLayer::Ip,
            &["the browser got an empty page too: some sites refuse clients that way"],
            &[proxy_suggestion(last), "if the page is complete, state what it must contain: `--expect-css`"],
        ),
        _ if has_verdict(trace, VerdictKind::Challenge) => Diagnosis::new(
            DetectionLayer::Ip,
            &["the browser passed the challenge and was refused afterwards"],
            &[proxy_suggestion(last), "start without cookies: use another `--session`"],
        ),
        _ if trace.attempts.iter().any(|attempt| attempt.tier < Tier::Browser) => Diagnosis::new(
            DetectionLayer::Ip,
            &["a real browser was refused like the lower tiers: they share the address"],
            &[proxy_suggestion(last), "if the account or its cookies are blocked, use another `--session`"],
        ),
        _ => Diagnosis::new(
            DetectionLayer::Ip,
            &["a real browser was refused"],
            &[proxy_suggestion(last), "if the account or its cookies are blocked, use another `--session`"],
        ),
    }
}

fn missing_content(tier: Tier) -> Diagnosis {
    let check = "compare the page with `--expect-css`, `--expect-text` and `--expect-min-bytes`";
    let higher = "allow a higher tier: `--max-tier browser`";
    let check: &[&str] = if tier == Tier::Browser { &[check] } else { &[higher, check] };
    Diagnosis::new(DetectionLayer::Unknown, &["the page does not contain what was expected"], check)
}

/// Returns the layer that the vendor checks first when it refuses without a challenge, according to the vendors' own
/// documentation.
fn layer_for_vendor(attempt: &Attempt) -> DetectionLayer {
    let vendor = attempt.verdict.as_ref().and_then(|verdict| verdict.vendor.as_deref());
    match vendor {
        // Their hard blocks are rules on IP addresses.
        Some("cloudflare" | "datadome" | "aws-waf" | "sucuri" | "ddos-guard" | "google" | "linkedin") => {
            DetectionLayer::Ip
        }
        // It refuses at the TLS handshake, before any script runs.
        Some("akamai") => DetectionLayer::Tls,
        // They admit clients that ran their script.
        Some("kasada" | "human" | "imperva" | "f5" | "reblaze" | "vercel") => DetectionLayer::Javascript,
        _ => DetectionLayer::Unknown,
    }
}

fn proxy_suggestion(attempt: &Attempt) -> &'static str {
    if attempt.proxy.is_some() {
        "use another address: try another proxy"
    } else {
        "use another address: try a proxy with `-x`"
    }
}

/// Whether the impersonate tier was refused with a clearance that the browser earned, in this fetch or in another.
/// Only a new clearance makes a fetch request that tier again after a refusal.
fn is_clearance_refused(trace: &Trace) -> bool {
    let refused = |attempt: &Attempt| {
        attempt.tier == Tier::Impersonate
            && matches!(kind(attempt), Some(VerdictKind::Challenge | VerdictKind::Block))
    };
    let earned =
        |attempt: &Attempt| attempt.tier == Tier::Browser && kind(attempt) == Some(VerdictKind::Genuine);
    let last_two = trace.attempts.windows(2).last();
    last_two.is_some_and(|pair| refused(&pair[1]) && (refused(&pair[0]) || earned(&pair[0])))
}

/// Whether the page is a stub because of the caller's expectation.
fn is_unexpected(attempt: &Attempt) -> bool {
    let verdict = attempt.verdict.as_ref();
    verdict.is_some_and(|verdict| verdict.evidence.iter().any(|found| found.rule.starts_with("expect/")))
}

fn has_verdict(trace: &Trace, wanted: VerdictKind) -> bool {
    trace.attempts.iter().any(|attempt| kind(attempt) == Some(wanted))
}

fn kind(attempt: &Attempt) -> Option<VerdictKind> {
    attempt.verdict.as_ref().map(|verdict| verdict.kind)
}

const fn is_refusal(kind: VerdictKind) -> bool {
    !matches!(kind, VerdictKind::Genuine | VerdictKind::OriginError)
}

/// Returns one line per tier and outcome, without duplicates.
fn format_attempts(attempts: &[Attempt]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for attempt in attempts {
        let outcome = match (&attempt.verdict, &attempt.error) {
            (Some(verdict), _) => verdict.to_string(),
            (None, Some(error)) => format!("{} error", error.kind),
            (None, None) => "no response".to_owned(),
        };
        let by = if attempt.proxy.is_some() { " by proxy" } else { "" };
        let line = format!("{}{by}: {outcome}", attempt.tier);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

#[cfg(test)]
mod tests;
