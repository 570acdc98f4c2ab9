//! The ways of asking, in order, and what came of each.

use std::fmt;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::fetcher::Response;
use crate::tier::Tier;
use crate::trace::{Attempt, Trace};
use crate::verdict::VerdictKind;

/// One way of asking. Each says what it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Probe {
    /// The honest client.
    Plain,
    /// A browser's headers, with the plain tier's TLS and HTTP/2.
    Headers,
    /// A browser's headers, TLS and HTTP/2.
    Impersonate,
    /// The same visitor again, with the cookies that the first answer set.
    Cookies,
    /// The same as another browser.
    Profile,
    /// The browser, without a window.
    Browser,
    /// The impersonate tier with what the browser earned.
    Cleared,
    /// The browser with a window.
    Window,
    /// The impersonate tier without the proxy.
    Direct,
}

impl Probe {
    /// All ways, in the order they are tried.
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

    /// The stable snake-case name, as JSON writes it.
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

    /// The tier that asks.
    #[must_use]
    pub const fn tier(self) -> Tier {
        match self {
            Self::Plain => Tier::Plain,
            Self::Browser | Self::Window => Tier::Browser,
            _ => Tier::Impersonate,
        }
    }

    /// When it is tried.
    #[must_use]
    pub const fn condition(self) -> &'static str {
        match self {
            Self::Plain | Self::Impersonate => "always",
            Self::Headers => "when plain is refused",
            Self::Cookies => "when impersonate is refused and the site set cookies",
            Self::Profile | Self::Browser => "when impersonate is refused",
            Self::Cleared => "when impersonate is refused and the browser passes",
            Self::Window => "when the browser is refused",
            Self::Direct => "when nothing passes by the proxy",
        }
    }
}

/// For a reader: what asks, and what is different.
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

/// What came of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProbeResult {
    /// A page of the site's own, whatever its status.
    Passed,
    /// A block of some kind.
    Refused,
    /// No answer.
    Failed,
    /// It was not tried.
    Skipped,
}

/// One way, and what came of it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ProbeReport {
    /// The way.
    pub way: Probe,
    /// What came of it.
    pub found: ProbeResult,
    /// Its attempts; a second only after a failure, or when the site asked to wait.
    pub attempts: Vec<Attempt>,
    /// Why it was not tried, or what went wrong.
    pub reason: Option<String>,
}

impl ProbeReport {
    pub(super) fn from_skipped(way: Probe, reason: &str) -> Self {
        Self { way, found: ProbeResult::Skipped, attempts: Vec::new(), reason: Some(reason.to_owned()) }
    }

    pub(super) fn from_outcome(way: Probe, outcome: &Result<Response, Error>) -> Self {
        let (found, attempts, reason) = match outcome {
            Ok(page) => (ProbeResult::Passed, page.trace().attempts(), None),
            Err(error) => {
                let found = if error.is_blocked() { ProbeResult::Refused } else { ProbeResult::Failed };
                let attempts = error.trace().map(Trace::attempts).unwrap_or_default();
                (found, attempts, (found == ProbeResult::Failed).then(|| error.chain()))
            }
        };
        Self { way, found, attempts: attempts.to_vec(), reason }
    }

    /// What the last answer was.
    pub(super) fn kind(&self) -> Option<VerdictKind> {
        self.attempts.last()?.verdict.as_ref().map(|verdict| verdict.kind)
    }
}

/// Whether `way` would tell anything more after `steps`, else why not. Pure.
pub(super) fn check_useful(way: Probe, steps: &[ProbeReport]) -> std::result::Result<(), &'static str> {
    let passed = |way| result_of(way, steps) == Some(ProbeResult::Passed);
    if let Some(reason) = steps.iter().find_map(stop_reason) {
        return Err(reason);
    }
    let unless = |needless: bool, reason| if needless { Err(reason) } else { Ok(()) };
    match way {
        Probe::Plain | Probe::Impersonate => Ok(()),
        Probe::Headers => unless(passed(Probe::Plain), "plain passed"),
        Probe::Cookies | Probe::Profile | Probe::Browser => {
            unless(passed(Probe::Impersonate), "impersonate passed")
        }
        Probe::Cleared if passed(Probe::Impersonate) => Err("impersonate passed"),
        Probe::Cleared => unless(!passed(Probe::Browser), "the browser earned nothing"),
        Probe::Window => unless(
            result_of(Probe::Browser, steps) != Some(ProbeResult::Refused),
            "the browser was not refused",
        ),
        Probe::Direct => {
            unless(steps.iter().any(|step| step.found == ProbeResult::Passed), "something passed")
        }
    }
}

pub(super) fn result_of(way: Probe, steps: &[ProbeReport]) -> Option<ProbeResult> {
    steps.iter().find(|step| step.way == way).map(|step| step.found)
}

/// Why nobody should ask any more after this.
fn stop_reason(step: &ProbeReport) -> Option<&'static str> {
    if step.kind() == Some(VerdictKind::RateLimit) {
        return Some("the site asked for a slower pace");
    }
    let error = step.attempts.last()?.error.as_ref()?;
    match error.kind {
        ErrorKind::Dns => Some("the name was not found"),
        ErrorKind::Robots => Some("robots.txt forbids it"),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::trace::AttemptError;
    use crate::verdict::Verdict;

    /// A step that ended in an answer of this kind.
    pub(in crate::diagnose) fn answered(way: Probe, kind: VerdictKind) -> ProbeReport {
        let found = if kind == VerdictKind::Genuine { ProbeResult::Passed } else { ProbeResult::Refused };
        let verdict = Verdict { kind, vendor: None, confidence: 1.0, evidence: Vec::new() };
        let attempt = Attempt {
            tier: way.tier(),
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
        ProbeReport { way, found, attempts: vec![attempt], reason: None }
    }

    /// A step that got no answer.
    pub(in crate::diagnose) fn failed(way: Probe, kind: ErrorKind) -> ProbeReport {
        let mut step = answered(way, VerdictKind::Genuine);
        step.found = ProbeResult::Failed;
        step.attempts[0].verdict = None;
        step.attempts[0].error = Some(AttemptError { kind, message: String::new() });
        step
    }

    #[test]
    fn a_way_that_would_tell_nothing_more_is_left_out() {
        use VerdictKind::{Block, Challenge, Genuine, RateLimit};
        let plain_passed = [answered(Probe::Plain, Genuine)];
        let both_passed = [answered(Probe::Plain, Block), answered(Probe::Impersonate, Genuine)];
        let cleared = [answered(Probe::Impersonate, Challenge), answered(Probe::Browser, Genuine)];
        let refused = [answered(Probe::Impersonate, Challenge), answered(Probe::Browser, Block)];
        let limited = [answered(Probe::Plain, RateLimit)];
        let unknown = [failed(Probe::Plain, ErrorKind::Dns)];
        for (way, steps, expected) in [
            (Probe::Plain, &[][..], Ok(())),
            (Probe::Headers, &plain_passed, Err("plain passed")),
            (Probe::Impersonate, &plain_passed, Ok(())),
            (Probe::Headers, &both_passed[..1], Ok(())),
            (Probe::Profile, &both_passed, Err("impersonate passed")),
            (Probe::Browser, &both_passed, Err("impersonate passed")),
            (Probe::Cleared, &both_passed, Err("impersonate passed")),
            (Probe::Cleared, &cleared, Ok(())),
            (Probe::Cleared, &refused, Err("the browser earned nothing")),
            (Probe::Window, &cleared, Err("the browser was not refused")),
            (Probe::Window, &refused, Ok(())),
            (Probe::Direct, &refused, Ok(())),
            (Probe::Direct, &cleared, Err("something passed")),
            (Probe::Impersonate, &limited, Err("the site asked for a slower pace")),
            (Probe::Impersonate, &unknown, Err("the name was not found")),
        ] {
            assert_eq!(check_useful(way, steps), expected, "{way}");
        }
    }
}
