//! The probes in order, and the result of each.

use std::fmt;

use serde::Serialize;

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::tier::Tier;
use crate::exchange::trace::{Attempt, Trace};
use crate::exchange::verdict::VerdictKind;
use crate::fetcher::Response;

/// One request of a diagnosis. Each variant states its difference from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Probe {
    /// The plain client, which identifies itself.
    Plain,
    /// A browser's headers over the plain tier's TLS and HTTP/2.
    Headers,
    /// A browser's headers, TLS and HTTP/2.
    Impersonate,
    /// The impersonate tier again, with the cookies that the first response set.
    Cookies,
    /// The impersonate tier with another browser profile.
    Profile,
    /// The browser without a window.
    Browser,
    /// The impersonate tier with the clearance that the browser earned.
    Cleared,
    /// The browser with a window.
    Window,
    /// The impersonate tier without the proxy.
    Direct,
}

impl Probe {
    /// All probes in the order they are tried.
    pub const ALL: [Self; 9] = [
        Self::Plain,
        Self::Headers,
        Self::Impersonate,
        Self::Cookies,
        Self::Profile,
        Self::Browser,
        Self::Cleared,
        Self::Window,
        Self::Direct,
    ];

    /// Returns the stable snake-case name used in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Headers => "headers",
            Self::Impersonate => "impersonate",
            Self::Cookies => "cookies",
            Self::Profile => "profile",
            Self::Browser => "browser",
            Self::Cleared => "cleared",
            Self::Window => "window",
            Self::Direct => "direct",
        }
    }

    /// Returns the tier of the probe.
    #[must_use]
    pub const fn tier(self) -> Tier {
        match self {
            Self::Plain => Tier::Plain,
            Self::Browser | Self::Window => Tier::Browser,
            _ => Tier::Impersonate,
        }
    }

    /// Returns the condition under which the probe is tried.
    #[must_use]
    pub const fn condition(self) -> &'static str {
        match self {
            Self::Plain | Self::Impersonate => "always",
            Self::Headers => "when plain is refused",
            Self::Cookies => "when impersonate is refused and the site set cookies",
            Self::Profile | Self::Browser => "when impersonate is refused",
            Self::Cleared => "when impersonate is refused and the browser passes",
            Self::Window => "when the browser is refused",
            Self::Direct => "when nothing passes through the proxy",
        }
    }
}

/// Writes a human-readable name: the tier and the difference.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Plain => "plain",
            Self::Headers => "plain's TLS, a browser's headers",
            Self::Impersonate => "impersonate",
            Self::Cookies => "impersonate, again with its cookies",
            Self::Profile => "impersonate, another browser",
            Self::Browser => "browser",
            Self::Cleared => "impersonate, the browser's cookies",
            Self::Window => "browser, with a window",
            Self::Direct => "impersonate, without the proxy",
        })
    }
}

/// The result of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProbeResult {
    /// A genuine response of the site, with any status.
    Passed,
    /// A block of any kind.
    Refused,
    /// No response.
    Failed,
    /// The probe was not tried.
    Skipped,
}

/// One probe and its result.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ProbeReport {
    /// The probe.
    #[serde(rename = "way")]
    pub probe: Probe,
    /// The result.
    #[serde(rename = "found")]
    pub result: ProbeResult,
    /// Its attempts. There is a second one only after a failure, or if the site asked to wait.
    pub attempts: Vec<Attempt>,
    /// The reason why it was skipped, or the error.
    pub reason: Option<String>,
}

impl ProbeReport {
    pub(super) fn from_skipped(probe: Probe, reason: &str) -> Self {
        Self { probe, result: ProbeResult::Skipped, attempts: Vec::new(), reason: Some(reason.to_owned()) }
    }

    pub(super) fn from_outcome(probe: Probe, outcome: &Result<Response, Error>) -> Self {
        let (result, attempts, reason) = match outcome {
            Ok(page) => (ProbeResult::Passed, page.trace().attempts(), None),
            Err(error) => {
                let found = if error.is_blocked() { ProbeResult::Refused } else { ProbeResult::Failed };
                let attempts = error.trace().map(Trace::attempts).unwrap_or_default();
                (found, attempts, (found == ProbeResult::Failed).then(|| error.chain()))
            }
        };
        Self { probe, result, attempts: attempts.to_vec(), reason }
    }

    /// Returns the verdict kind of the last response.
    pub(super) fn kind(&self) -> Option<VerdictKind> {
        self.attempts.last()?.verdict.as_ref().map(|verdict| verdict.kind)
    }
}

/// Checks whether `probe` would add information after `steps`. Returns the reason if it would not. Pure.
pub(super) fn check_useful(probe: Probe, steps: &[ProbeReport]) -> std::result::Result<(), &'static str> {
    let passed = |probe| result_of(probe, steps) == Some(ProbeResult::Passed);
    if let Some(reason) = steps.iter().find_map(stop_reason) {
        return Err(reason);
    }
    let skip_if = |is_useless: bool, reason| if is_useless { Err(reason) } else { Ok(()) };
    match probe {
        Probe::Plain | Probe::Impersonate => Ok(()),
        Probe::Headers => skip_if(passed(Probe::Plain), "plain passed"),
        Probe::Cookies | Probe::Profile | Probe::Browser => {
            skip_if(passed(Probe::Impersonate), "impersonate passed")
        }
        Probe::Cleared if passed(Probe::Impersonate) => Err("impersonate passed"),
        Probe::Cleared => skip_if(!passed(Probe::Browser), "the browser did not earn a clearance"),
        Probe::Window => skip_if(
            result_of(Probe::Browser, steps) != Some(ProbeResult::Refused),
            "the browser was not refused",
        ),
        Probe::Direct => {
            skip_if(steps.iter().any(|report| report.result == ProbeResult::Passed), "another probe passed")
        }
    }
}

pub(super) fn result_of(probe: Probe, steps: &[ProbeReport]) -> Option<ProbeResult> {
    steps.iter().find(|report| report.probe == probe).map(|report| report.result)
}

/// Returns the reason to stop sending probes after `report`, if any.
fn stop_reason(report: &ProbeReport) -> Option<&'static str> {
    if report.kind() == Some(VerdictKind::RateLimit) {
        return Some("the site limits the request rate");
    }
    let error = report.attempts.last()?.error.as_ref()?;
    match error.kind {
        ErrorKind::Dns => Some("the host name could not be resolved"),
        ErrorKind::Robots => Some("robots.txt disallows the URL"),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::exchange::trace::AttemptError;
    use crate::exchange::verdict::Verdict;

    /// A report of a probe that got a response with this verdict.
    pub(in crate::fetcher::diagnose) fn answered(probe: Probe, kind: VerdictKind) -> ProbeReport {
        let found = if kind == VerdictKind::Genuine { ProbeResult::Passed } else { ProbeResult::Refused };
        let verdict = Verdict { kind, vendor: None, confidence: 1.0, evidence: Vec::new() };
        let attempt = Attempt {
            tier: probe.tier(),
            browser_profile: None,
            proxy: None,
            session: None,
            fallback: false,
            status: Some(200),
            verdict: Some(verdict),
            waited: Duration::ZERO,
            elapsed: Duration::ZERO,
            error: None,
            next: None,
        };
        ProbeReport { probe, result: found, attempts: vec![attempt], reason: None }
    }

    /// A report of a probe without a response.
    pub(in crate::fetcher::diagnose) fn failed(probe: Probe, kind: ErrorKind) -> ProbeReport {
        let mut report = answered(probe, VerdictKind::Genuine);
        report.result = ProbeResult::Failed;
        report.attempts[0].verdict = None;
        report.attempts[0].error = Some(AttemptError { kind, message: String::new() });
        report
    }

    #[test]
    fn a_probe_that_would_add_no_information_is_skipped() {
        use VerdictKind::{Block, Challenge, Genuine, RateLimit};
        let plain_passed = [answered(Probe::Plain, Genuine)];
        let both_passed = [answered(Probe::Plain, Block), answered(Probe::Impersonate, Genuine)];
        let cleared = [answered(Probe::Impersonate, Challenge), answered(Probe::Browser, Genuine)];
        let refused = [answered(Probe::Impersonate, Challenge), answered(Probe::Browser, Block)];
        let limited = [answered(Probe::Plain, RateLimit)];
        let unknown = [failed(Probe::Plain, ErrorKind::Dns)];
        for (probe, steps, expected) in [
            (Probe::Plain, &[][..], Ok(())),
            (Probe::Headers, &plain_passed, Err("plain passed")),
            (Probe::Impersonate, &plain_passed, Ok(())),
            (Probe::Headers, &both_passed[..1], Ok(())),
            (Probe::Profile, &both_passed, Err("impersonate passed")),
            (Probe::Browser, &both_passed, Err("impersonate passed")),
            (Probe::Cleared, &both_passed, Err("impersonate passed")),
            (Probe::Cleared, &cleared, Ok(())),
            (Probe::Cleared, &refused, Err("the browser did not earn a clearance")),
            (Probe::Window, &cleared, Err("the browser was not refused")),
            (Probe::Window, &refused, Ok(())),
            (Probe::Direct, &refused, Ok(())),
            (Probe::Direct, &cleared, Err("another probe passed")),
            (Probe::Impersonate, &limited, Err("the site limits the request rate")),
            (Probe::Impersonate, &unknown, Err("the host name could not be resolved")),
        ] {
            assert_eq!(check_useful(probe, steps), expected, "{probe}");
        }
    }
}
