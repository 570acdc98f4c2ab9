//! Pure parts of a fetch by themselves, for benches; not for use.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};

use crate::budget::Budget;
use crate::client_hints::ClientHintStore;
use crate::error::Result;
use crate::error_kind::ErrorKind;
use crate::fingerprint::Profile;
use crate::fingerprint::profile::WireProtocol;
use crate::net::fetch_metadata::RedirectChain;
use crate::net::headers::{self, HeaderContext};
use crate::request::Request;
use crate::retry::RetryPolicy;
use crate::router::policy::{self, Action, Alternatives, AttemptCounters, AttemptOutcome, EscalationPolicy};
use crate::tier::Tier;
use crate::verdict::Verdict;

/// How one attempt ended.
pub enum AttemptEnd {
    /// With an answer: what it was judged to be, and what its Retry-After asks for.
    Response(Verdict, Option<Duration>),
    /// With an error.
    Failure(ErrorKind),
}

/// A fetch with the defaults and a proxy account, all of whose attempts end as `ends` says: how many are made, and on
/// which tier the last was.
#[must_use]
pub fn simulate_policy(ends: &[AttemptEnd]) -> (u32, Tier) {
    let (schedule, budget) = (RetryPolicy::default(), Budget::default());
    let ladder = EscalationPolicy {
        min: Tier::Plain,
        start: Tier::Plain,
        max: Tier::Browser,
        retry_policy: schedule,
        budget,
    };
    let means = Alternatives { proxy: true, direct: false, session: true };
    let mut history = AttemptCounters::new(Method::GET);
    let mut tier = ladder.start;
    for end in ends {
        history.count_attempt(tier, BYTES_PER_ATTEMPT, history.elapsed + ATTEMPT_INTERVAL);
        let outcome = match end {
            AttemptEnd::Response(verdict, retry_after) => {
                AttemptOutcome::Answered { verdict, retry_after: *retry_after }
            }
            AttemptEnd::Failure(kind) => AttemptOutcome::Failed(*kind),
        };
        let step = policy::decide(&ladder, means, &history, &outcome, 0.5);
        history.count_action(&step);
        match step {
            Action::Escalate { to, .. } => tier = to,
            Action::Accept | Action::Blocked { .. } | Action::OutOfBudget { .. } | Action::Fail => break,
            Action::Retry { .. }
            | Action::RetryAfter { .. }
            | Action::RenewSession { .. }
            | Action::SwitchProxy { .. } => {}
        }
    }
    (history.attempts, history.tier)
}

/// A request to be dressed again and again.
pub struct HeaderBench {
    profile: Arc<Profile>,
    request: Request,
    redirect_chain: RedirectChain,
    hints: ClientHintStore,
    cookies: Vec<(String, String)>,
    over: WireProtocol,
}

impl HeaderBench {
    /// `request` as `profile` writes it `over` a connection, with `cookies`, on an origin that asked for `hints` by Accept-CH.
    #[must_use]
    pub fn new(
        profile: Arc<Profile>,
        request: Request,
        over: WireProtocol,
        cookies: Vec<(String, String)>,
        hints: Option<HeaderValue>,
    ) -> Self {
        let asked = ClientHintStore::default();
        let headers: HeaderMap =
            hints.map(|line| (crate::client_hints::ACCEPT_CH, line)).into_iter().collect();
        asked.record(&request.url, &headers);
        let redirect_chain = RedirectChain::new(&request);
        Self { profile, request, redirect_chain, hints: asked, cookies, over }
    }

    /// The header fields in wire order.
    ///
    /// # Errors
    /// [`ErrorKind::Profile`] and [`ErrorKind::InvalidRequest`] for what cannot be written.
    pub fn fields(&self) -> Result<Vec<(Arc<str>, HeaderValue)>> {
        let occasion = HeaderContext {
            protocol: self.over,
            chain: &self.redirect_chain,
            hints: &self.hints,
            cookies: &self.cookies,
            proxy_authorization: None,
        };
        headers::build(&self.profile, &self.request, &occasion)
    }
}

/// What an attempt brings, in bytes, and how long after the one before it the next begins.
const BYTES_PER_ATTEMPT: u64 = 50_000;
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(200);
