//! Responses with their verdicts, and what becomes of them: a page, an error, or input of the policy.

use std::io;

use super::alarm::AlarmOutcome;
use super::body::{PartialBody, StoredBody};
use super::clearance::VisitFailure;
use super::page_size::PageSizeSample;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::response::RawResponse;
use crate::exchange::tier::Tier;
use crate::exchange::verdict::{Verdict, VerdictKind};
use crate::proxy;
use crate::proxy::session::FaultSource;

/// A response with its verdict.
pub(super) struct ClassifiedResponse {
    /// It has a body if it is to be returned.
    pub(super) raw: RawResponse<Option<StoredBody>>,
    pub(super) verdict: Verdict,
    pub(super) size_sample: Option<PageSizeSample>,
    /// The body of a page that was refused for its size alone.
    pub(super) undersized: Option<PartialBody>,
    /// What the response says about the structural detector.
    pub(super) alarm: AlarmOutcome,
}

impl ClassifiedResponse {
    /// Returns the accepted response.
    pub(super) fn accept(self) -> Result<RawResponse<StoredBody>> {
        let (head, body) = self.raw.into_parts();
        body.map(|body| head.with_body(body))
            .ok_or_else(|| Error::new(ErrorKind::Protocol, "the response was accepted without a stored body"))
    }
}

pub(super) fn visit_error(failure: VisitFailure) -> Error {
    match failure {
        VisitFailure::Refused { verdict, hint } => blocked_error(hint, &verdict),
        VisitFailure::Failed(kind) => {
            Error::new(kind, "browser visit skipped: visits by other fetches of this host just failed")
        }
    }
}

pub(super) fn visit_failure(outcome: &Result<ClassifiedResponse>) -> VisitFailure {
    match outcome {
        Ok(response) => VisitFailure::Refused { verdict: response.verdict.clone(), hint: None },
        Err(error) => VisitFailure::Failed(error.kind()),
    }
}

/// Derives the proxy's fault from an error. `None` if the proxy did not cause it.
pub(super) fn proxy_fault(tier: Tier, error: &Error) -> Option<FaultSource> {
    let is_target_error = proxy::is_target_error(error);
    match error.kind() {
        ErrorKind::Proxy => Some(if is_target_error { FaultSource::Unclear } else { FaultSource::Proxy }),
        ErrorKind::Connect => (!is_target_error).then_some(FaultSource::Unclear),
        ErrorKind::Tls => is_handshake_aborted(error).then_some(FaultSource::Unclear),
        ErrorKind::Protocol => Some(FaultSource::Unclear),
        // A page in the browser may be slow for many reasons.
        ErrorKind::Timeout => (tier != Tier::Browser).then_some(FaultSource::Unclear),
        _ => None,
    }
}

/// Whether a TLS handshake failed because the connection ended, not because of a certificate.
pub(super) fn is_handshake_aborted(error: &Error) -> bool {
    error.kind() == ErrorKind::Tls && proxy::is_caused_by::<io::Error>(error)
}

pub(super) fn blocked_error(hint: Option<String>, verdict: &Verdict) -> Error {
    if verdict.kind == VerdictKind::ProxyFault {
        let error = Error::new(ErrorKind::Proxy, "the proxy answered instead of the site");
        return match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        };
    }
    let error = Error::new(ErrorKind::Blocked, "blocked at every tier allowed");
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}
