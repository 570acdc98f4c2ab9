//! Why a fetch is still blocked: what probably gave it away, read from its trace. Pure.

use std::fmt;

use serde::Serialize;

use super::{Attempt, Trace};
use crate::tier::Tier;
use crate::verdict::VerdictKind;

/// What a site tells clients apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DetectionLayer {
    /// The address it comes from: its owner, its country, its past.
    Ip,
    /// How fast and how often it asks.
    Pace,
    /// How it speaks TLS and HTTP/2.
    Tls,
    /// What scripts find, or that none run.
    Javascript,
    /// The headers and cookies it sends.
    Headers,
    /// Who is logged in, or that nobody is.
    Account,
    /// Not the site at all: the proxy on the way.
    Proxy,
    /// The trace does not tell.
    Unknown,
}

impl DetectionLayer {
    /// The stable snake-case name, as JSON writes it.
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

/// For a reader: `the address`, `TLS and HTTP/2`.
impl fmt::Display for DetectionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ip => "the address",
            Self::Pace => "the pace",
            Self::Tls => "TLS and HTTP/2",
            Self::Javascript => "JavaScript",
            Self::Headers => "headers and cookies",
            Self::Account => "the account",
            Self::Proxy => "the proxy",
            Self::Unknown => "unknown",
        })
    }
}

/// Why a fetch is probably still blocked. A guess: nobody but the site knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// What probably gave it away.
    pub layer: DetectionLayer,
    /// What speaks for that, strongest first.
    pub evidence: Vec<String>,
    /// What was tried, a line a tier and outcome: `impersonate: cloudflare challenge`.
    pub tried: Vec<String>,
    /// What to change, most promising first.
    pub suggestions: Vec<String>,
}

/// `probably the address: every tier was refused alike`.
impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layer {
            DetectionLayer::Unknown => write!(f, "unknown")?,
            layer => write!(f, "probably {layer}")?,
        }
        self.evidence.first().map_or(Ok(()), |because| write!(f, ": {because}"))
    }
}

impl Diagnosis {
    pub(crate) fn new(layer: DetectionLayer, because: &[&str], change: &[&str]) -> Self {
        let own = |lines: &[&str]| lines.iter().map(ToString::to_string).collect();
        Self { layer, evidence: own(because), tried: Vec::new(), suggestions: own(change) }
    }
}

impl Trace {
    /// Why the fetch is probably still blocked. `None` when its last attempt was not: a page, or no answer.
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
    let first = match limits {
        1 => "it answered that there are too many requests".to_owned(),
        limits => format!("it answered {limits} times that there are too many requests"),
    };
    Diagnosis::new(
        DetectionLayer::Pace,
        &[&first],
        &["wait, then ask less often and fewer at once", "spread the requests over more addresses with `-x`"],
    )
}

fn proxy() -> Diagnosis {
    Diagnosis::new(
        DetectionLayer::Proxy,
        &["the proxy answered in the site's place"],
        &["check the proxy's password, quota and rules, or take another with `-x`"],
    )
}

fn country(last: &Attempt) -> Diagnosis {
    let from = if last.proxy.is_some() { "the proxy's country" } else { "this country" };
    Diagnosis::new(
        DetectionLayer::Ip,
        &[&format!("it says that it does not serve {from}")],
        &["take a proxy in a country that it serves, with `-x`"],
    )
}

fn account() -> Diagnosis {
    Diagnosis::new(
        DetectionLayer::Account,
        &["it asks for a log-in"],
        &["send the cookies of a logged-in browser with `-b`"],
    )
}

fn captcha(last: &Attempt) -> Diagnosis {
    match last.tier {
        Tier::Plain => Diagnosis::new(
            DetectionLayer::Headers,
            &["the plain tier says that it is a program, and met a captcha at once"],
            &["begin as a browser: `--min-tier impersonate`"],
        ),
        Tier::Impersonate | Tier::Browser => Diagnosis::new(
            DetectionLayer::Ip,
            &["a captcha met even what looks like a browser: the address is not trusted, or asked too often"],
            &[proxy_suggestion(last), "wait, then ask less often"],
        ),
    }
}

/// Only the plain tier was allowed.
fn plain_tier() -> Diagnosis {
    Diagnosis::new(
        DetectionLayer::Headers,
        &["the plain tier says that it is a program, and nothing else was tried"],
        &["allow more: `--max-tier impersonate`"],
    )
}

/// The impersonate tier was the last.
fn impersonate_tier(trace: &Trace, last: &Attempt, kind: VerdictKind) -> Diagnosis {
    if is_clearance_refused(trace) {
        return Diagnosis::new(
            DetectionLayer::Tls,
            &["what the browser had earned was refused one tier lower: it is bound to TLS or to the address"],
            &["let the browser fetch: `--min-tier browser`", "look like the browser installed: no `--as`"],
        );
    }
    match kind {
        VerdictKind::Challenge => Diagnosis::new(
            DetectionLayer::Javascript,
            &["it wants a script run, and no tier tried runs one"],
            &["allow more: `--max-tier browser`"],
        ),
        VerdictKind::Stub if is_unexpected(last) => missing_content(last.tier),
        VerdictKind::Stub => Diagnosis::new(
            DetectionLayer::Javascript,
            &["the page came without its content: scripts may fill it"],
            &["allow more: `--max-tier browser`"],
        ),
        _ => Diagnosis::new(
            layer_for_vendor(last),
            &["a browser's looks alone were refused, and no browser was tried"],
            &["allow more, it tells: `--max-tier browser`", proxy_suggestion(last)],
        ),
    }
}

/// The browser was the last.
fn browser_tier(trace: &Trace, last: &Attempt, kind: VerdictKind) -> Diagnosis {
    match kind {
        VerdictKind::Challenge => Diagnosis::new(
            DetectionLayer::Javascript,
            &["the challenge ran in the browser and did not let go"],
            &[
                proxy_suggestion(last),
                "compare with a window: `rungs diagnose`",
                "give it longer: `--page-timeout`",
            ],
        ),
        VerdictKind::Stub if is_unexpected(last) => missing_content(last.tier),
        VerdictKind::Stub => Diagnosis::new(
            DetectionLayer::Ip,
            &["a browser got an empty page too, which is how some sites refuse in silence"],
            &[proxy_suggestion(last), "if the page is right, say what it must have: `--expect-css`"],
        ),
        _ if has_verdict(trace, VerdictKind::Challenge) => Diagnosis::new(
            DetectionLayer::Ip,
            &["the browser came past the challenge and was refused all the same"],
            &[proxy_suggestion(last), "begin anew, without its cookies: another `--session`"],
        ),
        _ if trace.attempts.iter().any(|attempt| attempt.tier < Tier::Browser) => Diagnosis::new(
            DetectionLayer::Ip,
            &["a real browser was refused like the tiers below: what they share is the address"],
            &[proxy_suggestion(last), "or the account or cookies sent are barred: another `--session`"],
        ),
        _ => Diagnosis::new(
            DetectionLayer::Ip,
            &["a real browser was refused"],
            &[proxy_suggestion(last), "or the account or cookies sent are barred: another `--session`"],
        ),
    }
}

fn missing_content(tier: Tier) -> Diagnosis {
    let change = "check `--expect-css`, `--expect-text` and `--expect-min-bytes` against the page";
    let higher = "allow more: `--max-tier browser`";
    let change: &[&str] = if tier == Tier::Browser { &[change] } else { &[higher, change] };
    Diagnosis::new(DetectionLayer::Unknown, &["a page came that lacks what it is said to have"], change)
}

/// What the vendor is known to look at first when it refuses without a challenge, after their own pages.
fn layer_for_vendor(attempt: &Attempt) -> DetectionLayer {
    let vendor = attempt.verdict.as_ref().and_then(|verdict| verdict.vendor.as_deref());
    match vendor {
        // Their hard blocks are rules on addresses.
        Some("cloudflare" | "datadome" | "aws-waf" | "sucuri" | "ddos-guard" | "google" | "linkedin") => {
            DetectionLayer::Ip
        }
        // Their refusals come before any script, on the handshake.
        Some("akamai") => DetectionLayer::Tls,
        // They let in who ran their script.
        Some("kasada" | "human" | "imperva" | "f5" | "reblaze" | "vercel") => DetectionLayer::Javascript,
        _ => DetectionLayer::Unknown,
    }
}

fn proxy_suggestion(attempt: &Attempt) -> &'static str {
    if attempt.proxy.is_some() {
        "come from another address: another proxy"
    } else {
        "come from another address: `-x`"
    }
}

/// The impersonate tier was refused again with what the browser had earned: by this fetch or by another,
/// which is the only reason to ask that tier again after a refusal.
fn is_clearance_refused(trace: &Trace) -> bool {
    let dressed = |attempt: &Attempt| {
        attempt.tier == Tier::Impersonate
            && matches!(kind(attempt), Some(VerdictKind::Challenge | VerdictKind::Block))
    };
    let earned =
        |attempt: &Attempt| attempt.tier == Tier::Browser && kind(attempt) == Some(VerdictKind::Genuine);
    let last_two = trace.attempts.windows(2).last();
    last_two.is_some_and(|pair| dressed(&pair[1]) && (dressed(&pair[0]) || earned(&pair[0])))
}

/// Whether the stub is one by the caller's own word.
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

/// Each tier with its outcomes, no line twice.
fn format_attempts(attempts: &[Attempt]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for attempt in attempts {
        let outcome = match (&attempt.verdict, &attempt.error) {
            (Some(verdict), _) => verdict.to_string(),
            (None, Some(error)) => format!("{} error", error.kind),
            (None, None) => "no answer".to_owned(),
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
