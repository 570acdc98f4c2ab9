//! Parts of a fetch without I/O, for benches only.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};

use crate::exchange::error::Result;
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::request::Request;
use crate::exchange::tier::Tier;
use crate::exchange::verdict::Verdict;
use crate::fingerprint::Profile;
use crate::fingerprint::profile::WireProtocol;
use crate::identity::client_hints::ClientHintStore;
use crate::net::fetch_metadata::RedirectChain;
use crate::net::headers::{self, HeaderContext};
use crate::router::policy::{
    self, Action, Alternatives, AttemptCounters, AttemptOutcome, EscalationPolicy, Facts,
};
use crate::settings::budget::Budget;
use crate::settings::retry::RetryPolicy;

/// The outcome of one attempt.
pub enum AttemptEnd {
    /// A response: its verdict and the delay in its Retry-After.
    Response(Verdict, Option<Duration>),
    /// An error.
    Failure(ErrorKind),
}

/// Simulates a fetch with the defaults and a proxy account, whose attempts end as `ends` says. Returns the
/// number of attempts and the tier of the last one.
#[must_use]
pub fn simulate_policy(ends: &[AttemptEnd]) -> (u32, Tier) {
    let (retry_policy, budget) = (RetryPolicy::default(), Budget::default());
    let escalation =
        EscalationPolicy { min: Tier::Plain, start: Tier::Plain, max: Tier::Browser, retry_policy, budget };
    let alternatives = Alternatives { proxy: true, direct: false, session: true };
    let mut counters = AttemptCounters::new(Method::GET);
    let mut tier = escalation.start;
    for end in ends {
        counters.count_attempt(tier, BYTES_PER_ATTEMPT, counters.elapsed + ATTEMPT_INTERVAL);
        let outcome = match end {
            AttemptEnd::Response(verdict, retry_after) => {
                AttemptOutcome::Responded { verdict, retry_after: *retry_after }
            }
            AttemptEnd::Failure(kind) => AttemptOutcome::Failed(*kind),
        };
        let facts =
            Facts { counters: &counters, outcome, alternatives, known_tier: None, known_profile: None };
        let action = policy::next(&escalation, &facts, 0.5);
        counters.count_action(&action);
        match action {
            Action::Escalate { to, .. } => tier = to,
            Action::Accept | Action::Blocked { .. } | Action::OutOfBudget { .. } | Action::Fail => break,
            Action::Retry { .. }
            | Action::RetryAfter { .. }
            | Action::RenewSession { .. }
            | Action::SwitchProxy { .. }
            | Action::RestoreProfile { .. } => {}
        }
    }
    (counters.attempts, counters.tier)
}

/// A request whose headers are built repeatedly.
pub struct HeaderBench {
    profile: Arc<Profile>,
    request: Request,
    redirect_chain: RedirectChain,
    hints: ClientHintStore,
    cookies: Vec<(String, String)>,
    over: WireProtocol,
}

impl HeaderBench {
    /// `request` over a connection of type `over`, with the headers of `profile` and with `cookies`. The
    /// origin requested `hints` with Accept-CH.
    #[must_use]
    pub fn new(
        profile: Arc<Profile>,
        request: Request,
        over: WireProtocol,
        cookies: Vec<(String, String)>,
        hints: Option<HeaderValue>,
    ) -> Self {
        let hint_store = ClientHintStore::default();
        let headers: HeaderMap =
            hints.map(|line| (crate::identity::client_hints::ACCEPT_CH, line)).into_iter().collect();
        hint_store.record(&request.url, &headers);
        let redirect_chain = RedirectChain::new(&request);
        Self { profile, request, redirect_chain, hints: hint_store, cookies, over }
    }

    /// The header fields in wire order.
    ///
    /// # Errors
    /// [`ErrorKind::Profile`] and [`ErrorKind::InvalidRequest`] for a header that cannot be written.
    pub fn fields(&self) -> Result<Vec<(Arc<str>, HeaderValue)>> {
        let context = HeaderContext {
            protocol: self.over,
            chain: &self.redirect_chain,
            hints: &self.hints,
            cookies: &self.cookies,
            proxy_authorization: None,
        };
        headers::build(&self.profile, &self.request, &context)
    }
}

/// Simulated bytes per attempt, and the interval between attempts.
const BYTES_PER_ATTEMPT: u64 = 50_000;
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(200);
