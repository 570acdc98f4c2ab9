//! A fetch's trace as it grows.

use std::time::Duration;

use tokio::time::Instant;
use tracing::Span;

use super::policy::Step;
use super::{Errand, Judged, span};
use crate::error::{Error, Result};
use crate::tier::Tier;
use crate::trace::{Attempt, AttemptError, Trace};

/// What was done, and the attempt that is being made.
pub(super) struct Progress {
    pub(super) trace: Trace,
    under_way: Option<(Attempt, Instant, Span)>,
    /// How long the attempt had to wait for its host.
    pub(super) waited: Duration,
    /// When the whole fetch ends.
    pub(super) ends: Option<Instant>,
}

impl Progress {
    pub(super) fn new(errand: &Errand<'_>) -> Self {
        Self {
            trace: Trace::under(errand.robots),
            under_way: None,
            waited: Duration::ZERO,
            ends: errand.bounds.fetch_total.and_then(|total| Instant::now().checked_add(total)),
        }
    }

    /// An attempt on `tier` begins.
    pub(super) fn begin(&mut self, errand: &Errand<'_>, tier: Tier) {
        let identity = errand.persona.on(tier);
        let proxy = identity.route().proxy(&errand.request.url);
        let session =
            errand.persona.session.as_ref().filter(|_| proxy.is_some()).and_then(|session| session.label());
        let attempt = Attempt {
            tier,
            browser_profile: (tier != Tier::Plain).then(|| identity.profile().name.clone()),
            proxy: proxy.map(ToString::to_string),
            session: session.map(ToOwned::to_owned),
            fallback: errand.persona.is_stopgap,
            status: None,
            verdict: None,
            waited: std::mem::take(&mut self.waited),
            elapsed: Duration::ZERO,
            error: None,
            next: None,
        };
        let span = span::of(errand, &attempt, &self.trace);
        self.under_way = Some((attempt, Instant::now(), span));
    }

    /// Of the attempt under way.
    pub(super) fn span(&self) -> Span {
        self.under_way.as_ref().map_or_else(Span::none, |(_, _, span)| span.clone())
    }

    /// Writes down the attempt under way, with what came of it and why another follows.
    pub(super) fn ended(&mut self, errand: &Errand<'_>, outcome: &Result<Judged>, step: &Step) {
        let Some((mut attempt, span)) = self.begun() else { return };
        match outcome {
            Ok(judged) => {
                attempt.status = Some(judged.status.as_u16());
                attempt.verdict = Some(judged.verdict.clone());
            }
            Err(error) => attempt.error = Some(failure(error)),
        }
        attempt.next = step.why().map(ToOwned::to_owned);
        tracing::info!(
            tier = %attempt.tier,
            status = attempt.status,
            verdict = attempt.verdict.as_ref().map(ToString::to_string),
            error = attempt.error.as_ref().map(|error| error.message.as_str()),
            elapsed_ms = attempt.elapsed.as_millis(),
            next = attempt.next.as_deref(),
            "attempt"
        );
        span::ended(&span, &attempt);
        if let Some(watch) = errand.watch {
            watch.attempted(&attempt);
        }
        self.trace.push(attempt);
    }

    /// The whole fetch ran out of time: the attempt under way, if there is one, ends with it.
    pub(super) fn cut_short(&mut self, errand: &Errand<'_>, error: &Error) {
        if let Some((mut attempt, span)) = self.begun() {
            attempt.error = Some(failure(error));
            span::ended(&span, &attempt);
            if let Some(watch) = errand.watch {
                watch.attempted(&attempt);
            }
            self.trace.push(attempt);
        }
    }

    fn begun(&mut self) -> Option<(Attempt, Span)> {
        let (mut attempt, started, span) = self.under_way.take()?;
        attempt.elapsed = started.elapsed();
        Some((attempt, span))
    }
}

fn failure(error: &Error) -> AttemptError {
    AttemptError { kind: error.kind(), message: error.chain() }
}
