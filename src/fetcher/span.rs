//! The span of a fetch: the parent of the spans of its attempts. Field names follow OpenTelemetry's conventions
//! where one exists. Numbers are `i64`, because OpenTelemetry has no unsigned integers and would record those as
//! text.

use tracing::field::Empty;
use tracing::{Span, info_span};

use super::Response;
use crate::exchange::error::Result;
use crate::exchange::request::Request;
use crate::text::redact;

/// Returns the span of a fetch of `request` with the session called `session`. An invalid request is `None`.
pub(super) fn for_fetch(request: Option<&Request>, session: Option<&str>) -> Span {
    info_span!(
        "fetch",
        http.request.method = request.map(|request| request.method.as_str()),
        url.full = request.map(|request| redact::without_credentials_and_query(&request.url)),
        server.address = request.and_then(|request| request.url.host_str()),
        server.port = request.and_then(|request| request.url.port_or_known_default()).map(i64::from),
        rungs.session = session,
        rungs.tier = Empty,
        rungs.verdict = Empty,
        rungs.attempts = Empty,
        rungs.body_bytes = Empty,
        http.response.status_code = Empty,
        error.type = Empty,
        otel.status_code = Empty,
    )
}

/// Records how the fetch ended.
pub(super) fn record_end(span: &Span, outcome: &Result<Response>) {
    if span.is_disabled() {
        return;
    }
    let trace = match outcome {
        Ok(response) => {
            span.record("rungs.body_bytes", response.body_len().cast_signed());
            Some(response.trace())
        }
        Err(error) => {
            span.record("error.type", error.kind().name());
            span.record("otel.status_code", "ERROR");
            error.trace()
        }
    };
    let attempts = trace.map_or(&[][..], |trace| trace.attempts());
    span.record("rungs.attempts", attempts.len().cast_signed());
    if let Some(last) = attempts.last() {
        span.record("rungs.tier", last.tier.name());
        span.record("http.response.status_code", last.status.map(i64::from));
        span.record("rungs.verdict", last.verdict.as_ref().map(ToString::to_string));
    }
}
