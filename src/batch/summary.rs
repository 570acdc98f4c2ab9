//! How a run ended.

use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use super::crawl::Trap;
use super::output::Output;
use super::state::Progress;
use crate::error;

/// How a run ended.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// The version of rungs that ran.
    pub version: &'static str,
    /// When it began.
    #[serde(serialize_with = "rfc3339")]
    pub began: SystemTime,
    /// How long it took.
    #[serde(rename = "elapsed_s", serialize_with = "seconds")]
    pub elapsed: Duration,
    /// What it was fed with.
    pub input: String,
    /// Where the records are.
    pub output: Option<String>,
    /// The numbers, those of earlier runs too.
    #[serde(flatten)]
    pub progress: Progress,
    /// Where a crawl stopped by itself, in this run: at most 100 patterns of URLs, that with most links left out first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub traps: Vec<Trap>,
    /// Links that were left out because there were pages enough.
    #[serde(skip_serializing_if = "is_zero")]
    pub beyond: u64,
    /// All was done; otherwise it was stopped.
    pub complete: bool,
    /// The output was a pipe, and its reader went away.
    #[serde(skip)]
    pub output_closed: bool,
}

/// What a summary tells beside the numbers.
pub(super) struct SummaryHeader {
    pub(super) began: SystemTime,
    pub(super) input: String,
    pub(super) output: Option<Output>,
}

impl SummaryHeader {
    /// The summary of a run that came so far.
    ///
    /// # Errors
    /// When the output cannot take it.
    pub(super) fn into_summary(
        self,
        progress: Progress,
        (traps, beyond): (Vec<Trap>, u64),
        complete: bool,
        unwanted: bool,
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
            complete: complete && !unwanted,
            output_closed: unwanted,
        };
        if let Some(output) = &self.output {
            output.write_summary(&summary)?;
        }
        Ok(summary)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// As WARC and others write it: `2026-11-21T16:04:50Z`.
pub(super) fn timestamp(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

fn rfc3339<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&timestamp(*at))
}

fn seconds<S: Serializer>(elapsed: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(elapsed.as_secs_f64())
}
