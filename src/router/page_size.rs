//! Pages far smaller than a site's usually are: refused for that, unless every tier gets the same.

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

/// A page whose size can be compared with those of its neighbours.
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
    /// The page of an answer, when it is one: a 200 to a navigation, HTML, from the part of the site that was
    /// asked.
    pub(super) fn from_response(errand: &FetchPlan<'_>, tier: Tier, seen: &ResponseView<'_>) -> Option<Self> {
        let request = errand.request;
        let is_page =
            request.method == Method::GET && request.context == Context::Navigation && seen.is_page();
        if !is_page {
            return None;
        }
        let area = errand.site_section;
        (*seen.url == request.url || SiteSection::from_url(seen.url) == **area).then(|| {
            let is_dom = tier == Tier::Browser && errand.render.body != Some(BodySource::Raw);
            let area = Arc::clone(area);
            Self {
                site_section: area,
                source: if is_dom { MarkupSource::Dom } else { MarkupSource::Html },
                url_hash: url_bit(&request.url),
            }
        })
    }
}

impl Router {
    /// What is expected of an answer: what the caller said, and the usual size where the answer is far below
    /// it. The second part tells whether that was added.
    pub(super) fn expectation_for<'a>(
        &self,
        errand: &FetchPlan<'a>,
        seen: &ResponseView<'_>,
        page: Option<&PageSizeSample>,
    ) -> (Option<Cow<'a, Expectation>>, bool) {
        let said = errand.expectation.map(Cow::Borrowed);
        let usual = page
            .filter(|_| seen.complete && errand.expectation.is_none_or(Expectation::allows_learned_size))
            .and_then(|page| self.memory.usual_page_size(&page.site_section, page.source, page.url_hash))
            .and_then(|usual| usize::try_from(usual).ok());
        let expect = usual.map(|usual| errand.expectation.cloned().unwrap_or_default().usual_bytes(usual));
        match expect.filter(|expect| expect.is_too_small(seen)) {
            Some(expect) => (Some(Cow::Owned(expect)), true),
            None => (said, false),
        }
    }

    /// Looks at the size of what an attempt brought. A page that the highest tier found as small as the others
    /// did is accepted: the site has changed.
    pub(super) async fn apply_size_check(
        &self,
        errand: &FetchPlan<'_>,
        way: &mut FetchState,
        attempted: &AttemptSample,
        outcome: Result<ClassifiedResponse>,
    ) -> Result<ClassifiedResponse> {
        let mut judged = outcome?;
        let Some(small) = judged.undersized.take() else {
            self.record_page_size(way, &judged);
            return Ok(judged);
        };
        let bytes = small.prefix.len() as u64;
        let is_top = attempted.tier == errand.policy.highest_tier();
        let is_repeated = way.suspects.iter().any(|doubt| doubt.attempt.tier != attempted.tier)
            && way.suspects.iter().all(|doubt| is_similar_size(doubt.bytes, bytes));
        if is_top && is_repeated {
            tracing::info!(
                host = errand.host(),
                bytes,
                "every tier gets so small a page: the site has changed"
            );
            judged.verdict = accept_verdict(judged.verdict);
            judged.body = Some(Box::pin(small.finish(errand.body_sink, judged.status)).await?);
            self.record_page_size(way, &judged);
            return Ok(judged);
        }
        if let Some(page) = judged.size_sample.take() {
            way.suspects.push(SuspectPage { attempt: attempted.clone(), sample: page, bytes });
        }
        Ok(judged)
    }

    /// Learns from the size of a genuine page, and from those that were refused for being as small.
    fn record_page_size(&self, way: &mut FetchState, judged: &ClassifiedResponse) {
        let Some(kept) = judged.body.as_ref().filter(|_| judged.verdict.is_genuine()) else { return };
        for SuspectPage {
            attempt: attempted,
            sample: PageSizeSample { site_section: area, source: form, url_hash: mark },
            bytes,
        } in way.suspects.drain(..)
        {
            if is_similar_size(bytes, kept.length) {
                self.memory.record_attempt(attempted, true);
                self.memory.record_page_size(&area, form, SizeSample::Page { bytes, url_bit: mark });
            }
        }
        if let Some(PageSizeSample { site_section: area, source: form, url_hash: mark }) = &judged.size_sample
        {
            let measure = SizeSample::Page { bytes: kept.length, url_bit: *mark };
            self.memory.record_page_size(area, *form, measure);
        }
    }

    /// Remembers a fetch that ends with nothing but a page too small: after a few in a row the size is accepted.
    pub(super) fn record_suspect_size(
        &self,
        way: &FetchState,
        step: &Action,
        outcome: &Result<ClassifiedResponse>,
    ) {
        let is_end = matches!(step, Action::Blocked { .. } | Action::OutOfBudget { .. });
        let is_small = outcome.as_ref().is_ok_and(|judged| is_size_only(&judged.verdict));
        if !is_end || !is_small {
            return;
        }
        for form in MarkupSource::ALL {
            if let Some(doubt) = way.suspects.iter().find(|doubt| doubt.sample.source == form) {
                self.memory.record_page_size(&doubt.sample.site_section, form, SizeSample::TooSmall);
            }
        }
    }
}

/// Whether a page is refused for being smaller than usual, and for nothing else.
pub(super) fn is_size_only(verdict: &Verdict) -> bool {
    verdict.kind == VerdictKind::Stub
        && verdict.evidence.iter().all(|evidence| evidence.rule == Expectation::USUAL_BYTES)
}

fn accept_verdict(mut verdict: Verdict) -> Verdict {
    verdict.kind = VerdictKind::Genuine;
    for evidence in &mut verdict.evidence {
        evidence.text.push_str("; accepted, every tier gets it");
    }
    verdict
}
