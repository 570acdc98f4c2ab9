//! A fetch's trace as it grows.

use std::time::Duration;

use tokio::time::Instant;
use tracing::Span;

use super::policy::Action;
use super::{ClassifiedResponse, FetchPlan, span};
use crate::error::{Error, Result};
use crate::tier::Tier;
use crate::trace::{Attempt, AttemptError, Trace};

/// What was done, and the attempt that is being made.
pub(super) struct TraceBuilder {
    pub(super) trace: Trace,
    current: Option<(Attempt, Instant, Span)>,
    /// How long the attempt had to wait for its host.
    pub(super) waited: Duration,
    /// When the whole fetch ends.
    pub(super) deadline: Option<Instant>,
}

impl TraceBuilder {
    pub(super) fn new(errand: &FetchPlan<'_>) -> Self {
        Self {
            trace: Trace::with_robots(errand.robots),
            current: None,
            waited: Duration::ZERO,
            deadline: errand.limits.fetch_total.and_then(|total| Instant::now().checked_add(total)),
        }
    }

    /// An attempt on `tier` begins.
    pub(super) fn begin_attempt(&mut self, errand: &FetchPlan<'_>, tier: Tier) {
        let identity = errand.identities.for_tier(tier);
        let proxy = identity.proxy_rules().proxy(&errand.request.url);
        let session = errand
            .identities
            .proxy_session
            .as_ref()
            .filter(|_| proxy.is_some())
            .and_then(|session| session.label());
        let attempt = Attempt {
            tier,
            browser_profile: (tier != Tier::Plain).then(|| identity.profile().name.clone()),
            proxy: proxy.map(ToString::to_string),
            session: session.map(ToOwned::to_owned),
            fallback: errand.identities.is_direct_fallback,
            status: None,
            verdict: None,
            waited: std::mem::take(&mut self.waited),
            elapsed: Duration::ZERO,
            error: None,
            next: None,
        };
        let span = span::for_attempt(errand, &attempt, &self.trace);
        self.current = Some((attempt, Instant::now(), span));
    }

    /// Of the attempt under way.
    pub(super) fn current_span(&self) -> Span {
        self.current.as_ref().map_or_else(Span::none, |(_, _, span)| span.clone())
    }

    /// Writes down the attempt under way, with what came of it and why another follows.
    pub(super) fn end_attempt(
        &mut self,
        errand: &FetchPlan<'_>,
        outcome: &Result<ClassifiedResponse>,
        step: &Action,
    ) {
        let Some((mut attempt, span)) = self.take_current() else { return };
        match outcome {
            Ok(judged) => {
                attempt.status = Some(judged.status.as_u16());
                attempt.verdict = Some(judged.verdict.clone());
            }
            Err(error) => attempt.error = Some(attempt_error(error)),
        }
        attempt.next = step.reason().map(ToOwned::to_owned);
        tracing::info!(
            tier = %attempt.tier,
            status = attempt.status,
            verdict = attempt.verdict.as_ref().map(ToString::to_string),
            error = attempt.error.as_ref().map(|error| error.message.as_str()),
            elapsed_ms = attempt.elapsed.as_millis(),
            next = attempt.next.as_deref(),
            "attempt"
        );
        span::record_end(&span, &attempt);
        if let Some(watch) = errand.observer {
            watch.on_attempt(&attempt);
        }
        self.trace.push(attempt);
    }

    /// The whole fetch ran out of time: the attempt under way, if there is one, ends with it.
    pub(super) fn fail_attempt(&mut self, errand: &FetchPlan<'_>, error: &Error) {
        if let Some((mut attempt, span)) = self.take_current() {
            attempt.error = Some(attempt_error(error));
            span::record_end(&span, &attempt);
            if let Some(watch) = errand.observer {
                watch.on_attempt(&attempt);
            }
            self.trace.push(attempt);
        }
    }

    fn take_current(&mut self) -> Option<(Attempt, Span)> {
        let (mut attempt, started, span) = self.current.take()?;
        attempt.elapsed = started.elapsed();
        Some((attempt, span))
    }
}

fn attempt_error(error: &Error) -> AttemptError {
    AttemptError { kind: error.kind(), message: error.chain() }
}
