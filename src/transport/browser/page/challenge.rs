//! Waits for a challenge to release the page: beyond the limit for challenges only while the page works on it.

use std::time::{Duration, Instant};

use chromiumoxide_cdp::cdp::browser_protocol::performance;

use super::Page;
use super::wait::Deadlines;
use crate::settings::limits::Limits;

/// The time that a challenged page has left, and the work that it has done so far.
pub(super) struct ChallengeWait {
    /// When the wait ends, unless the page works.
    until: Instant,
    /// When the wait ends in any case.
    end: Instant,
    measured: Instant,
    cpu: Duration,
}

impl ChallengeWait {
    /// Begins to wait, at most [`Limits::browser_challenge`] for a page that does nothing.
    pub(super) async fn start(page: &Page, limits: &Limits, deadlines: &Deadlines) -> Self {
        let now = Instant::now();
        let until =
            now.checked_add(limits.browser_challenge).map_or(deadlines.work, |at| at.min(deadlines.work));
        // Without it, Chromium returns no metrics. A page cannot see it.
        let _ = page.run(&performance::EnableParams::default(), METRICS_LIMIT).await;
        Self { until, end: deadlines.work, measured: now, cpu: page.cpu_time().await.unwrap_or_default() }
    }

    /// Waits for a new document, or a short while. Returns whether to check the page again.
    pub(super) async fn next(&mut self, page: &Page) -> bool {
        loop {
            if page.wait_for_change(self.until).await {
                return true;
            }
            let now = Instant::now();
            if page.has_ended() || now >= self.end || !self.is_working(page, now).await {
                return false;
            }
            tracing::debug!("the challenge takes long and the page works on it; waiting on");
            self.until = (now + EXTENSION).min(self.end);
        }
    }

    /// Whether the page has requests in flight, or used the processor since the last measurement.
    async fn is_working(&mut self, page: &Page, now: Instant) -> bool {
        if page.has_requests() {
            return true;
        }
        let Some(cpu) = page.cpu_time().await else { return false };
        // A new document may have a new process, which starts at zero.
        let used = cpu.checked_sub(self.cpu).unwrap_or(cpu);
        let elapsed = now.saturating_duration_since(self.measured);
        (self.cpu, self.measured) = (cpu, now);
        used.as_secs_f64() >= elapsed.as_secs_f64() * WORKING_SHARE
    }
}

impl Page {
    /// The processor time of the page's process so far, workers included.
    async fn cpu_time(&self) -> Option<Duration> {
        let metrics = self.run(&performance::GetMetricsParams::default(), METRICS_LIMIT).await.ok()?.metrics;
        let value = |name: &str| metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value);
        let seconds = value("ProcessTime").or_else(|| value("TaskDuration"))?;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// A page that uses less of one processor than this share is not working on a challenge.
const WORKING_SHARE: f64 = 0.1;
/// How much longer a working page gets before it is measured again.
const EXTENSION: Duration = Duration::from_secs(2);
/// Limit for a command that reads metrics.
const METRICS_LIMIT: Duration = Duration::from_secs(5);
