//! Refuses pages that are far smaller than the site's usual size, unless every tier gets the same.

use std::borrow::Cow;
use std::sync::Arc;

use http::Method;

use super::policy::Action;
use super::state::FetchState;
use super::{ClassifiedResponse, FetchPlan, Router};
use crate::detect::{Expectation, ResponseView};
use crate::error::Result;
use crate::memory::{AttemptSample, MarkupSource, SiteSection, SizeSample, is_similar_size, url_bit};
use crate::render::BodySource;
use crate::request::Context;
use crate::tier::Tier;
use crate::verdict::{Verdict, VerdictKind};

/// A page whose size can be compared with other pages of its site section.
pub(super) struct PageSizeSample {
    site_section: Arc<SiteSection>,
    source: MarkupSource,
    url_hash: u64,
}

/// A page that was refused for its size alone.
pub(super) struct SuspectPage {
    attempt: AttemptSample,
    sample: PageSizeSample,
    bytes: u64,
}

impl PageSizeSample {
    /// Returns the sample if the response is a page: a 200 to a navigation, HTML, from the requested section of the
    /// site.
    pub(super) fn from_response(plan: &FetchPlan<'_>, tier: Tier, view: &ResponseView<'_>) -> Option<Self> {
        let request = plan.request;
        let is_page =
            request.method == Method::GET && request.context == Context::Navigation && view.is_page();
        if !is_page {
            return None;
        }
        let section = plan.site_section;
        (*view.url == request.url || SiteSection::from_url(view.url) == **section).then(|| {
            let is_dom = tier == Tier::Browser && plan.render.body != Some(BodySource::Raw);
            let section = Arc::clone(section);
            Self {
                site_section: section,
                source: if is_dom { MarkupSource::Dom } else { MarkupSource::Html },
                url_hash: url_bit(&request.url),
            }
        })
    }
}

impl Router {
    /// Returns the expectation for a response: the caller's, plus the usual size if the response is far below it. The
    /// second value tells whether the size was added.
    pub(super) fn expectation_for<'a>(
        &self,
        plan: &FetchPlan<'a>,
        view: &ResponseView<'_>,
        page: Option<&PageSizeSample>,
    ) -> (Option<Cow<'a, Expectation>>, bool) {
        let given = plan.expectation.map(Cow::Borrowed);
        let usual = page
            .filter(|_| view.complete && plan.expectation.is_none_or(Expectation::allows_learned_size))
            .and_then(|page| self.memory.usual_page_size(&page.site_section, page.source, page.url_hash))
            .and_then(|usual| usize::try_from(usual).ok());
        let expect = usual.map(|usual| plan.expectation.cloned().unwrap_or_default().usual_bytes(usual));
        match expect.filter(|expect| expect.is_too_small(view)) {
            Some(expect) => (Some(Cow::Owned(expect)), true),
            None => (given, false),
        }
    }

    /// Checks the size of a response. Accepts a small page if the highest tier got the same size as the others: then
    /// the site has changed.
    pub(super) async fn apply_size_check(
        &self,
        plan: &FetchPlan<'_>,
        state: &mut FetchState,
        sample: &AttemptSample,
        outcome: Result<ClassifiedResponse>,
    ) -> Result<ClassifiedResponse> {
        let mut response = outcome?;
        let Some(undersized) = response.undersized.take() else {
            self.record_page_size(state, &response);
            return Ok(response);
        };
        let bytes = undersized.prefix.len() as u64;
        let is_top = sample.tier == plan.policy.highest_tier();
        let is_repeated = state.suspects.iter().any(|suspect| suspect.attempt.tier != sample.tier)
            && state.suspects.iter().all(|suspect| is_similar_size(suspect.bytes, bytes));
        if is_top && is_repeated {
            tracing::info!(host = plan.host(), bytes, "small page accepted: every tier gets the same size");
            response.verdict = accept_verdict(response.verdict);
            response.body = Some(Box::pin(undersized.finish(plan.body_sink, response.status)).await?);
            self.record_page_size(state, &response);
            return Ok(response);
        }
        if let Some(page) = response.size_sample.take() {
            state.suspects.push(SuspectPage { attempt: sample.clone(), sample: page, bytes });
        }
        Ok(response)
    }

    /// Records the size of a genuine page, and of suspect pages of a similar size.
    fn record_page_size(&self, state: &mut FetchState, response: &ClassifiedResponse) {
        let Some(body) = response.body.as_ref().filter(|_| response.verdict.is_genuine()) else { return };
        for SuspectPage {
            attempt: sample,
            sample: PageSizeSample { site_section: section, source, url_hash },
            bytes,
        } in state.suspects.drain(..)
        {
            if is_similar_size(bytes, body.length) {
                self.memory.record_attempt(sample, true);
                self.memory.record_page_size(&section, source, SizeSample::Page { bytes, url_bit: url_hash });
            }
        }
        if let Some(PageSizeSample { site_section: section, source, url_hash }) = &response.size_sample {
            let size = SizeSample::Page { bytes: body.length, url_bit: *url_hash };
            self.memory.record_page_size(section, *source, size);
        }
    }

    /// Records a fetch that ends with only a small page. After a few in a row the size is accepted.
    pub(super) fn record_suspect_size(
        &self,
        state: &FetchState,
        action: &Action,
        outcome: &Result<ClassifiedResponse>,
    ) {
        let is_end = matches!(action, Action::Blocked { .. } | Action::OutOfBudget { .. });
        let is_small = outcome.as_ref().is_ok_and(|response| is_size_only(&response.verdict));
        if !is_end || !is_small {
            return;
        }
        for source in MarkupSource::ALL {
            if let Some(suspect) = state.suspects.iter().find(|suspect| suspect.sample.source == source) {
                self.memory.record_page_size(&suspect.sample.site_section, source, SizeSample::TooSmall);
            }
        }
    }
}

/// Whether a page is refused only because it is smaller than usual.
pub(super) fn is_size_only(verdict: &Verdict) -> bool {
    verdict.kind == VerdictKind::Stub
        && verdict.evidence.iter().all(|evidence| evidence.rule == Expectation::USUAL_BYTES)
}

fn accept_verdict(mut verdict: Verdict) -> Verdict {
    verdict.kind = VerdictKind::Genuine;
    for evidence in &mut verdict.evidence {
        evidence.text.push_str("; accepted, every tier gets the same");
    }
    verdict
}
