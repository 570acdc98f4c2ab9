//! The summary of a run.

use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use super::crawl::Trap;
use super::output::Output;
use super::state::Progress;
use crate::error;

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

/// The parts of a summary that are known at the start.
pub(super) struct SummaryHeader {
    pub(super) began: SystemTime,
    pub(super) input: String,
    pub(super) output: Option<Output>,
}

impl SummaryHeader {
    /// Creates the summary, and writes it to the output if the format stores summaries.
    ///
    /// # Errors
    /// When the output could not be written.
    pub(super) fn into_summary(
        self,
        progress: Progress,
        (traps, beyond): (Vec<Trap>, u64),
        complete: bool,
        output_closed: bool,
    ) -> error::Result<Summary> {
        let summary = Summary {
            version: env!("CARGO_PKG_VERSION"),
            began: self.began,
            elapsed: self.began.elapsed().unwrap_or_default(),
            input: self.input,
            output: self.output.as_ref().map(Output::label),
            progress,
            traps,
            beyond,
            complete: complete && !output_closed,
            output_closed,
        };
        if let Some(output) = &self.output {
            output.write_summary(&summary)?;
        }
        Ok(summary)
    }
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
