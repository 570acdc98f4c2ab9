//! One attempt: send, read, classify. A page that must be parsed is classified on a blocking thread.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, TryStreamExt};
use http::{HeaderMap, Method, StatusCode};
use tracing::Instrument;
use url::Url;

use super::body::PartialBody;
use super::classify::classify;
use super::false_alarm::alarm_outcome;
use super::page_size::{PageSizeSample, is_size_only};
use super::permits::Permits;
use super::plan::FetchPlan;
use super::redirect_guard::RedirectGuard;
use super::response::ClassifiedResponse;
use super::services::Router;
use super::size_check::accept_verdict;
use super::state::FetchState;
use crate::detect::{self, Expectation, ResponseView, Rules};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::phase::FetchPhase;
use crate::exchange::response::{Body, RawResponse, RefusedResponse};
use crate::exchange::tier::Tier;
use crate::exchange::verdict::VerdictKind;
use crate::net::AttemptRequest;
use crate::os::sync::lock_unpoisoned;
use crate::settings::render::{PageCheck, RenderOptions};

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
        if let Ok(response) = &outcome {
            self.record_alarm(fetch, response);
        }
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
        let partial = read_prefix(body, bytes, plan.body_sink.keeps_broken()).await?;
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
        let alarmed = size_sample.as_ref().filter(|_| verdict.is_structural() && view.complete);
        let verdict = match alarmed {
            Some(page)
                if self.memory.is_false_alarm(&page.site_section, verdict.kind, view.body.len() as u64) =>
            {
                accept_verdict(verdict, "the browser gets the same")
            }
            _ => verdict,
        };
        let (is_page, browser) = (alarmed.is_some(), head.browser.as_ref());
        let alarm = alarm_outcome(fetch, &view, &partial.prefix, &verdict, is_page, browser);
        let (stored, undersized) = match verdict.kind {
            VerdictKind::Genuine | VerdictKind::OriginError => {
                let stored = partial.finish(plan.body_sink, plan.request, head.status, &head.headers).await?;
                (Some(stored), None)
            }
            _ => {
                capture_refused(plan, &head, &partial);
                (None, Some(partial).filter(|_| is_usual && is_size_only(&verdict)))
            }
        };
        Ok(ClassifiedResponse { raw: head.with_body(stored), verdict, size_sample, undersized, alarm })
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
        let expected = (tier == Tier::Browser).then(|| expected_page(plan, &self.rules)).flatten();
        let render = match expected {
            None => Cow::Borrowed(plan.render),
            expected => Cow::Owned(RenderOptions { expected, ..plan.render.clone() }),
        };
        let attempt = AttemptRequest {
            request: plan.request,
            identity: fetch.identity(),
            limits: &limits,
            render: &render,
            streaming: plan.body_sink.is_file(),
            hooks: Some(&guard),
        };
        transport.execute(attempt).await
    }
}

/// Returns the check that tells the browser whether its page is the one that the caller expects. `None` if the caller
/// expects nothing.
fn expected_page(plan: &FetchPlan<'_>, rules: &Rules) -> Option<PageCheck> {
    if plan.expectation.is_none() && plan.rules.is_none() {
        return None;
    }
    let expect = plan.expectation.cloned().unwrap_or_default();
    let rules = plan.rules.unwrap_or(rules).clone();
    let check = move |status: u16, headers: &HeaderMap, url: &Url, body: &[u8]| {
        is_expected(&rules, &ResponseView::of_shown_page(status, headers, url, body), &expect)
    };
    Some(PageCheck(Arc::new(check)))
}

/// Whether a page is not a challenge and, if something is expected, has it. A page of unknown make that has a script may
/// still become the expected one.
fn is_expected(rules: &Rules, view: &ResponseView<'_>, expect: &Expectation) -> bool {
    let kind = rules.classify_with_expectation(view, expect).kind;
    match kind {
        VerdictKind::Challenge => false,
        _ if expect.is_empty() => true,
        VerdictKind::Stub if view.status == 200 => false,
        VerdictKind::Block | VerdictKind::Stub | VerdictKind::OriginError => !detect::has_script(view.body),
        _ => true,
    }
}

/// Keeps a refused response for a caller that wants to see it.
fn capture_refused(plan: &FetchPlan<'_>, head: &RawResponse<()>, partial: &PartialBody) {
    let Some(capture) = plan.capture else { return };
    lock_unpoisoned(capture).refused = Some(RefusedResponse {
        status: head.status,
        url: head.url.clone(),
        headers: head.headers.clone(),
        received: head.received.clone(),
        redirects: head.redirects.clone(),
        body: partial.prefix.clone(),
        is_complete: partial.rest.is_none(),
    });
}

/// Reads the part of `body` that is classified, as [`PartialBody::read_prefix`] does. Adds all received bytes to `bytes`.
async fn read_prefix(body: Body, bytes: &Arc<AtomicU64>, keeps_broken: bool) -> Result<PartialBody> {
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
            PartialBody::read_prefix(counted.boxed(), detect::PREFIX, keeps_broken).await
        }
    }
}

/// Whether the body says nothing about a block. A response to HEAD does not have a body, and many servers answer a
/// POST or DELETE with a success status and an empty body.
fn has_no_body_to_judge(method: &Method, status: StatusCode, body: &[u8]) -> bool {
    method == Method::HEAD || !method.is_safe() && status.is_success() && body.is_empty()
}
