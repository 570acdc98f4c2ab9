//! The settings of one fetch, fixed while it runs.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use super::body::BodySink;
use super::identity_source::IdentitySource;
use super::policy::EscalationPolicy;
use crate::detect::{Expectation, Rules};
use crate::identity::Identity;
use crate::limits::Limits;
use crate::memory::{SavedIdentityKey, SiteSection};
use crate::phase::{FetchObserver, FetchPhase};
use crate::proxy_session::ProxySession;
use crate::rate_limit::{RateLimit, RobotsPolicy};
use crate::render::RenderOptions;
use crate::request::Request;
use crate::response::SentRequest;
use crate::tier::Tier;

/// The pair of identities used for a fetch: one for the plain tier, one for the browser-like tiers.
pub(crate) struct IdentityPair {
    pub(crate) plain: Identity,
    pub(crate) browser: Identity,
    /// The key under which the host memory stores clearances. `None` for identities that live for one fetch.
    pub(crate) memory_key: Option<SavedIdentityKey>,
    /// The proxy session of a pool that the identities use.
    pub(crate) proxy_session: Option<Arc<ProxySession>>,
    /// The identities connect directly because no proxy works.
    pub(crate) is_direct_fallback: bool,
}

impl IdentityPair {
    pub(super) fn for_tier(&self, tier: Tier) -> &Identity {
        if tier == Tier::Plain { &self.plain } else { &self.browser }
    }
}

/// The settings of one fetch, fixed while it runs.
#[derive(Clone, Copy)]
pub(crate) struct FetchPlan<'a> {
    pub(crate) request: &'a Request,
    /// The section of the site that the URL belongs to.
    pub(crate) site_section: &'a Arc<SiteSection>,
    pub(crate) identities: &'a IdentityPair,
    pub(crate) limits: &'a Limits,
    pub(crate) policy: EscalationPolicy,
    pub(crate) render: &'a RenderOptions,
    pub(crate) body_sink: &'a BodySink,
    pub(crate) expectation: Option<&'a Expectation>,
    /// Block rules that replace the router's own.
    pub(crate) rules: Option<&'a Rules>,
    pub(crate) robots: RobotsPolicy,
    pub(crate) rate_limit: RateLimit,
    /// The source of other identities when `identities` are refused.
    pub(crate) identity_source: Option<&'a dyn IdentitySource>,
    /// Receives the phases and attempts of the fetch.
    pub(crate) observer: Option<&'a dyn FetchObserver>,
    /// Receives the last request as it was sent.
    pub(crate) sent_request: Option<&'a Mutex<Option<SentRequest>>>,
    /// The identities to fall back to if the default profile is being re-probed and is still blocked.
    pub(crate) probe_fallback: Option<&'a Arc<IdentityPair>>,
}

impl FetchPlan<'_> {
    /// Returns the key of the identity that earns and uses clearances.
    pub(super) fn identity_key(&self) -> u64 {
        self.identities.browser.key()
    }

    pub(super) fn host(&self) -> &str {
        self.request.url.host_str().unwrap_or_default()
    }

    pub(super) fn report_phase(&self, phase: FetchPhase) {
        if let Some(observer) = self.observer {
            observer.on_phase(phase);
        }
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

/// Returns the limits of an attempt after `spent` bytes of the budget are used.
pub(super) fn remaining_limits(plan: &FetchPlan<'_>, spent: u64) -> Limits {
    let left = plan.policy.budget.bytes.map_or(u64::MAX, |bytes| bytes.saturating_sub(spent));
    let limits = *plan.limits;
    Limits { max_body: limits.max_body.min(left), max_file: limits.max_file.min(left), ..limits }
}
