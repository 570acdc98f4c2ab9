//! The summary of a run.

use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use super::crawl::Trap;
use super::state::Progress;

/// The summary of a run.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// The version of rungs.
    pub version: &'static str,
    /// The start time.
    #[serde(serialize_with = "rfc3339")]
    pub began: SystemTime,
    /// The duration.
    #[serde(rename = "elapsed_s", serialize_with = "seconds")]
    pub elapsed: Duration,
    /// The label of the input.
    pub input: String,
    /// The label of the output.
    pub output: Option<String>,
    /// The counters, including those of earlier runs.
    #[serde(flatten)]
    pub progress: Progress,
    /// The traps of this run's crawl: at most 100 URL patterns, sorted by the number of links not followed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub traps: Vec<Trap>,
    /// Links that were not followed because of the page limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub beyond: u64,
    /// Whether all tasks were finished. Otherwise the run was stopped.
    pub complete: bool,
    /// Whether the output was a pipe and its reader closed it.
    #[serde(skip)]
    pub output_closed: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Formats a time as in RFC 3339, in seconds: `2026-11-21T16:04:50Z`.
pub(super) fn timestamp(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

fn rfc3339<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&timestamp(*at))
}

fn seconds<S: Serializer>(elapsed: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(elapsed.as_secs_f64())
}
