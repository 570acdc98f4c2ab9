//! The settings of one fetch, fixed while it runs.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use super::body::BodySink;
use super::identity_source::IdentitySource;
use super::policy::EscalationPolicy;
use crate::detect::{Expectation, Rules};
use crate::exchange::phase::{FetchObserver, FetchPhase};
use crate::exchange::request::Request;
use crate::exchange::response::Capture;
use crate::exchange::robots_policy::RobotsPolicy;
use crate::memory::SiteSection;
use crate::settings::limits::Limits;
use crate::settings::rate_limit::RateLimit;
use crate::settings::render::RenderOptions;

/// The settings of one fetch, fixed while it runs.
pub(crate) struct FetchPlan<'a> {
    pub(crate) request: &'a Request,
    /// The section of the site that the URL belongs to.
    pub(crate) site_section: &'a Arc<SiteSection>,
    pub(crate) limits: &'a Limits,
    pub(crate) policy: EscalationPolicy,
    pub(crate) render: &'a RenderOptions,
    pub(crate) body_sink: &'a BodySink,
    pub(crate) expectation: Option<&'a Expectation>,
    /// Block rules that replace the router's own.
    pub(crate) rules: Option<&'a Rules>,
    pub(crate) robots: RobotsPolicy,
    pub(crate) rate_limit: RateLimit,
    /// The source of other identities when the first ones are refused.
    pub(crate) identity_source: Option<&'a dyn IdentitySource>,
    /// Receives the phases and attempts of the fetch.
    pub(crate) observer: Option<&'a dyn FetchObserver>,
    /// Receives what is sent, and the response that is refused.
    pub(crate) capture: Option<&'a Mutex<Capture>>,
}

impl FetchPlan<'_> {
    pub(super) fn host(&self) -> &str {
        self.request.url.host_str().unwrap_or_default()
    }

    pub(super) fn report_phase(&self, phase: FetchPhase) {
        if let Some(observer) = self.observer {
            observer.on_phase(phase);
        }
    }

    /// Returns the limits of an attempt after `spent` bytes of the budget are used.
    pub(super) fn remaining_limits(&self, spent: u64) -> Limits {
        let left = self.policy.budget.bytes.map_or(u64::MAX, |bytes| bytes.saturating_sub(spent));
        let limits = *self.limits;
        Limits { max_body: limits.max_body.min(left), max_file: limits.max_file.min(left), ..limits }
    }

    /// Awaits `future`. Reports `phase` only if the future is not ready at once.
    /// The future is boxed because the future of a fetch would otherwise contain it twice.
    pub(super) async fn wait_in_phase<F: Future>(
        &self,
        phase: FetchPhase,
        mut future: Pin<Box<F>>,
    ) -> F::Output {
        if let Poll::Ready(done) = futures_util::poll!(&mut future) {
            return done;
        }
        self.report_phase(phase);
        future.await
    }
}
