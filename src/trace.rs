//! All attempts of one fetch, in order, with what each cost and why the next was made.

mod diagnosis;

pub use diagnosis::{DetectionLayer, Diagnosis};

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::error_kind::ErrorKind;
use crate::rate_limit::RobotsPolicy;
use crate::tier::Tier;
use crate::verdict::Verdict;

/// What one fetch went through.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Trace {
    attempts: Vec<Attempt>,
    #[serde(skip)]
    robots: RobotsPolicy,
}

impl Trace {
    /// The attempts, first to last.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Whether robots.txt was obeyed.
    #[must_use]
    pub const fn robots(&self) -> RobotsPolicy {
        self.robots
    }

    pub(crate) const fn with_robots(robots: RobotsPolicy) -> Self {
        Self { attempts: Vec::new(), robots }
    }

    /// Says otherwise why another attempt follows the last.
    pub(crate) fn set_next_reason(&mut self, next: &str) {
        if let Some(last) = self.attempts.last_mut() {
            last.next = Some(next.to_owned());
        }
    }

    pub(crate) fn push(&mut self, attempt: Attempt) {
        self.attempts.push(attempt);
    }
}

/// One try at one URL on one tier with one identity.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Attempt {
    /// The tier it ran on.
    pub tier: Tier,
    /// The browser profile worn, `None` on the plain tier.
    pub browser_profile: Option<String>,
    /// The proxy it went through, without its credentials.
    pub proxy: Option<String>,
    /// Which session at the proxy it was, by a mark that is no secret. `None` where the proxy has none.
    pub session: Option<String>,
    /// It went direct because no proxy works, and that was allowed.
    pub fallback: bool,
    /// The answer's status, if there was an answer.
    pub status: Option<u16>,
    /// What the answer was, if there was an answer.
    pub verdict: Option<Verdict>,
    /// How long it had to wait before it began, for the host's pace or a place at its proxy: not part of `elapsed`.
    #[serde(rename = "waited_ms", serialize_with = "millis")]
    pub waited: Duration,
    /// From start to the end of this attempt.
    #[serde(rename = "elapsed_ms", serialize_with = "millis")]
    pub elapsed: Duration,
    /// What went wrong, if there was no answer.
    pub error: Option<AttemptError>,
    /// Why another attempt followed, for example `climb: cloudflare challenge`; `None` for the last.
    pub next: Option<String>,
}

/// Why an attempt got no answer.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct AttemptError {
    /// The kind of the error.
    pub kind: ErrorKind,
    /// The whole message, causes included. No secrets, no URL.
    pub message: String,
}

/// Where the time went until the first byte. Zero for what was not needed (a reused connection).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Timings {
    /// Name lookup.
    #[serde(rename = "dns_ms", serialize_with = "millis")]
    pub dns: Duration,
    /// TCP, and the proxy's tunnel when there is one.
    #[serde(rename = "connect_ms", serialize_with = "millis")]
    pub connect: Duration,
    /// TLS handshake.
    #[serde(rename = "tls_ms", serialize_with = "millis")]
    pub tls: Duration,
    /// From the request's start to the answer's first byte, the above included.
    #[serde(rename = "first_byte_ms", serialize_with = "millis")]
    pub first_byte: Duration,
}

/// Milliseconds with three decimals: how all durations are written in JSON.
fn millis<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    #[expect(clippy::cast_precision_loss, reason = "a fetch lasts less than 2^53 microseconds")]
    serializer.serialize_f64(value.as_micros() as f64 / 1000.0)
}
