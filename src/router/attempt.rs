//! One attempt: send, read, classify. A page that must be parsed is classified on a blocking thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use http::{Method, StatusCode};

use super::body::PartialBody;
use super::plan::{FetchPlan, remaining_limits};
use super::redirect_guard::RedirectGuard;
use super::response::ClassifiedResponse;
use super::{Router, page_size};
use crate::detect::{self, Expectation, ResponseView, Rules};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::host_limiter::HostPermit;
use crate::response::{Body, RawResponse};
use crate::tier::Tier;
use crate::transport::AttemptRequest;
use crate::verdict::{Verdict, VerdictKind};

impl Router {
    /// Makes one attempt: reads the response head, classifies the response and, if it is genuine, reads the whole
    /// body. `spent` is the number of bytes that earlier attempts received. Adds this attempt's bytes to `bytes`.
    pub(super) async fn attempt(
        &self,
        plan: &FetchPlan<'_>,
        tier: Tier,
        permit: &HostPermit,
        spent: u64,
        bytes: &Arc<AtomicU64>,
    ) -> Result<ClassifiedResponse> {
        let transport =
            self.transports.iter().find(|transport| transport.tier() == tier).ok_or_else(|| {
                Error::new(ErrorKind::Config, format!("this build does not include the {tier} tier"))
            })?;
        let identity = plan.identities.for_tier(tier);
        let guard = RedirectGuard::new(self, plan, tier, permit);
        let limits = remaining_limits(plan, spent);
        let attempt = AttemptRequest {
            request: plan.request,
            identity,
            limits: &limits,
            render: plan.render,
            streaming: plan.body_sink.is_file(),
            hooks: Some(&guard),
        };
        let response = transport.execute(attempt).await?;
        let RawResponse { status, version, headers, url, redirects, body, timings, browser } = response;
        if tier == Tier::Browser && url != plan.request.url {
            // A page may also change its own URL by script.
            Box::pin(self.check_robots(plan, &url, None)).await?;
        }
        let partial = match body {
            Body::Buffered(prefix) => {
                bytes.fetch_add(prefix.len() as u64, Ordering::Relaxed);
                PartialBody { prefix, rest: None }
            }
            Body::Streaming(stream) => {
                let bytes = Arc::clone(bytes);
                let counted = stream.inspect_ok(move |chunk| {
                    bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                });
                PartialBody::read_prefix(counted.boxed(), detect::PREFIX).await?
            }
        };
        let view = ResponseView {
            tier: Some(tier),
            status: status.as_u16(),
            headers: &headers,
            url: &url,
            requested: &plan.request.url,
            body: &partial.prefix,
            complete: partial.rest.is_none()
                && !has_no_body_to_judge(&plan.request.method, status, &partial.prefix),
            via_proxy: identity.proxy_rules().proxy(&url).is_some(),
        };
        let page = page_size::PageSizeSample::from_response(plan, tier, &view);
        let (expect, is_usual) = self.expectation_for(plan, &view, page.as_ref());
        let rules = plan.rules.unwrap_or(&self.rules);
        let verdict = classify(rules, &view, &partial.prefix, expect.as_deref()).await;
        let (stored, undersized) = match verdict.kind {
            VerdictKind::Genuine | VerdictKind::OriginError => {
                (Some(partial.finish(plan.body_sink, status).await?), None)
            }
            _ => (None, Some(partial).filter(|_| is_usual && page_size::is_size_only(&verdict))),
        };
        Ok(ClassifiedResponse {
            status,
            version,
            headers,
            url,
            redirects,
            timings,
            verdict,
            body: stored,
            size_sample: page,
            undersized,
            browser,
        })
    }
}

/// Whether the body says nothing about a block. A response to HEAD does not have a body, and many servers answer a
/// POST or DELETE with a success status and an empty body.
fn has_no_body_to_judge(method: &Method, status: StatusCode, body: &[u8]) -> bool {
    method == Method::HEAD || !method.is_safe() && status.is_success() && body.is_empty()
}

/// Classifies `view`, whose body is `body`.
async fn classify(
    rules: &Rules,
    view: &ResponseView<'_>,
    body: &Bytes,
    expect: Option<&Expectation>,
) -> Verdict {
    let classify_full = |rules: &Rules, view: &ResponseView<'_>, expect: Option<&Expectation>| match expect {
        Some(expect) => rules.classify_with_expectation(view, expect),
        None => rules.classify(view),
    };
    if expect.is_none()
        && let Some(verdict) = rules.classify_cheap(view)
    {
        return verdict;
    }
    let (rules_too, expect_too, body) = (rules.clone(), expect.cloned(), body.clone());
    let (headers, url, requested) = (view.headers.clone(), view.url.clone(), view.requested.clone());
    let (tier, status, complete, via_proxy) = (view.tier, view.status, view.complete, view.via_proxy);
    let parsing = tokio::task::spawn_blocking(move || {
        let view = ResponseView {
            tier,
            status,
            headers: &headers,
            url: &url,
            requested: &requested,
            body: &body,
            complete,
            via_proxy,
        };
        classify_full(&rules_too, &view, expect_too.as_ref())
    });
    // Joining fails only while the runtime shuts down.
    parsing.await.unwrap_or_else(|_| classify_full(rules, view, expect))
}
