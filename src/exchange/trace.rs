//! The trace of one fetch: its attempts in order, with the cost of each and the reason for the next.

mod diagnosis;

pub use diagnosis::{DetectionLayer, Diagnosis};

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::exchange::error_kind::ErrorKind;
use crate::exchange::robots_policy::RobotsPolicy;
use crate::exchange::tier::Tier;
use crate::exchange::verdict::Verdict;

/// All attempts of one fetch, in order.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Trace {
    attempts: Vec<Attempt>,
    #[serde(skip)]
    robots: RobotsPolicy,
}

impl Trace {
    /// Returns the attempts in order.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Returns whether robots.txt was obeyed or ignored.
    #[must_use]
    pub const fn robots(&self) -> RobotsPolicy {
        self.robots
    }

    pub(crate) const fn with_robots(robots: RobotsPolicy) -> Self {
        Self { attempts: Vec::new(), robots }
    }

    /// Replaces the reason for another attempt after the last one.
    pub(crate) fn set_next_reason(&mut self, next: &str) {
        if let Some(last) = self.attempts.last_mut() {
            last.next = Some(next.to_owned());
        }
    }

    pub(crate) fn push(&mut self, attempt: Attempt) {
        self.attempts.push(attempt);
    }
}

/// One try at one URL, on one tier, with one identity.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Attempt {
    /// The tier of the attempt.
    pub tier: Tier,
    /// The browser profile used. `None` on the plain tier.
    pub browser_profile: Option<String>,
    /// The proxy used, without its credentials.
    pub proxy: Option<String>,
    /// The label of the proxy session, which is not a secret. `None` if the proxy has no sessions.
    pub session: Option<String>,
    /// Whether the connection was direct because no proxy works and direct connections are allowed.
    pub fallback: bool,
    /// The status of the response. `None` without a response.
    pub status: Option<u16>,
    /// The verdict on the response. `None` without a response.
    pub verdict: Option<Verdict>,
    /// The wait before the attempt, for the host's rate limit or a permit at its proxy. Not part of `elapsed`.
    #[serde(rename = "waited_ms", serialize_with = "millis")]
    pub waited: Duration,
    /// The time from the start to the end of the attempt.
    #[serde(rename = "elapsed_ms", serialize_with = "millis")]
    pub elapsed: Duration,
    /// The error. `None` if there was a response.
    pub error: Option<AttemptError>,
    /// The reason for the next attempt, for example `climb: cloudflare challenge`. `None` for the last attempt.
    pub next: Option<String>,
}

/// The error of an attempt without a response.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct AttemptError {
    /// The kind of the error.
    pub kind: ErrorKind,
    /// The message with all its causes. Contains neither secrets nor the URL.
    pub message: String,
}

/// The phases until the first byte. Zero for a phase that was not needed, as with a reused connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Timings {
    /// DNS lookup.
    #[serde(rename = "dns_ms", serialize_with = "millis")]
    pub dns: Duration,
    /// TCP connect, including the proxy's tunnel.
    #[serde(rename = "connect_ms", serialize_with = "millis")]
    pub connect: Duration,
    /// TLS handshake.
    #[serde(rename = "tls_ms", serialize_with = "millis")]
    pub tls: Duration,
    /// From the start of the request to the first byte of the response, including the phases above.
    #[serde(rename = "first_byte_ms", serialize_with = "millis")]
    pub first_byte: Duration,
}

/// Serializes a duration as milliseconds with three decimals, as everywhere in the JSON output.
fn millis<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    #[expect(clippy::cast_precision_loss, reason = "a fetch lasts less than 2^53 microseconds")]
    serializer.serialize_f64(value.as_micros() as f64 / 1000.0)
}
