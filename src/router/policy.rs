//! What to do after an attempt. Pure: history and outcome in, step out.

use std::time::Duration;

use http::Method;

use crate::budget::Budget;
use crate::error_kind::ErrorKind;
use crate::retry::RetryPolicy;
use crate::tier::Tier;
use crate::verdict::{Verdict, VerdictKind};

/// What may be done for one fetch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EscalationPolicy {
    /// The cheapest tier allowed.
    pub(crate) min: Tier,
    /// The tier to begin with while nothing is known of the host.
    pub(crate) start: Tier,
    /// The dearest tier allowed.
    pub(crate) max: Tier,
    pub(crate) retry_policy: RetryPolicy,
    pub(crate) budget: Budget,
}

/// What could be changed for another attempt.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Alternatives {
    /// There is another exit IP to go by.
    pub(crate) proxy: bool,
    /// There is a way without the proxy, should none work.
    pub(crate) direct: bool,
    /// This session got pages of the host before, and there may be a fresh one in its place.
    pub(crate) session: bool,
}

impl EscalationPolicy {
    /// This tier and no other.
    pub(crate) const fn only_tier(self, tier: Tier) -> Self {
        Self { min: tier, start: tier, max: tier, ..self }
    }
}

/// How an attempt ended.
pub(crate) enum AttemptOutcome<'a> {
    /// An answer came.
    Answered {
        verdict: &'a Verdict,
        /// What the site's Retry-After asks for.
        retry_after: Option<Duration>,
    },
    /// None came.
    Failed(ErrorKind),
}

/// What was done so far, the attempt just made included.
#[derive(Clone, Debug)]
pub(crate) struct AttemptCounters {
    pub(crate) method: Method,
    /// The tier of the last attempt.
    pub(crate) tier: Tier,
    /// How often this tier was tried again after a failure, as this session.
    pub(crate) failure_retries: u32,
    /// How often this tier was tried again after a rate limit, as this session.
    pub(crate) rate_limit_retries: u32,
    /// How often another exit was taken because of a block.
    pub(crate) proxy_switches: u32,
    /// How often another exit was taken because the proxy was at fault.
    pub(crate) proxy_faults: u32,
    pub(crate) session_renewals: u32,
    pub(crate) attempts: u32,
    pub(crate) visits: u32,
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
}

impl AttemptCounters {
    pub(crate) const fn new(method: Method) -> Self {
        Self {
            method,
            tier: Tier::Plain,
            failure_retries: 0,
            rate_limit_retries: 0,
            proxy_switches: 0,
            proxy_faults: 0,
            session_renewals: 0,
            attempts: 0,
            visits: 0,
            bytes: 0,
            elapsed: Duration::ZERO,
        }
    }

    /// Counts an attempt on `tier` that brought `bytes`, `elapsed` after the fetch began.
    pub(crate) fn count_attempt(&mut self, tier: Tier, bytes: u64, elapsed: Duration) {
        if tier != self.tier {
            (self.failure_retries, self.rate_limit_retries) = (0, 0);
        }
        self.tier = tier;
        self.attempts += 1;
        self.visits += u32::from(tier == Tier::Browser);
        self.bytes = self.bytes.saturating_add(bytes);
        self.elapsed = elapsed;
    }

    /// Counts the step that is taken.
    pub(crate) fn count_action(&mut self, step: &Action) {
        match step {
            Action::Retry { .. } => self.failure_retries += 1,
            Action::RetryAfter { .. } => self.rate_limit_retries += 1,
            Action::SwitchProxy { is_faulty: true, .. } => self.proxy_faults += 1,
            Action::SwitchProxy { is_faulty: false, .. } => self.proxy_switches += 1,
            Action::RenewSession { .. } => self.session_renewals += 1,
            Action::Escalate { .. }
            | Action::Accept
            | Action::Blocked { .. }
            | Action::OutOfBudget { .. }
            | Action::Fail => {}
        }
        if matches!(step, Action::SwitchProxy { .. } | Action::RenewSession { .. } | Action::Escalate { .. })
        {
            (self.failure_retries, self.rate_limit_retries) = (0, 0);
        }
    }
}

/// The next step, with the reason the trace gives for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The answer is good.
    Accept,
    /// The same tier again, a while after it failed.
    Retry { after: Duration, why: String },
    /// The same tier again when the host will have it: nobody should ask it before.
    RetryAfter { after: Duration, why: String },
    /// The same tier as somebody new.
    RenewSession { why: String },
    /// The same tier out of another IP, as somebody new. `faulty`: because the proxy is.
    SwitchProxy { is_faulty: bool, why: String },
    /// The next tier.
    Escalate { to: Tier, why: String },
    /// No means allowed gets the page.
    Blocked { hint: Option<String> },
    /// It is blocked, and going on would cost more than it may.
    OutOfBudget { hint: String },
    /// The attempt's own error is the answer.
    Fail,
}

impl EscalationPolicy {
    /// The dearest tier that may be used at all.
    pub(crate) fn highest_tier(&self) -> Tier {
        if self.budget.visits == 0 { self.max.min(Tier::Impersonate) } else { self.max }
    }
}

impl Action {
    /// Why another attempt follows.
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Retry { why, .. }
            | Self::RetryAfter { why, .. }
            | Self::RenewSession { why }
            | Self::SwitchProxy { why, .. }
            | Self::Escalate { why, .. } => Some(why),
            Self::Accept | Self::Blocked { .. } | Self::OutOfBudget { .. } | Self::Fail => None,
        }
    }
}

/// Decides. `roll`, from 0 to 1, is the waits' jitter. Always ends: every step but an end counts up something
/// that has a limit.
pub(crate) fn decide(
    ladder: &EscalationPolicy,
    means: Alternatives,
    history: &AttemptCounters,
    outcome: &AttemptOutcome<'_>,
    roll: f64,
) -> Action {
    let step = match outcome {
        AttemptOutcome::Failed(kind) => on_failure(ladder, means, history, *kind, roll),
        AttemptOutcome::Answered { verdict, retry_after } => {
            on_answer(ladder, means, history, verdict, *retry_after, roll)
        }
    };
    within_budget(&ladder.budget, history, harmless(ladder, history, step, outcome), outcome)
}

/// The step, or the end of the fetch where the step would send an unsafe request again that the server may have acted
/// on.
fn harmless(
    ladder: &EscalationPolicy,
    history: &AttemptCounters,
    step: Action,
    outcome: &AttemptOutcome<'_>,
) -> Action {
    if step.reason().is_none()
        || ladder.retry_policy.may_repeat(&history.method)
        || was_not_processed(outcome)
    {
        return step;
    }
    match outcome {
        AttemptOutcome::Failed(_) => Action::Fail,
        AttemptOutcome::Answered { verdict, .. } if verdict.kind == VerdictKind::OriginError => {
            Action::Accept
        }
        AttemptOutcome::Answered { .. } => give_up(&format!(
            "rungs does not send a {} again by itself, since the server may have acted on it; begin at a higher tier \
             (`--tier impersonate`), or set `retry.unsafe = true` for the target",
            history.method
        )),
    }
}

/// Whether the server certainly did not act on the request: it never left, or a protection service answered in the
/// server's place with a challenge.
fn was_not_processed(outcome: &AttemptOutcome<'_>) -> bool {
    match outcome {
        AttemptOutcome::Failed(kind) => matches!(kind, ErrorKind::Connect | ErrorKind::Proxy),
        AttemptOutcome::Answered { verdict, .. } => {
            verdict.kind == VerdictKind::Challenge && verdict.vendor.is_some()
        }
    }
}

/// The step, or the end of the fetch where the budget does not allow it.
pub(crate) fn within_budget(
    budget: &Budget,
    history: &AttemptCounters,
    step: Action,
    outcome: &AttemptOutcome<'_>,
) -> Action {
    match (budget_exceeded(budget, history, &step), outcome) {
        (None, _) => step,
        (Some(_), AttemptOutcome::Failed(_)) => Action::Fail,
        // The page of a failing origin is a page all the same.
        (Some(_), AttemptOutcome::Answered { verdict, .. }) if verdict.kind == VerdictKind::OriginError => {
            Action::Accept
        }
        (Some(hint), _) => Action::OutOfBudget { hint },
    }
}

fn on_failure(
    ladder: &EscalationPolicy,
    means: Alternatives,
    history: &AttemptCounters,
    kind: ErrorKind,
    roll: f64,
) -> Action {
    let times = ladder.retry_policy.max_retries;
    if kind == ErrorKind::Proxy && can_switch_proxy(means, history) {
        return Action::SwitchProxy { is_faulty: true, why: format!("new exit: {kind} error") };
    }
    if history.failure_retries < times && is_transient(kind, history.tier) {
        let after = ladder.retry_policy.failure_delay(history.failure_retries, roll);
        return Action::Retry { after, why: format!("retry: {kind} error") };
    }
    Action::Fail
}

fn on_answer(
    ladder: &EscalationPolicy,
    means: Alternatives,
    history: &AttemptCounters,
    verdict: &Verdict,
    retry_after: Option<Duration>,
    roll: f64,
) -> Action {
    match verdict.kind {
        VerdictKind::Genuine => Action::Accept,
        VerdictKind::OriginError => on_origin_error(ladder, history, retry_after, roll),
        VerdictKind::RateLimit => on_rate_limit(ladder, history, verdict, retry_after, roll),
        VerdictKind::Challenge | VerdictKind::Stub => escalate(ladder, history, verdict),
        VerdictKind::Block => {
            if means.session && history.session_renewals < 1 {
                Action::RenewSession { why: format!("new session: {verdict}") }
            } else if means.proxy && history.proxy_switches < 1 {
                Action::SwitchProxy { is_faulty: false, why: format!("new exit: {verdict}") }
            } else {
                escalate(ladder, history, verdict)
            }
        }
        VerdictKind::ProxyFault if can_switch_proxy(means, history) => {
            Action::SwitchProxy { is_faulty: true, why: format!("new exit: {verdict}") }
        }
        VerdictKind::ProxyFault => {
            give_up("it could not, or would not, reach the site; `--trace` shows how it said so")
        }
        VerdictKind::Captcha => give_up("the site wants a captcha solved, which rungs does not do"),
        VerdictKind::Geo => give_up("the site does not serve this country; a proxy elsewhere may help"),
        VerdictKind::LoginWall => give_up("the page wants an account; send its cookies with `-b`"),
    }
}

/// The origin is failing: asked again, then believed.
fn on_origin_error(
    ladder: &EscalationPolicy,
    history: &AttemptCounters,
    retry_after: Option<Duration>,
    roll: f64,
) -> Action {
    let schedule = &ladder.retry_policy;
    let after = match retry_after {
        Some(asked) => schedule.requested_delay(asked, roll),
        None => Some(schedule.failure_delay(history.failure_retries, roll)),
    };
    match after {
        Some(after) if history.failure_retries < schedule.max_retries => {
            Action::Retry { after, why: "retry: the origin is failing".to_owned() }
        }
        _ => Action::Accept,
    }
}

fn on_rate_limit(
    ladder: &EscalationPolicy,
    history: &AttemptCounters,
    verdict: &Verdict,
    retry_after: Option<Duration>,
    roll: f64,
) -> Action {
    let schedule = &ladder.retry_policy;
    let after = match retry_after {
        Some(asked) => schedule.requested_delay(asked, roll),
        None => Some(schedule.rate_limit_delay(history.rate_limit_retries, roll)),
    };
    match after {
        None => {
            let asked = retry_after.unwrap_or_default().as_secs();
            give_up(&format!("the site asks to come back in {asked} s"))
        }
        Some(_) if history.rate_limit_retries >= schedule.max_retries => {
            give_up("the site asks for a slower pace; try again later")
        }
        Some(after) => Action::RetryAfter { after, why: format!("wait: {verdict}") },
    }
}

fn escalate(ladder: &EscalationPolicy, history: &AttemptCounters, verdict: &Verdict) -> Action {
    let Some(to) = history.tier.next() else {
        return Action::Blocked { hint: None };
    };
    if to > ladder.max {
        return give_up(&format!("this fetch stops at `{}`; try `--max-tier {to}`", ladder.max));
    }
    Action::Escalate { to, why: format!("climb: {verdict}") }
}

fn give_up(hint: &str) -> Action {
    Action::Blocked { hint: Some(hint.to_owned()) }
}

/// What of the budget the step would overdraw, as a hint.
fn budget_exceeded(budget: &Budget, history: &AttemptCounters, step: &Action) -> Option<String> {
    let (to, after) = match step {
        Action::Accept | Action::Blocked { .. } | Action::OutOfBudget { .. } | Action::Fail => return None,
        Action::Escalate { to, .. } => (*to, Duration::ZERO),
        Action::Retry { after, .. } | Action::RetryAfter { after, .. } => (history.tier, *after),
        Action::RenewSession { .. } | Action::SwitchProxy { .. } => (history.tier, Duration::ZERO),
    };
    if history.attempts >= budget.attempts {
        return Some(format!(
            "its attempts are all made ({}); `--max-attempts` allows more",
            budget.attempts
        ));
    }
    if to == Tier::Browser && history.visits >= budget.visits {
        return Some(format!(
            "its browser visits are all made ({}); `--max-visits` allows more",
            budget.visits
        ));
    }
    if let Some(bytes) = budget.bytes.filter(|bytes| history.bytes >= *bytes) {
        return Some(format!("its {bytes} bytes are spent; `--max-bytes` allows more"));
    }
    let elapsed = budget.elapsed.filter(|elapsed| history.elapsed.saturating_add(after) >= *elapsed)?;
    let limit = humantime::format_duration(elapsed);
    Some(format!("the next attempt would begin after {limit}, the most for a fetch (`budget.elapsed`)"))
}

/// Whether an exit that does not work is left for another.
const fn can_switch_proxy(means: Alternatives, history: &AttemptCounters) -> bool {
    (means.proxy || means.direct) && history.proxy_faults < MAX_PROXY_FAULTS
}

/// Whether the same attempt may end otherwise a little later. The browser tier makes its own second try.
fn is_transient(kind: ErrorKind, tier: Tier) -> bool {
    match kind {
        ErrorKind::Connect | ErrorKind::Protocol => true,
        // A browser that waited a minute for a page to settle has waited.
        ErrorKind::Timeout => tier != Tier::Browser,
        _ => false,
    }
}

/// How many exits that do not work one fetch leaves at most. No request has reached the site by then.
pub(super) const MAX_PROXY_FAULTS: u32 = 5;

#[cfg(test)]
mod tests;
