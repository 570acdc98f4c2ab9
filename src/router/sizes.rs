//! Pages far smaller than a site's usually are: refused for that, unless every tier gets the same.

use std::borrow::Cow;
use std::sync::Arc;

use http::Method;

use super::policy::Step;
use super::way::Way;
use super::{Errand, Judged, Router};
use crate::detect::{Expect, Seen};
use crate::error::Result;
use crate::memory::{Area, Attempted, Form, Measure, is_alike, mark};
use crate::request::Context;
use crate::tier::Tier;
use crate::verdict::{Verdict, VerdictKind};
use crate::view::BodyForm;

/// A page whose size can be compared with those of its neighbours.
pub(super) struct Page {
    area: Arc<Area>,
    form: Form,
    mark: u64,
}

/// A page that was refused for its size alone.
pub(super) struct Doubt {
    attempted: Attempted,
    page: Page,
    bytes: u64,
}

impl Page {
    /// The page of an answer, when it is one: a 200 to a navigation, HTML, from the part of the site that was
    /// asked.
    pub(super) fn of(errand: &Errand<'_>, tier: Tier, seen: &Seen<'_>) -> Option<Self> {
        let request = errand.request;
        let is_page =
            request.method == Method::GET && request.context == Context::Navigation && seen.is_page();
        if !is_page {
            return None;
        }
        let area = errand.area;
        (*seen.url == request.url || Area::of(seen.url) == **area).then(|| {
            let is_dom = tier == Tier::Browser && errand.view.body != Some(BodyForm::Raw);
            let area = Arc::clone(area);
            Self { area, form: if is_dom { Form::Dom } else { Form::Html }, mark: mark(&request.url) }
        })
    }
}

impl Router {
    /// What is expected of an answer: what the caller said, and the usual size where the answer is far below
    /// it. The second part tells whether that was added.
    pub(super) fn expected<'a>(
        &self,
        errand: &Errand<'a>,
        seen: &Seen<'_>,
        page: Option<&Page>,
    ) -> (Option<Cow<'a, Expect>>, bool) {
        let said = errand.expect.map(Cow::Borrowed);
        let usual = page
            .filter(|_| seen.complete && errand.expect.is_none_or(Expect::leaves_size_open))
            .and_then(|page| self.memory.usual(&page.area, page.form, page.mark))
            .and_then(|usual| usize::try_from(usual).ok());
        let expect = usual.map(|usual| errand.expect.cloned().unwrap_or_default().usual_bytes(usual));
        match expect.filter(|expect| expect.is_small(seen)) {
            Some(expect) => (Some(Cow::Owned(expect)), true),
            None => (said, false),
        }
    }

    /// Looks at the size of what an attempt brought. A page that the highest tier found as small as the others
    /// did is accepted: the site has changed.
    pub(super) async fn weigh(
        &self,
        errand: &Errand<'_>,
        way: &mut Way,
        attempted: &Attempted,
        outcome: Result<Judged>,
    ) -> Result<Judged> {
        let mut judged = outcome?;
        let Some(small) = judged.small.take() else {
            self.measure(way, &judged);
            return Ok(judged);
        };
        let bytes = small.prefix.len() as u64;
        let is_top = attempted.tier == errand.ladder.top();
        let is_repeated = way.doubts.iter().any(|doubt| doubt.attempted.tier != attempted.tier)
            && way.doubts.iter().all(|doubt| is_alike(doubt.bytes, bytes));
        if is_top && is_repeated {
            tracing::info!(
                host = errand.host(),
                bytes,
                "every tier gets so small a page: the site has changed"
            );
            judged.verdict = accepted(judged.verdict);
            judged.kept = Some(Box::pin(small.finish(errand.keep, judged.status)).await?);
            self.measure(way, &judged);
            return Ok(judged);
        }
        if let Some(page) = judged.page.take() {
            way.doubts.push(Doubt { attempted: attempted.clone(), page, bytes });
        }
        Ok(judged)
    }

    /// Learns from the size of a genuine page, and from those that were refused for being as small.
    fn measure(&self, way: &mut Way, judged: &Judged) {
        let Some(kept) = judged.kept.as_ref().filter(|_| judged.verdict.is_genuine()) else { return };
        for Doubt { attempted, page: Page { area, form, mark }, bytes } in way.doubts.drain(..) {
            if is_alike(bytes, kept.length) {
                self.memory.tried(attempted, true);
                self.memory.measured(&area, form, Measure::Page { bytes, mark });
            }
        }
        if let Some(Page { area, form, mark }) = &judged.page {
            let measure = Measure::Page { bytes: kept.length, mark: *mark };
            self.memory.measured(area, *form, measure);
        }
    }

    /// Remembers a fetch that ends with nothing but a page too small: after a few in a row the size is accepted.
    pub(super) fn doubted(&self, way: &Way, step: &Step, outcome: &Result<Judged>) {
        let is_end = matches!(step, Step::Blocked { .. } | Step::Spent { .. });
        let is_small = outcome.as_ref().is_ok_and(|judged| is_by_size(&judged.verdict));
        if !is_end || !is_small {
            return;
        }
        for form in Form::ALL {
            if let Some(doubt) = way.doubts.iter().find(|doubt| doubt.page.form == form) {
                self.memory.measured(&doubt.page.area, form, Measure::Doubt);
            }
        }
    }
}

/// Whether a page is refused for being smaller than usual, and for nothing else.
pub(super) fn is_by_size(verdict: &Verdict) -> bool {
    verdict.kind == VerdictKind::Stub
        && verdict.evidence.iter().all(|evidence| evidence.rule == Expect::USUAL_BYTES)
}

fn accepted(mut verdict: Verdict) -> Verdict {
    verdict.kind = VerdictKind::Genuine;
    for evidence in &mut verdict.evidence {
        evidence.text.push_str("; accepted, every tier gets it");
    }
    verdict
}
