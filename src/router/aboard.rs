//! A place at the persona's exit around an attempt, and what the attempt tells of the exit.

use std::io;
use std::sync::Arc;

use tokio::time::Instant;

use super::policy::{EXITS, History};
use super::progress::Progress;
use super::{Errand, Judged, Persona, Router};
use crate::error::{Error, Result};
use crate::kind::ErrorKind;
use crate::proxy;
use crate::session::{Blame, Ended, Permit, Session};
use crate::site;
use crate::tier::Tier;
use crate::verdict::VerdictKind;

/// What came of asking for a place.
pub(super) enum Boarded {
    /// There is one; none is needed without a pool's session.
    At(Option<Permit>),
    /// The exit does not work: this persona goes instead.
    Instead(Arc<Persona>),
}

/// Closes what a persona leaves behind that is for one fetch, when the fetch is over or dropped.
pub(super) struct Farewell<'a>(Option<(&'a Router, [u64; 2])>);

impl<'a> Farewell<'a> {
    pub(super) fn of(router: &'a Router, persona: &Persona) -> Self {
        let fleeting = persona.session.as_ref().is_some_and(|session| session.is_fleeting());
        Self(fleeting.then(|| (router, [persona.plain.key(), persona.dressed.key()])))
    }
}

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        let Some((router, keys)) = self.0 else { return };
        router.close(keys);
    }
}

impl Router {
    /// Closes what is kept for a persona that asks no more.
    pub(crate) fn forget(&self, persona: &Persona) {
        self.close([persona.plain.key(), persona.dressed.key()]);
    }

    fn close(&self, keys: [u64; 2]) {
        for transport in &self.transports {
            for key in keys {
                transport.forget(key);
            }
        }
    }
}

impl Errand<'_> {
    /// The session that the URL is asked by, where a pool's exit is on the way.
    fn session(&self) -> Option<&Arc<Session>> {
        let session = self.persona.session.as_ref()?;
        session.route().proxy(&self.request.url).map(|_| session)
    }

    fn site(&self) -> String {
        site::name(&self.request.url).to_owned()
    }
}

impl Router {
    /// Waits for a place at the exit, or names who goes instead.
    pub(super) async fn board(
        errand: &Errand<'_>,
        tier: Tier,
        history: &mut History,
        progress: &mut Progress,
    ) -> Result<Boarded> {
        let Some(session) = errand.session() else { return Ok(Boarded::At(None)) };
        let began = Instant::now();
        let admitted = session.admit(&errand.site()).await;
        progress.waited += began.elapsed();
        let boarded = match admitted {
            Ok(Some(permit)) => Ok(Boarded::At(Some(permit))),
            Ok(None) => elsewhere(errand, history).map(Boarded::Instead),
            Err(error) => Err(error),
        };
        boarded.inspect_err(|error| {
            progress.begin(errand, tier);
            progress.cut_short(errand, error);
        })
    }

    /// robots.txt could not be had because of `error`: where that is the exit's doing, who goes instead.
    pub(super) fn unpermitted(
        errand: &Errand<'_>,
        history: &mut History,
        error: Error,
    ) -> Result<Arc<Persona>> {
        match (errand.session(), fault(Tier::Plain, &error)) {
            (Some(session), Some(blame)) if error.kind() == ErrorKind::Proxy => {
                session.failed(blame, &errand.site());
                elsewhere(errand, history).map_err(|_| error)
            }
            _ => Err(error),
        }
    }

    /// Tells the exit what came of an attempt.
    pub(super) fn went(place: Option<Permit>, tier: Tier, outcome: &Result<Judged>) {
        let Some(place) = place else { return };
        place.ended(match outcome {
            Ok(judged) => told(judged),
            Err(error) => fault(tier, error).map_or(Ended::Untold, Ended::Fault),
        });
    }
}

/// Who goes instead, because the exit does not work.
fn elsewhere(errand: &Errand<'_>, history: &mut History) -> Result<Arc<Persona>> {
    let none = || Error::new(ErrorKind::Proxy, "the proxy does not work just now, and there is no other");
    let others = errand.others.filter(|_| history.faults < EXITS).ok_or_else(none)?;
    history.faults += 1;
    others.exit(errand.persona, true)
}

/// What an answer says of the exit it came by.
fn told(judged: &Judged) -> Ended {
    match judged.verdict.kind {
        VerdictKind::Genuine => {
            let latency = judged.timings.first_byte;
            Ended::Page((!latency.is_zero() && judged.browser.is_none()).then_some(latency))
        }
        // What is served to addresses of bad repute.
        VerdictKind::Block | VerdictKind::Captcha => Ended::Blocked,
        VerdictKind::ProxyFault => Ended::Fault(Blame::Unclear),
        VerdictKind::Challenge
        | VerdictKind::Stub
        | VerdictKind::RateLimit
        | VerdictKind::Geo
        | VerdictKind::LoginWall
        | VerdictKind::OriginError => Ended::Answered,
    }
}

/// What an error says of the exit. `None` where it had no part in it.
fn fault(tier: Tier, error: &Error) -> Option<Blame> {
    let of_site = proxy::is_of_site(error);
    match error.kind() {
        ErrorKind::Proxy => Some(if of_site { Blame::Unclear } else { Blame::Proxy }),
        ErrorKind::Connect => (!of_site).then_some(Blame::Unclear),
        ErrorKind::Tls => is_broken_off(error).then_some(Blame::Unclear),
        ErrorKind::Protocol => Some(Blame::Unclear),
        // A page in the browser may take its time for many reasons.
        ErrorKind::Timeout => (tier != Tier::Browser).then_some(Blame::Unclear),
        _ => None,
    }
}

/// Whether a TLS handshake ended because the connection did: nobody objected to a certificate.
pub(super) fn is_broken_off(error: &Error) -> bool {
    error.kind() == ErrorKind::Tls && proxy::is_caused_by::<io::Error>(error)
}
