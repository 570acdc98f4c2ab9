//! A place at the persona's exit around an attempt, and what the attempt tells of the exit.

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

/// What came of asking for a place.
pub(super) enum ProxyAdmission {
    /// There is one; none is needed without a pool's session.
    Granted(Option<ProxyPermit>),
    /// The exit does not work: this persona goes instead.
    SwitchIdentity(Arc<IdentityPair>),
}

/// Closes what a persona leaves behind that is for one fetch, when the fetch is over or dropped.
pub(super) struct EphemeralIdentityGuard<'a>(Option<(&'a Router, [u64; 2])>);

impl<'a> EphemeralIdentityGuard<'a> {
    pub(super) fn new(router: &'a Router, persona: &IdentityPair) -> Self {
        let fleeting = persona.proxy_session.as_ref().is_some_and(|session| session.is_ephemeral());
        Self(fleeting.then(|| (router, [persona.plain.key(), persona.browser.key()])))
    }
}

impl Drop for EphemeralIdentityGuard<'_> {
    fn drop(&mut self) {
        let Some((router, keys)) = self.0 else { return };
        router.drop_keys(keys);
    }
}

impl Router {
    /// Closes what is kept for a persona that asks no more.
    pub(crate) fn drop_identities(&self, persona: &IdentityPair) {
        self.drop_keys([persona.plain.key(), persona.browser.key()]);
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
    /// The session that the URL is asked by, where a pool's exit is on the way.
    fn proxy_session(&self) -> Option<&Arc<ProxySession>> {
        let session = self.identities.proxy_session.as_ref()?;
        session.proxy_rules().proxy(&self.request.url).map(|_| session)
    }

    fn site_key(&self) -> String {
        registrable_domain::site_key(&self.request.url).to_owned()
    }
}

impl Router {
    /// Waits for a place at the exit, or names who goes instead.
    pub(super) async fn acquire_proxy(
        errand: &FetchPlan<'_>,
        tier: Tier,
        history: &mut AttemptCounters,
        progress: &mut TraceBuilder,
    ) -> Result<ProxyAdmission> {
        let Some(session) = errand.proxy_session() else { return Ok(ProxyAdmission::Granted(None)) };
        let began = Instant::now();
        let admitted = session.acquire(&errand.site_key()).await;
        progress.waited += began.elapsed();
        let boarded = match admitted {
            Ok(Some(permit)) => Ok(ProxyAdmission::Granted(Some(permit))),
            Ok(None) => next_proxy(errand, history).map(ProxyAdmission::SwitchIdentity),
            Err(error) => Err(error),
        };
        boarded.inspect_err(|error| {
            progress.begin_attempt(errand, tier);
            progress.fail_attempt(errand, error);
        })
    }

    /// robots.txt could not be had because of `error`: where that is the exit's doing, who goes instead.
    pub(super) fn on_robots_error(
        errand: &FetchPlan<'_>,
        history: &mut AttemptCounters,
        error: Error,
    ) -> Result<Arc<IdentityPair>> {
        match (errand.proxy_session(), proxy_fault(Tier::Plain, &error)) {
            (Some(session), Some(blame)) if error.kind() == ErrorKind::Proxy => {
                session.record_fault(blame, &errand.site_key());
                next_proxy(errand, history).map_err(|_| error)
            }
            _ => Err(error),
        }
    }

    /// Tells the exit what came of an attempt.
    pub(super) fn report_to_proxy(
        place: Option<ProxyPermit>,
        tier: Tier,
        outcome: &Result<ClassifiedResponse>,
    ) {
        let Some(place) = place else { return };
        place.finish(match outcome {
            Ok(judged) => use_outcome(judged),
            Err(error) => proxy_fault(tier, error).map_or(UseOutcome::Unknown, UseOutcome::Fault),
        });
    }
}

/// Who goes instead, because the exit does not work.
fn next_proxy(errand: &FetchPlan<'_>, history: &mut AttemptCounters) -> Result<Arc<IdentityPair>> {
    let none = || Error::new(ErrorKind::Proxy, "the proxy does not work just now, and there is no other");
    let others =
        errand.identity_source.filter(|_| history.proxy_faults < MAX_PROXY_FAULTS).ok_or_else(none)?;
    history.proxy_faults += 1;
    others.other_proxy(errand.identities, true)
}

/// What an answer says of the exit it came by.
fn use_outcome(judged: &ClassifiedResponse) -> UseOutcome {
    match judged.verdict.kind {
        VerdictKind::Genuine => {
            let latency = judged.timings.first_byte;
            UseOutcome::Page((!latency.is_zero() && judged.browser.is_none()).then_some(latency))
        }
        // What is served to addresses of bad repute.
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

/// What an error says of the exit. `None` where it had no part in it.
fn proxy_fault(tier: Tier, error: &Error) -> Option<FaultSource> {
    let of_site = proxy::is_target_error(error);
    match error.kind() {
        ErrorKind::Proxy => Some(if of_site { FaultSource::Unclear } else { FaultSource::Proxy }),
        ErrorKind::Connect => (!of_site).then_some(FaultSource::Unclear),
        ErrorKind::Tls => is_handshake_aborted(error).then_some(FaultSource::Unclear),
        ErrorKind::Protocol => Some(FaultSource::Unclear),
        // A page in the browser may take its time for many reasons.
        ErrorKind::Timeout => (tier != Tier::Browser).then_some(FaultSource::Unclear),
        _ => None,
    }
}

/// Whether a TLS handshake ended because the connection did: nobody objected to a certificate.
pub(super) fn is_handshake_aborted(error: &Error) -> bool {
    error.kind() == ErrorKind::Tls && proxy::is_caused_by::<io::Error>(error)
}
