//! Decides what follows an attempt: collects the facts, asks the policy, and gets the identities that it switches to.

use std::sync::Arc;
use std::time::SystemTime;

use rand::RngExt;

use super::identities::IdentityPair;
use super::policy::{self, Action, Alternatives, AttemptOutcome, Facts};
use super::response::{ClassifiedResponse, is_handshake_aborted};
use super::state::FetchState;
use crate::exchange::error::Result;
use crate::exchange::error_kind::ErrorKind;
use crate::settings::retry_after;

/// The action that follows an attempt.
pub(super) struct Decision {
    pub(super) action: Action,
    /// The identities that continue the fetch, if the action switches to others.
    pub(super) identities: Option<Arc<IdentityPair>>,
}

/// Decides what follows an attempt. If the identities that the policy wants are unavailable, it decides again
/// without alternatives.
pub(super) fn decide(fetch: &FetchState<'_>, outcome: &Result<ClassifiedResponse>) -> Decision {
    let plan = fetch.plan;
    let fallback = fetch.current.probe_fallback.as_ref();
    let alternatives = plan
        .identity_source
        .map_or(Alternatives::default(), |source| source.alternatives(fetch.identities()));
    let facts = Facts {
        counters: &fetch.counters,
        outcome: attempt_outcome(fetch, outcome),
        alternatives,
        known_tier: fetch.current.known_tier,
        known_profile: fallback.map(|identities| identities.browser.profile().name.as_str()),
    };
    let roll = rand::rng().random_range(0.0..=1.0);
    let action = policy::next(&plan.policy, &facts, roll);
    let identities = match (&action, plan.identity_source) {
        (Action::RestoreProfile { .. }, _) => fallback.map(Arc::clone).map(Ok),
        (Action::RenewSession { .. }, Some(source)) => Some(source.fresh_session(fetch.identities())),
        (Action::SwitchProxy { is_faulty, .. }, Some(source)) => {
            Some(source.other_proxy(fetch.identities(), *is_faulty))
        }
        _ => None,
    };
    match identities.transpose() {
        Ok(identities) => Decision { action, identities },
        Err(error) => {
            tracing::info!(cause = error.chain(), "no alternative identity available");
            let facts = Facts { alternatives: Alternatives::default(), ..facts };
            Decision { action: policy::next(&plan.policy, &facts, roll), identities: None }
        }
    }
}

/// Reduces an outcome to the part that the policy needs.
pub(super) fn attempt_outcome<'a>(
    fetch: &FetchState<'_>,
    outcome: &'a Result<ClassifiedResponse>,
) -> AttemptOutcome<'a> {
    match outcome {
        Ok(response) => AttemptOutcome::Responded {
            verdict: &response.verdict,
            retry_after: retry_after::parse(&response.raw.headers, SystemTime::now()),
        },
        // The policy repeats an unsafe request after a connect error, which says that the request never left.
        Err(error) if error.was_sent() && !fetch.plan.request.method.is_safe() => {
            let is_unsent = matches!(error.kind(), ErrorKind::Connect | ErrorKind::Proxy);
            AttemptOutcome::Failed(if is_unsent { ErrorKind::Protocol } else { error.kind() })
        }
        // A handshake that breaks behind a pool's proxy may succeed the next time. The request was not sent yet.
        Err(error) if fetch.identities().proxy_session.is_some() && is_handshake_aborted(error) => {
            AttemptOutcome::Failed(ErrorKind::Connect)
        }
        Err(error) if error.is_unreadable() => AttemptOutcome::Unreadable(error.kind()),
        Err(error) => AttemptOutcome::Failed(error.kind()),
    }
}
