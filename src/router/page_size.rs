//! Pages whose size can be compared with other pages of their site.

use std::sync::Arc;

use http::Method;

use super::plan::FetchPlan;
use crate::detect::{Expectation, ResponseView};
use crate::exchange::request::Context;
use crate::exchange::tier::Tier;
use crate::exchange::verdict::{Verdict, VerdictKind};
use crate::memory::{AttemptSample, MarkupSource, SiteSection, url_bit};
use crate::settings::render::BodySource;

/// A page whose size can be compared with other pages of its site section.
pub(super) struct PageSizeSample {
    pub(super) site_section: Arc<SiteSection>,
    pub(super) source: MarkupSource,
    pub(super) url_hash: u64,
}

/// A page that was refused for its size alone.
pub(super) struct SuspectPage {
    pub(super) attempt: AttemptSample,
    pub(super) sample: PageSizeSample,
    pub(super) bytes: u64,
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

/// Whether a page is refused only because it is smaller than usual.
pub(super) fn is_size_only(verdict: &Verdict) -> bool {
    verdict.kind == VerdictKind::Stub
        && verdict.evidence.iter().all(|evidence| evidence.rule == Expectation::USUAL_BYTES)
}
