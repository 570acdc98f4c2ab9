//! Responses with their verdicts, and what becomes of them: a page, an error, or input of the policy.

use std::time::SystemTime;

use http::{HeaderMap, StatusCode};
use url::Url;

use super::body::{PartialBody, StoredBody};
use super::clearance::VisitFailure;
use super::page_size::PageSizeSample;
use super::plan::FetchPlan;
use super::policy::AttemptOutcome;
use super::proxy_permit;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::response::{BrowserOutput, HttpVersion, Redirect};
use crate::retry_after;
use crate::trace::Timings;
use crate::verdict::{Verdict, VerdictKind};

/// A genuine response, from any tier.
pub(crate) struct FetchedResponse {
    pub(crate) status: StatusCode,
    pub(crate) version: HttpVersion,
    pub(crate) headers: HeaderMap,
    pub(crate) url: Url,
    pub(crate) redirects: Vec<Redirect>,
    pub(crate) timings: Timings,
    pub(crate) body: StoredBody,
    pub(crate) browser: Option<BrowserOutput>,
}

/// A response with its verdict. It has a body if the response is to be returned.
pub(super) struct ClassifiedResponse {
    pub(super) status: StatusCode,
    pub(super) version: HttpVersion,
    pub(super) headers: HeaderMap,
    pub(super) url: Url,
    pub(super) redirects: Vec<Redirect>,
    pub(super) timings: Timings,
    pub(super) verdict: Verdict,
    pub(super) body: Option<StoredBody>,
    pub(super) size_sample: Option<PageSizeSample>,
    /// The body of a page that was refused for its size alone.
    pub(super) undersized: Option<PartialBody>,
    pub(super) browser: Option<BrowserOutput>,
}

impl ClassifiedResponse {
    pub(super) fn into_fetched(self) -> Result<FetchedResponse> {
        let Some(body) = self.body else {
            return Err(Error::new(ErrorKind::Protocol, "the response was accepted without a stored body"));
        };
        Ok(FetchedResponse {
            status: self.status,
            version: self.version,
            headers: self.headers,
            url: self.url,
            redirects: self.redirects,
            timings: self.timings,
            body,
            browser: self.browser,
        })
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

/// Reduces an outcome to the part that the policy needs.
pub(super) fn attempt_outcome<'a>(
    plan: &FetchPlan<'_>,
    outcome: &'a Result<ClassifiedResponse>,
) -> AttemptOutcome<'a> {
    match outcome {
        Ok(response) => AttemptOutcome::Responded {
            verdict: &response.verdict,
            retry_after: retry_after::parse(&response.headers, SystemTime::now()),
        },
        // The policy repeats an unsafe request after a connect error, which says that the request never left.
        Err(error) if error.was_sent() && !plan.request.method.is_safe() => {
            let is_unsent = matches!(error.kind(), ErrorKind::Connect | ErrorKind::Proxy);
            AttemptOutcome::Failed(if is_unsent { ErrorKind::Protocol } else { error.kind() })
        }
        // A handshake that breaks behind a pool's proxy may succeed the next time. The request was not sent yet.
        Err(error)
            if plan.identities.proxy_session.is_some() && proxy_permit::is_handshake_aborted(error) =>
        {
            AttemptOutcome::Failed(ErrorKind::Connect)
        }
        Err(error) => AttemptOutcome::Failed(error.kind()),
    }
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
