//! The span of an attempt. Field names follow OpenTelemetry's conventions for HTTP clients where one exists.

use tracing::field::Empty;
use tracing::{Span, info_span};

use super::plan::FetchPlan;
use crate::exchange::trace::{Attempt, Trace};
use crate::text::redact;

/// Returns the span of `attempt`, which follows the attempts in `trace`.
pub(super) fn for_attempt(plan: &FetchPlan<'_>, attempt: &Attempt, trace: &Trace) -> Span {
    let earlier = trace.attempts();
    let url = &plan.request.url;
    info_span!(
        "attempt",
        otel.kind = "client",
        http.request.method = plan.request.method.as_str(),
        http.request.resend_count = (!earlier.is_empty()).then_some(earlier.len().cast_signed()),
        url.full = redact::without_credentials_and_query(url),
        server.address = url.host_str(),
        server.port = url.port_or_known_default().map(i64::from),
        rungs.tier = attempt.tier.name(),
        rungs.browser_profile = attempt.browser_profile.as_deref(),
        rungs.proxy = attempt.proxy.as_deref(),
        rungs.waited_ms = millis(attempt.waited),
        rungs.why = earlier.last().and_then(|last| last.next.as_deref()),
        rungs.elapsed_ms = Empty,
        rungs.verdict = Empty,
        rungs.next = Empty,
        http.response.status_code = Empty,
        error.type = Empty,
        otel.status_code = Empty,
    )
}

/// Records how the attempt ended.
pub(super) fn record_end(span: &Span, attempt: &Attempt) {
    if span.is_disabled() {
        return;
    }
    span.record("rungs.elapsed_ms", millis(attempt.elapsed));
    span.record("rungs.next", attempt.next.as_deref());
    span.record("http.response.status_code", attempt.status.map(i64::from));
    span.record("rungs.verdict", attempt.verdict.as_ref().map(ToString::to_string));
    let refused = attempt.verdict.as_ref().filter(|verdict| !verdict.is_genuine());
    let status = attempt.status.filter(|status| *status >= 400);
    let error_type = match (&attempt.error, refused, status) {
        (Some(error), _, _) => error.kind.name().to_owned(),
        (None, Some(verdict), _) => verdict.kind.name().to_owned(),
        (None, None, Some(status)) => status.to_string(),
        (None, None, None) => return,
    };
    span.record("error.type", error_type);
    span.record("otel.status_code", "ERROR");
}

fn millis(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
