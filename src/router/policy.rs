//! Decides the next action after an attempt. Pure: counters and outcome in, action out.

use std::time::Duration;

use http::Method;

use crate::exchange::error_kind::ErrorKind;
use crate::exchange::tier::Tier;
use crate::exchange::verdict::{Verdict, VerdictKind};
use crate::settings::budget::Budget;
use crate::settings::retry::RetryPolicy;

/// The tiers, retries and budget that one fetch may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EscalationPolicy {
    /// The lowest tier allowed.
    pub(crate) min: Tier,
    /// The tier to start at while the host memory has no data on the host.
    pub(crate) start: Tier,
    /// The highest tier allowed.
    pub(crate) max: Tier,
    pub(crate) retry_policy: RetryPolicy,
    pub(crate) budget: Budget,
}

/// The alternatives available for another attempt.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Alternatives {
    /// Another proxy address is available.
    pub(crate) proxy: bool,
    /// A direct connection is allowed if no proxy works.
    pub(crate) direct: bool,
    /// This session got pages from the host before, and a fresh session may replace it.
    pub(crate) session: bool,
}

impl EscalationPolicy {
    /// Returns the policy limited to one tier.
    pub(crate) const fn only_tier(self, tier: Tier) -> Self {
        Self { min: tier, start: tier, max: tier, ..self }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy)]
pub(crate) enum AttemptOutcome<'a> {
    /// A response was received.
    Responded {
        verdict: &'a Verdict,
        /// The delay in the site's `Retry-After` header.
        retry_after: Option<Duration>,
    },
    /// No response was received.
    Failed(ErrorKind),
    /// A response was received that the HTTP tiers cannot read. A browser may show it.
    Unreadable(ErrorKind),
}

/// What the policy knows about a fetch after an attempt.
pub(crate) struct Facts<'a> {
    pub(crate) counters: &'a AttemptCounters,
    pub(crate) outcome: AttemptOutcome<'a>,
    pub(crate) alternatives: Alternatives,
    /// The tier that is known to work. An attempt on a lower tier is a probe.
    pub(crate) known_tier: Option<Tier>,
    /// The browser profile that is known to work, if the fetch probes another.
    pub(crate) known_profile: Option<&'a str>,
}

/// The attempts and actions of a fetch so far, including the attempt just made.
#[derive(Clone, Debug)]
pub(crate) struct AttemptCounters {
    pub(crate) method: Method,
    /// The tier of the last attempt.
    pub(crate) tier: Tier,
    /// Retries of this tier after a failure, with this session.
    pub(crate) failure_retries: u32,
    /// Retries of this tier after a rate limit, with this session.
    pub(crate) rate_limit_retries: u32,
    /// Switches to another proxy because of a block.
    pub(crate) proxy_switches: u32,
    /// Switches to another proxy because of a proxy fault.
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

    /// Counts an attempt on `tier` that received `bytes` and ended `elapsed` after the fetch began.
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

    /// Counts `action`, which is about to be taken.
    pub(crate) fn count_action(&mut self, action: &Action) {
        match action {
            Action::Retry { .. } => self.failure_retries += 1,
            Action::RetryAfter { .. } => self.rate_limit_retries += 1,
            Action::SwitchProxy { is_faulty: true, .. } => self.proxy_faults += 1,
            Action::SwitchProxy { is_faulty: false, .. } => self.proxy_switches += 1,
            Action::RenewSession { .. } => self.session_renewals += 1,
            Action::Escalate { .. }
            | Action::RestoreProfile { .. }
            | Action::Accept
            | Action::Blocked { .. }
            | Action::OutOfBudget { .. }
            | Action::Fail => {}
        }
        if matches!(
            action,
            Action::SwitchProxy { .. }
                | Action::RenewSession { .. }
                | Action::RestoreProfile { .. }
                | Action::Escalate { .. }
        ) {
            (self.failure_retries, self.rate_limit_retries) = (0, 0);
        }
    }
}

/// The next action, with its reason for the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Return the response.
    Accept,
    /// Retry on the same tier after a backoff.
    Retry { after: Duration, why: String },
    /// Retry on the same tier after the delay the host asked for (`Retry-After`). No other fetch may contact the host
    /// before that.
    RetryAfter { after: Duration, why: String },
    /// Retry on the same tier with a fresh session.
    RenewSession { why: String },
    /// Retry on the same tier with a fresh session at another proxy address. `is_faulty` means that the proxy caused
    /// it.
    SwitchProxy { is_faulty: bool, why: String },
    /// Retry on the same tier with the browser profile that is known to work.
    RestoreProfile { why: String },
    /// Continue on a higher tier.
    Escalate { to: Tier, why: String },
    /// End as blocked: no allowed action is left.
    Blocked { hint: Option<String> },
    /// End as blocked: another attempt would exceed the budget.
    OutOfBudget { hint: String },
    /// End with the attempt's own error.
    Fail,
}

impl EscalationPolicy {
    /// Returns the highest tier that the budget and the policy allow.
    pub(crate) fn highest_tier(&self) -> Tier {
        if self.budget.visits == 0 { self.max.min(Tier::Impersonate) } else { self.max }
    }
}

impl Action {
    /// Returns the reason for another attempt. `None` if the fetch ends.
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Retry { why, .. }
            | Self::RetryAfter { why, .. }
            | Self::RenewSession { why }
            | Self::SwitchProxy { why, .. }
            | Self::RestoreProfile { why }
            | Self::Escalate { why, .. } => Some(why),
            Self::Accept | Self::Blocked { .. } | Self::OutOfBudget { .. } | Self::Fail => None,
        }
    }
}

/// Decides the next action after the attempt in `facts`. `roll`, from 0 to 1, is the jitter of the delays. A fetch
/// always ends, since every action that continues it increases a counter that has a limit.
pub(crate) fn next(policy: &EscalationPolicy, facts: &Facts<'_>, roll: f64) -> Action {
    let Facts { counters, outcome, alternatives, .. } = facts;
    let action = match outcome {
        AttemptOutcome::Unreadable(kind) if can_use_browser(policy, counters) => {
            Action::Escalate { to: Tier::Browser, why: format!("climb: {kind} error, a browser may read it") }
        }
        AttemptOutcome::Failed(kind) | AttemptOutcome::Unreadable(kind) => {
            on_failure(policy, *alternatives, counters, *kind, roll)
        }
        AttemptOutcome::Responded { verdict, retry_after } => after_probe(facts, verdict)
            .unwrap_or_else(|| on_response(policy, *alternatives, counters, verdict, *retry_after, roll)),
    };
    let action = without_unsafe_resend(policy, counters, action, outcome);
    within_budget(&policy.budget, counters, action, outcome)
}

/// Returns to the profile or the tier that is known to work if the attempt was a probe and was refused.
fn after_probe(facts: &Facts<'_>, verdict: &Verdict) -> Option<Action> {
    let tier = facts.counters.tier;
    if !verdict.kind.is_refusal() {
        return None;
    }
    if let Some(name) = facts.known_profile.filter(|_| tier == Tier::Impersonate) {
        let why = format!("probe: still {verdict}; continuing as {name}");
        return Some(Action::RestoreProfile { why });
    }
    let to = facts.known_tier.filter(|known| tier < *known)?;
    Some(Action::Escalate { to, why: format!("probe: still {verdict}") })
}

/// Returns `action`, or the end of the fetch if `action` would resend an unsafe request that the server may have
/// acted on.
fn without_unsafe_resend(
    policy: &EscalationPolicy,
    counters: &AttemptCounters,
    action: Action,
    outcome: &AttemptOutcome<'_>,
) -> Action {
    if action.reason().is_none()
        || policy.retry_policy.may_repeat(&counters.method)
        || was_not_processed(outcome)
    {
        return action;
    }
    match outcome {
        AttemptOutcome::Failed(_) | AttemptOutcome::Unreadable(_) => Action::Fail,
        AttemptOutcome::Responded { verdict, .. } if verdict.kind == VerdictKind::OriginError => {
            Action::Accept
        }
        AttemptOutcome::Responded { .. } => give_up(&format!(
            "rungs does not resend a {} because the server may have acted on it; start at a higher tier \
             (`--tier impersonate`), or set `retry.unsafe = true` for the target",
            counters.method
        )),
    }
}

/// Whether the server certainly did not act on the request: it was not sent, or a protection service answered with a
/// challenge instead of the server.
fn was_not_processed(outcome: &AttemptOutcome<'_>) -> bool {
    match outcome {
        AttemptOutcome::Failed(kind) => matches!(kind, ErrorKind::Connect | ErrorKind::Proxy),
        AttemptOutcome::Unreadable(_) => false,
        AttemptOutcome::Responded { verdict, .. } => {
            verdict.kind == VerdictKind::Challenge && verdict.vendor.is_some()
        }
    }
}

/// Returns `action`, or the end of the fetch if the budget does not allow it.
fn within_budget(
    budget: &Budget,
    counters: &AttemptCounters,
    action: Action,
    outcome: &AttemptOutcome<'_>,
) -> Action {
    match (budget_exceeded(budget, counters, &action), outcome) {
        (None, _) => action,
        (Some(_), AttemptOutcome::Failed(_) | AttemptOutcome::Unreadable(_)) => Action::Fail,
        // The error page of a failing origin is a genuine response.
        (Some(_), AttemptOutcome::Responded { verdict, .. }) if verdict.kind == VerdictKind::OriginError => {
            Action::Accept
        }
        (Some(hint), _) => Action::OutOfBudget { hint },
    }
}

fn on_failure(
    policy: &EscalationPolicy,
    alternatives: Alternatives,
    counters: &AttemptCounters,
    kind: ErrorKind,
    roll: f64,
) -> Action {
    let max_retries = policy.retry_policy.max_retries;
    if kind == ErrorKind::Proxy && can_switch_proxy(alternatives, counters) {
        return Action::SwitchProxy { is_faulty: true, why: format!("new exit: {kind} error") };
    }
    if counters.failure_retries < max_retries && is_transient(kind, counters.tier) {
        let after = policy.retry_policy.failure_delay(counters.failure_retries, roll);
        return Action::Retry { after, why: format!("retry: {kind} error") };
    }
    Action::Fail
}

fn on_response(
    policy: &EscalationPolicy,
    alternatives: Alternatives,
    counters: &AttemptCounters,
    verdict: &Verdict,
    retry_after: Option<Duration>,
    roll: f64,
) -> Action {
    let can_escalate = counters.tier.next().is_some_and(|to| to <= policy.max);
    if can_escalate && verdict.is_structural() && ends_fetch(verdict.kind) {
        // A false alarm costs a visit, not the page.
        return escalate(policy, counters, verdict);
    }
    match verdict.kind {
        VerdictKind::Genuine => Action::Accept,
        VerdictKind::OriginError => on_origin_error(policy, counters, retry_after, roll),
        VerdictKind::RateLimit => on_rate_limit(policy, counters, verdict, retry_after, roll),
        VerdictKind::Challenge | VerdictKind::Stub => escalate(policy, counters, verdict),
        VerdictKind::Block => {
            if alternatives.session && counters.session_renewals < 1 {
                Action::RenewSession { why: format!("new session: {verdict}") }
            } else if alternatives.proxy && counters.proxy_switches < 1 {
                Action::SwitchProxy { is_faulty: false, why: format!("new exit: {verdict}") }
            } else {
                escalate(policy, counters, verdict)
            }
        }
        VerdictKind::ProxyFault if can_switch_proxy(alternatives, counters) => {
            Action::SwitchProxy { is_faulty: true, why: format!("new exit: {verdict}") }
        }
        VerdictKind::ProxyFault => {
            give_up("the proxy could not or would not reach the site; see its response with `--trace`")
        }
        VerdictKind::Captcha => give_up("the site requires a CAPTCHA, which rungs does not solve"),
        VerdictKind::Geo => give_up("the site does not serve this country; try a proxy in another country"),
        VerdictKind::LoginWall => give_up("the page requires a login; send the account's cookies with `-b`"),
    }
}

/// Whether no higher tier is tried after a verdict of this kind by a rule.
const fn ends_fetch(kind: VerdictKind) -> bool {
    matches!(kind, VerdictKind::Captcha | VerdictKind::Geo | VerdictKind::LoginWall | VerdictKind::RateLimit)
}

/// Retries while the origin fails, then accepts its response.
fn on_origin_error(
    policy: &EscalationPolicy,
    counters: &AttemptCounters,
    retry_after: Option<Duration>,
    roll: f64,
) -> Action {
    let retry_policy = &policy.retry_policy;
    let after = match retry_after {
        Some(requested) => retry_policy.requested_delay(requested, roll),
        None => Some(retry_policy.failure_delay(counters.failure_retries, roll)),
    };
    match after {
        Some(after) if counters.failure_retries < retry_policy.max_retries => {
            Action::Retry { after, why: "retry: the origin is failing".to_owned() }
        }
        _ => Action::Accept,
    }
}

fn on_rate_limit(
    policy: &EscalationPolicy,
    counters: &AttemptCounters,
    verdict: &Verdict,
    retry_after: Option<Duration>,
    roll: f64,
) -> Action {
    let retry_policy = &policy.retry_policy;
    let after = match retry_after {
        Some(requested) => retry_policy.requested_delay(requested, roll),
        None => Some(retry_policy.rate_limit_delay(counters.rate_limit_retries, roll)),
    };
    match after {
        None => {
            let requested = retry_after.unwrap_or_default().as_secs();
            give_up(&format!("the site asks to wait {requested} s (`Retry-After`); try again later"))
        }
        Some(_) if counters.rate_limit_retries >= retry_policy.max_retries => {
            give_up("the site limits the request rate; lower it with `--rate`, or try again later")
        }
        Some(after) => Action::RetryAfter { after, why: format!("wait: {verdict}") },
    }
}

fn escalate(policy: &EscalationPolicy, counters: &AttemptCounters, verdict: &Verdict) -> Action {
    let Some(to) = counters.tier.next() else {
        return Action::Blocked { hint: None };
    };
    if to > policy.max {
        return give_up(&format!("this fetch stops at `{}`; try `--max-tier {to}`", policy.max));
    }
    Action::Escalate { to, why: format!("climb: {verdict}") }
}

fn give_up(hint: &str) -> Action {
    Action::Blocked { hint: Some(hint.to_owned()) }
}

/// Returns a hint on the part of the budget that `action` would exceed.
fn budget_exceeded(budget: &Budget, counters: &AttemptCounters, action: &Action) -> Option<String> {
    let (to, after) = match action {
        Action::Accept | Action::Blocked { .. } | Action::OutOfBudget { .. } | Action::Fail => return None,
        Action::Escalate { to, .. } => (*to, Duration::ZERO),
        Action::Retry { after, .. } | Action::RetryAfter { after, .. } => (counters.tier, *after),
        Action::RenewSession { .. } | Action::SwitchProxy { .. } | Action::RestoreProfile { .. } => {
            (counters.tier, Duration::ZERO)
        }
    };
    if counters.attempts >= budget.attempts {
        return Some(format!("all {} attempts are used; allow more with `--max-attempts`", budget.attempts));
    }
    if to == Tier::Browser && counters.visits >= budget.visits {
        return Some(format!(
            "all {} browser visits are used; allow more with `--max-visits`",
            budget.visits
        ));
    }
    if let Some(bytes) = budget.bytes.filter(|bytes| counters.bytes >= *bytes) {
        return Some(format!("the limit of {bytes} bytes is reached; allow more with `--max-bytes`"));
    }
    let elapsed = budget.elapsed.filter(|elapsed| counters.elapsed.saturating_add(after) >= *elapsed)?;
    let limit = humantime::format_duration(elapsed);
    Some(format!("the next attempt would start after the time limit of {limit}; raise `budget.elapsed`"))
}

/// Whether the fetch may continue on the browser tier.
fn can_use_browser(policy: &EscalationPolicy, counters: &AttemptCounters) -> bool {
    counters.tier < Tier::Browser
        && policy.highest_tier() == Tier::Browser
        && counters.visits < policy.budget.visits
}

/// Whether a faulty proxy may be replaced.
const fn can_switch_proxy(alternatives: Alternatives, counters: &AttemptCounters) -> bool {
    (alternatives.proxy || alternatives.direct) && counters.proxy_faults < MAX_PROXY_FAULTS
}

/// Whether the same attempt may succeed a little later. The browser tier makes its own second try.
fn is_transient(kind: ErrorKind, tier: Tier) -> bool {
    match kind {
        ErrorKind::Connect | ErrorKind::Protocol => true,
        // A page that did not settle within the browser's timeout is not worth a second wait.
        ErrorKind::Timeout => tier != Tier::Browser,
        _ => false,
    }
}

/// The maximum number of faulty proxies that one fetch replaces. No request has reached the site until then.
pub(super) const MAX_PROXY_FAULTS: u32 = 5;

#[cfg(test)]
mod tests;
