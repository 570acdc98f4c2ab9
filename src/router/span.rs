//! The span of an attempt. Names of fields are OpenTelemetry's where it has one, for a client of HTTP.

use tracing::field::Empty;
use tracing::{Span, info_span};

use super::FetchPlan;
use crate::redact;
use crate::trace::{Attempt, Trace};

/// For `attempt`, which follows what `trace` holds.
pub(super) fn for_attempt(errand: &FetchPlan<'_>, attempt: &Attempt, trace: &Trace) -> Span {
    let before = trace.attempts();
    let url = &errand.request.url;
    info_span!(
        "attempt",
        otel.kind = "client",
        http.request.method = errand.request.method.as_str(),
        http.request.resend_count = (!before.is_empty()).then_some(before.len().cast_signed()),
        url.full = redact::without_credentials_and_query(url),
        server.address = url.host_str(),
        server.port = url.port_or_known_default().map(i64::from),
        rungs.tier = attempt.tier.name(),
        rungs.browser_profile = attempt.browser_profile.as_deref(),
        rungs.proxy = attempt.proxy.as_deref(),
        rungs.waited_ms = millis(attempt.waited),
        rungs.why = before.last().and_then(|last| last.next.as_deref()),
        rungs.elapsed_ms = Empty,
        rungs.verdict = Empty,
        rungs.next = Empty,
        http.response.status_code = Empty,
        error.type = Empty,
        otel.status_code = Empty,
    )
}

/// Tells what came of it.
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
    let wrong = match (&attempt.error, refused, status) {
        (Some(error), _, _) => error.kind.name().to_owned(),
        (None, Some(verdict), _) => verdict.kind.name().to_owned(),
        (None, None, Some(status)) => status.to_string(),
        (None, None, None) => return,
    };
    span.record("error.type", wrong);
    span.record("otel.status_code", "ERROR");
}

fn millis(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
