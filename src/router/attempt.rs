//! One attempt: send, read, classify. A page that must be parsed is classified on a blocking thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, TryStreamExt};
use http::{Method, StatusCode};
use tracing::Instrument;

use super::body::PartialBody;
use super::classify::classify;
use super::page_size::{PageSizeSample, is_size_only};
use super::permits::Permits;
use super::redirect_guard::RedirectGuard;
use super::response::ClassifiedResponse;
use super::services::Router;
use super::state::FetchState;
use crate::detect::{self, ResponseView};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::phase::FetchPhase;
use crate::response::{Body, RawResponse};
use crate::tier::Tier;
use crate::transport::AttemptRequest;
use crate::verdict::VerdictKind;

impl Router {
    /// Makes one attempt and counts it: reads the response head, classifies the response and, if it is genuine, reads
    /// the whole body.
    pub(super) async fn attempt(
        &self,
        fetch: &mut FetchState<'_>,
        permits: &Permits,
    ) -> Result<ClassifiedResponse> {
        let tier = fetch.tier();
        fetch.plan.report_phase(FetchPhase::Attempt(tier));
        fetch.current.clearances_before = fetch.current.clearance.clearances();
        fetch.current.sample = Some(self.attempt_sample(fetch));
        fetch.trace.begin_attempt(fetch.plan, &fetch.current.identities, tier);
        let bytes = Arc::new(AtomicU64::new(0));
        let span = fetch.trace.current_span();
        let outcome = self.send_and_classify(fetch, permits, &bytes).instrument(span).await;
        let outcome = self.apply_size_check(fetch, outcome).await;
        fetch.counters.count_attempt(tier, bytes.load(Ordering::Relaxed), fetch.began.elapsed());
        outcome
    }

    /// Adds the received bytes to `bytes`.
    async fn send_and_classify(
        &self,
        fetch: &FetchState<'_>,
        permits: &Permits,
        bytes: &Arc<AtomicU64>,
    ) -> Result<ClassifiedResponse> {
        let (plan, tier) = (fetch.plan, fetch.tier());
        let (head, body) = self.execute(fetch, permits).await?.into_parts();
        if tier == Tier::Browser && head.url != plan.request.url {
            // A page may also change its own URL by script.
            Box::pin(self.check_robots(plan, fetch.identities(), &head.url, None)).await?;
        }
        let partial = read_prefix(body, bytes).await?;
        let view = ResponseView {
            tier: Some(tier),
            status: head.status.as_u16(),
            headers: &head.headers,
            url: &head.url,
            requested: &plan.request.url,
            body: &partial.prefix,
            complete: partial.rest.is_none()
                && !has_no_body_to_judge(&plan.request.method, head.status, &partial.prefix),
            via_proxy: fetch.identity().proxy_rules().proxy(&head.url).is_some(),
        };
        let size_sample = PageSizeSample::from_response(plan, tier, &view);
        let (expect, is_usual) = self.expectation_for(plan, &view, size_sample.as_ref());
        let rules = plan.rules.unwrap_or(&self.rules);
        let verdict = classify(rules, &view, &partial.prefix, expect.as_deref()).await;
        let (stored, undersized) = match verdict.kind {
            VerdictKind::Genuine | VerdictKind::OriginError => {
                (Some(partial.finish(plan.body_sink, head.status).await?), None)
            }
            _ => (None, Some(partial).filter(|_| is_usual && is_size_only(&verdict))),
        };
        Ok(ClassifiedResponse { raw: head.with_body(stored), verdict, size_sample, undersized })
    }

    /// Lets the transport of the tier make the request.
    async fn execute(&self, fetch: &FetchState<'_>, permits: &Permits) -> Result<RawResponse> {
        let (plan, tier) = (fetch.plan, fetch.tier());
        let transport =
            self.transports.iter().find(|transport| transport.tier() == tier).ok_or_else(|| {
                Error::new(ErrorKind::Config, format!("this build does not include the {tier} tier"))
            })?;
        let guard = RedirectGuard::new(self, fetch, &permits.host);
        let limits = plan.remaining_limits(fetch.counters.bytes);
        let attempt = AttemptRequest {
            request: plan.request,
            identity: fetch.identity(),
            limits: &limits,
            render: plan.render,
            streaming: plan.body_sink.is_file(),
            hooks: Some(&guard),
        };
        transport.execute(attempt).await
    }
}

/// Reads the part of `body` that is classified. Adds all received bytes to `bytes`.
async fn read_prefix(body: Body, bytes: &Arc<AtomicU64>) -> Result<PartialBody> {
    match body {
        Body::Buffered(prefix) => {
            bytes.fetch_add(prefix.len() as u64, Ordering::Relaxed);
            Ok(PartialBody { prefix, rest: None })
        }
        Body::Streaming(stream) => {
            let bytes = Arc::clone(bytes);
            let counted = stream.inspect_ok(move |chunk| {
                bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            });
            PartialBody::read_prefix(counted.boxed(), detect::PREFIX).await
        }
    }
}

/// Whether the body says nothing about a block. A response to HEAD does not have a body, and many servers answer a
/// POST or DELETE with a success status and an empty body.
fn has_no_body_to_judge(method: &Method, status: StatusCode, body: &[u8]) -> bool {
    method == Method::HEAD || !method.is_safe() && status.is_success() && body.is_empty()
}
