//! Refuses pages that are far smaller than the site's usual size, unless every tier gets the same.

use std::borrow::Cow;

use super::page_size::{PageSizeSample, SuspectPage, is_size_only};
use super::plan::FetchPlan;
use super::policy::Action;
use super::response::ClassifiedResponse;
use super::services::Router;
use super::state::FetchState;
use crate::detect::{Expectation, ResponseView};
use crate::exchange::error::Result;
use crate::exchange::verdict::{Verdict, VerdictKind};
use crate::memory::{MarkupSource, SizeSample, is_similar_size};

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
        fetch: &mut FetchState<'_>,
        outcome: Result<ClassifiedResponse>,
    ) -> Result<ClassifiedResponse> {
        let mut response = outcome?;
        let Some(undersized) = response.undersized.take() else {
            self.record_page_size(fetch, &response);
            return Ok(response);
        };
        let (plan, suspects) = (fetch.plan, &fetch.current.suspects);
        let bytes = undersized.prefix.len() as u64;
        let is_top = fetch.tier() == plan.policy.highest_tier();
        let is_repeated = suspects.iter().any(|suspect| suspect.attempt.tier != fetch.tier())
            && suspects.iter().all(|suspect| is_similar_size(suspect.bytes, bytes));
        if is_top && is_repeated {
            tracing::info!(host = plan.host(), bytes, "small page accepted: every tier gets the same size");
            response.verdict = accept_verdict(response.verdict, "every tier gets the same");
            let (status, headers) = (response.raw.status, &response.raw.headers);
            let stored = Box::pin(undersized.finish(plan.body_sink, plan.request, status, headers)).await?;
            response.raw.body = Some(stored);
            self.record_page_size(fetch, &response);
            return Ok(response);
        }
        if let (Some(page), Some(sample)) = (response.size_sample.take(), &fetch.current.sample) {
            let suspect = SuspectPage { attempt: sample.clone(), sample: page, bytes };
            fetch.current.suspects.push(suspect);
        }
        Ok(response)
    }

    /// Records the size of a genuine page, and of suspect pages of a similar size.
    fn record_page_size(&self, fetch: &mut FetchState<'_>, response: &ClassifiedResponse) {
        let Some(body) = response.raw.body.as_ref().filter(|_| response.verdict.is_genuine()) else { return };
        for SuspectPage {
            attempt: sample,
            sample: PageSizeSample { site_section: section, source, url_hash },
            bytes,
        } in fetch.current.suspects.drain(..)
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
        fetch: &FetchState<'_>,
        action: &Action,
        outcome: &Result<ClassifiedResponse>,
    ) {
        let is_end = matches!(action, Action::Blocked { .. } | Action::OutOfBudget { .. });
        let is_small = outcome.as_ref().is_ok_and(|response| is_size_only(&response.verdict));
        if !is_end || !is_small {
            return;
        }
        for source in MarkupSource::ALL {
            if let Some(suspect) =
                fetch.current.suspects.iter().find(|suspect| suspect.sample.source == source)
            {
                self.memory.record_page_size(&suspect.sample.site_section, source, SizeSample::TooSmall);
            }
        }
    }
}

/// Returns the verdict of a page that is accepted all the same, with the reason in its evidence.
pub(super) fn accept_verdict(mut verdict: Verdict, why: &str) -> Verdict {
    verdict.kind = VerdictKind::Genuine;
    for evidence in &mut verdict.evidence {
        evidence.text.push_str("; accepted, ");
        evidence.text.push_str(why);
    }
    verdict
}
