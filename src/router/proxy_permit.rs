//! Acquires a permit at the identity's proxy before an attempt, and reports the outcome to the proxy afterwards.

use std::io;
use std::sync::Arc;

use tokio::time::Instant;

use super::policy::{AttemptCounters, MAX_PROXY_FAULTS};
use super::trace_builder::TraceBuilder;
use super::{ClassifiedResponse, FetchPlan, IdentityPair, Router};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::proxy;
use crate::proxy_session::{FaultSource, ProxyPermit, ProxySession, UseOutcome};
use crate::registrable_domain;
use crate::tier::Tier;
use crate::verdict::VerdictKind;

/// The result of requesting a permit at a proxy.
pub(super) enum ProxyAdmission {
    /// The permit. `None` if the URL does not use a proxy pool.
    Granted(Option<ProxyPermit>),
    /// The proxy does not work. These identities replace the current ones.
    SwitchIdentity(Arc<IdentityPair>),
}

/// Drops the connections and browser state of identities that live for one fetch, when the fetch ends or is dropped.
pub(super) struct EphemeralIdentityGuard<'a>(Option<(&'a Router, [u64; 2])>);

impl<'a> EphemeralIdentityGuard<'a> {
    pub(super) fn new(router: &'a Router, identities: &IdentityPair) -> Self {
        let is_ephemeral = identities.proxy_session.as_ref().is_some_and(|session| session.is_ephemeral());
        Self(is_ephemeral.then(|| (router, [identities.plain.key(), identities.browser.key()])))
    }
}

impl Drop for EphemeralIdentityGuard<'_> {
    fn drop(&mut self) {
        let Some((router, keys)) = self.0 else { return };
        router.drop_keys(keys);
    }
}

impl Router {
    /// Drops everything that the transports keep for identities that are no longer used.
    pub(crate) fn drop_identities(&self, identities: &IdentityPair) {
        self.drop_keys([identities.plain.key(), identities.browser.key()]);
    }

    fn drop_keys(&self, keys: [u64; 2]) {
        for transport in &self.transports {
            for key in keys {
                transport.drop_identity(key);
            }
        }
    }
}

impl FetchPlan<'_> {
    /// Returns the proxy session for the URL, if a pool's proxy is used for it.
    fn proxy_session(&self) -> Option<&Arc<ProxySession>> {
        let session = self.identities.proxy_session.as_ref()?;
        session.proxy_rules().proxy(&self.request.url).map(|_| session)
    }

    fn site_key(&self) -> String {
        registrable_domain::site_key(&self.request.url).to_owned()
    }
}

impl Router {
    /// Waits for a permit at the proxy, or returns the identities to use instead.
    pub(super) async fn acquire_proxy(
        plan: &FetchPlan<'_>,
        tier: Tier,
        counters: &mut AttemptCounters,
        builder: &mut TraceBuilder,
    ) -> Result<ProxyAdmission> {
        let Some(session) = plan.proxy_session() else { return Ok(ProxyAdmission::Granted(None)) };
        let began = Instant::now();
        let admitted = session.acquire(&plan.site_key()).await;
        builder.waited += began.elapsed();
        let admission = match admitted {
            Ok(Some(permit)) => Ok(ProxyAdmission::Granted(Some(permit))),
            Ok(None) => next_proxy(plan, counters).map(ProxyAdmission::SwitchIdentity),
            Err(error) => Err(error),
        };
        admission.inspect_err(|error| {
            builder.begin_attempt(plan, tier);
            builder.fail_attempt(plan, error);
        })
    }

    /// Handles a failure to check robots.txt. If the proxy caused `error`, returns the identities to use instead.
    pub(super) fn on_robots_error(
        plan: &FetchPlan<'_>,
        counters: &mut AttemptCounters,
        error: Error,
    ) -> Result<Arc<IdentityPair>> {
        match (plan.proxy_session(), proxy_fault(Tier::Plain, &error)) {
            (Some(session), Some(fault)) if error.kind() == ErrorKind::Proxy => {
                session.record_fault(fault, &plan.site_key());
                next_proxy(plan, counters).map_err(|_| error)
            }
            _ => Err(error),
        }
    }

    /// Reports the outcome of an attempt to the proxy session.
    pub(super) fn report_to_proxy(
        permit: Option<ProxyPermit>,
        tier: Tier,
        outcome: &Result<ClassifiedResponse>,
    ) {
        let Some(permit) = permit else { return };
        permit.finish(match outcome {
            Ok(response) => use_outcome(response),
            Err(error) => proxy_fault(tier, error).map_or(UseOutcome::Unknown, UseOutcome::Fault),
        });
    }
}

/// Requests identities on another proxy, because the current one does not work.
fn next_proxy(plan: &FetchPlan<'_>, counters: &mut AttemptCounters) -> Result<Arc<IdentityPair>> {
    let unavailable =
        || Error::new(ErrorKind::Proxy, "the proxy is unavailable, and there is no other proxy");
    let source =
        plan.identity_source.filter(|_| counters.proxy_faults < MAX_PROXY_FAULTS).ok_or_else(unavailable)?;
    counters.proxy_faults += 1;
    source.other_proxy(plan.identities, true)
}

/// Derives the proxy's outcome from a response.
fn use_outcome(response: &ClassifiedResponse) -> UseOutcome {
    match response.verdict.kind {
        VerdictKind::Genuine => {
            let latency = response.timings.first_byte;
            UseOutcome::Page((!latency.is_zero() && response.browser.is_none()).then_some(latency))
        }
        // Sites serve these to addresses with a bad reputation.
        VerdictKind::Block | VerdictKind::Captcha => UseOutcome::Blocked,
        VerdictKind::ProxyFault => UseOutcome::Fault(FaultSource::Unclear),
        VerdictKind::Challenge
        | VerdictKind::Stub
        | VerdictKind::RateLimit
        | VerdictKind::Geo
        | VerdictKind::LoginWall
        | VerdictKind::OriginError => UseOutcome::Answered,
    }
}

/// Derives the proxy's fault from an error. `None` if the proxy did not cause it.
fn proxy_fault(tier: Tier, error: &Error) -> Option<FaultSource> {
    let is_target_error = proxy::is_target_error(error);
    match error.kind() {
        ErrorKind::Proxy => Some(if is_target_error { FaultSource::Unclear } else { FaultSource::Proxy }),
        ErrorKind::Connect => (!is_target_error).then_some(FaultSource::Unclear),
        ErrorKind::Tls => is_handshake_aborted(error).then_some(FaultSource::Unclear),
        ErrorKind::Protocol => Some(FaultSource::Unclear),
        // A page in the browser may be slow for many reasons.
        ErrorKind::Timeout => (tier != Tier::Browser).then_some(FaultSource::Unclear),
        _ => None,
    }
}

/// Whether a TLS handshake failed because the connection ended, not because of a certificate.
pub(super) fn is_handshake_aborted(error: &Error) -> bool {
    error.kind() == ErrorKind::Tls && proxy::is_caused_by::<io::Error>(error)
}
