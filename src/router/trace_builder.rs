//! Builds the trace of a fetch.

use std::time::Duration;

use tokio::time::Instant;
use tracing::Span;

use super::identities::IdentityPair;
use super::plan::FetchPlan;
use super::policy::Action;
use super::response::ClassifiedResponse;
use super::span;
use crate::exchange::error::{Error, Result};
use crate::exchange::tier::Tier;
use crate::exchange::trace::{Attempt, AttemptError, Trace};

/// The finished attempts of a fetch, and the current one.
pub(super) struct TraceBuilder {
    pub(super) trace: Trace,
    current: Option<(Attempt, Instant, Span)>,
    /// How long the next attempt has waited for its host and its proxy.
    pub(super) waited: Duration,
    /// The deadline of the whole fetch.
    pub(super) deadline: Option<Instant>,
}

impl TraceBuilder {
    pub(super) fn new(plan: &FetchPlan<'_>) -> Self {
        Self {
            trace: Trace::with_robots(plan.robots),
            current: None,
            waited: Duration::ZERO,
            deadline: plan.limits.fetch_total.and_then(|total| Instant::now().checked_add(total)),
        }
    }

    /// Begins an attempt on `tier` with `identities`.
    pub(super) fn begin_attempt(&mut self, plan: &FetchPlan<'_>, identities: &IdentityPair, tier: Tier) {
        let identity = identities.for_tier(tier);
        let proxy = identity.proxy_rules().proxy(&plan.request.url);
        let session =
            identities.proxy_session.as_ref().filter(|_| proxy.is_some()).and_then(|session| session.label());
        let attempt = Attempt {
            tier,
            browser_profile: (tier != Tier::Plain).then(|| identity.profile().name.clone()),
            proxy: proxy.map(ToString::to_string),
            session: session.map(ToOwned::to_owned),
            fallback: identities.is_direct_fallback,
            status: None,
            verdict: None,
            waited: std::mem::take(&mut self.waited),
            elapsed: Duration::ZERO,
            error: None,
            next: None,
        };
        let span = span::for_attempt(plan, &attempt, &self.trace);
        self.current = Some((attempt, Instant::now(), span));
    }

    /// Returns the span of the current attempt.
    pub(super) fn current_span(&self) -> Span {
        self.current.as_ref().map_or_else(Span::none, |(_, _, span)| span.clone())
    }

    /// Adds the current attempt to the trace, with its outcome and the reason for the next.
    pub(super) fn end_attempt(
        &mut self,
        plan: &FetchPlan<'_>,
        outcome: &Result<ClassifiedResponse>,
        action: &Action,
    ) {
        let Some((mut attempt, span)) = self.take_current() else { return };
        match outcome {
            Ok(response) => {
                attempt.status = Some(response.raw.status.as_u16());
                attempt.verdict = Some(response.verdict.clone());
            }
            Err(error) => attempt.error = Some(attempt_error(error)),
        }
        attempt.next = action.reason().map(ToOwned::to_owned);
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
        if let Some(observer) = plan.observer {
            observer.on_attempt(&attempt);
        }
        self.trace.push(attempt);
    }

    /// Adds the current attempt, if any, to the trace as failed with `error`.
    pub(super) fn fail_attempt(&mut self, plan: &FetchPlan<'_>, error: &Error) {
        if let Some((mut attempt, span)) = self.take_current() {
            attempt.error = Some(attempt_error(error));
            span::record_end(&span, &attempt);
            if let Some(observer) = plan.observer {
                observer.on_attempt(&attempt);
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
