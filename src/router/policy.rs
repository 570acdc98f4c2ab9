//! What to do after an attempt. Pure: history and outcome in, step out.

use std::time::Duration;

use http::Method;

use crate::budget::Budget;
use crate::kind::ErrorKind;
use crate::schedule::Schedule;
use crate::tier::Tier;
use crate::verdict::{Verdict, VerdictKind};

/// What may be done for one fetch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ladder {
    /// The cheapest tier allowed.
    pub(crate) min: Tier,
    /// The tier to begin with while nothing is known of the host.
    pub(crate) start: Tier,
    /// The dearest tier allowed.
    pub(crate) max: Tier,
    pub(crate) schedule: Schedule,
    pub(crate) budget: Budget,
}

/// What could be changed for another attempt.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Means {
    /// There is another exit IP to go by.
    pub(crate) exit: bool,
    /// There is a way without the proxy, should none work.
    pub(crate) direct: bool,
    /// This session got pages of the host before, and there may be a fresh one in its place.
    pub(crate) session: bool,
}

impl Ladder {
    /// This tier and no other.
    pub(crate) const fn only(self, tier: Tier) -> Self {
        Self { min: tier, start: tier, max: tier, ..self }
    }
}

/// How an attempt ended.
pub(crate) enum Outcome<'a> {
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
pub(crate) struct History {
    pub(crate) method: Method,
    /// The tier of the last attempt.
    pub(crate) tier: Tier,
    /// How often this tier was tried again after a failure, as this session.
    pub(crate) failed: u32,
    /// How often this tier was tried again after a rate limit, as this session.
    pub(crate) limited: u32,
    /// How often another exit was taken because of a block.
    pub(crate) exits: u32,
    /// How often another exit was taken because the proxy was at fault.
    pub(crate) faults: u32,
    pub(crate) sessions: u32,
    pub(crate) attempts: u32,
    pub(crate) visits: u32,
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
}

impl History {
    pub(crate) const fn new(method: Method) -> Self {
        Self {
            method,
            tier: Tier::Plain,
            failed: 0,
            limited: 0,
            exits: 0,
            faults: 0,
            sessions: 0,
            attempts: 0,
            visits: 0,
            bytes: 0,
            elapsed: Duration::ZERO,
        }
    }

    /// Counts an attempt on `tier` that brought `bytes`, `elapsed` after the fetch began.
    pub(crate) fn attempted(&mut self, tier: Tier, bytes: u64, elapsed: Duration) {
        if tier != self.tier {
            (self.failed, self.limited) = (0, 0);
        }
        self.tier = tier;
        self.attempts += 1;
        self.visits += u32::from(tier == Tier::Browser);
        self.bytes = self.bytes.saturating_add(bytes);
        self.elapsed = elapsed;
    }

    /// Counts the step that is taken.
    pub(crate) fn took(&mut self, step: &Step) {
        match step {
            Step::Retry { .. } => self.failed += 1,
            Step::Wait { .. } => self.limited += 1,
            Step::NewExit { faulty: true, .. } => self.faults += 1,
            Step::NewExit { faulty: false, .. } => self.exits += 1,
            Step::NewSession { .. } => self.sessions += 1,
            Step::Climb { .. } | Step::Done | Step::Blocked { .. } | Step::Spent { .. } | Step::Fail => {}
        }
        if matches!(step, Step::NewExit { .. } | Step::NewSession { .. } | Step::Climb { .. }) {
            (self.failed, self.limited) = (0, 0);
        }
    }
}

/// The next step, with the reason the trace gives for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The answer is good.
    Done,
    /// The same tier again, a while after it failed.
    Retry { after: Duration, why: String },
    /// The same tier again when the host will have it: nobody should ask it before.
    Wait { after: Duration, why: String },
    /// The same tier as somebody new.
    NewSession { why: String },
    /// The same tier out of another IP, as somebody new. `faulty`: because the proxy is.
    NewExit { faulty: bool, why: String },
    /// The next tier.
    Climb { to: Tier, why: String },
    /// No means allowed gets the page.
    Blocked { hint: Option<String> },
    /// It is blocked, and going on would cost more than it may.
    Spent { hint: String },
    /// The attempt's own error is the answer.
    Fail,
}

impl Ladder {
    /// The dearest tier that may be used at all.
    pub(crate) fn top(&self) -> Tier {
        if self.budget.visits == 0 { self.max.min(Tier::Impersonate) } else { self.max }
    }
}

impl Step {
    /// Why another attempt follows.
    pub(crate) fn why(&self) -> Option<&str> {
        match self {
            Self::Retry { why, .. }
            | Self::Wait { why, .. }
            | Self::NewSession { why }
            | Self::NewExit { why, .. }
            | Self::Climb { why, .. } => Some(why),
            Self::Done | Self::Blocked { .. } | Self::Spent { .. } | Self::Fail => None,
        }
    }
}

/// Decides. `roll`, from 0 to 1, is the waits' jitter. Always ends: every step but an end counts up something
/// that has a limit.
pub(crate) fn decide(
    ladder: &Ladder,
    means: Means,
    history: &History,
    outcome: &Outcome<'_>,
    roll: f64,
) -> Step {
    let step = match outcome {
        Outcome::Failed(kind) => failed(ladder, means, history, *kind, roll),
        Outcome::Answered { verdict, retry_after } => {
            answered(ladder, means, history, verdict, *retry_after, roll)
        }
    };
    afforded(&ladder.budget, history, harmless(ladder, history, step, outcome), outcome)
}

/// The step, or the end of the fetch where the step would send an unsafe request again that the server may have acted
/// on.
fn harmless(ladder: &Ladder, history: &History, step: Step, outcome: &Outcome<'_>) -> Step {
    if step.why().is_none() || ladder.schedule.may_repeat(&history.method) || was_not_processed(outcome) {
        return step;
    }
    match outcome {
        Outcome::Failed(_) => Step::Fail,
        Outcome::Answered { verdict, .. } if verdict.kind == VerdictKind::OriginError => Step::Done,
        Outcome::Answered { .. } => stop(&format!(
            "rungs does not send a {} again by itself, since the server may have acted on it; begin at a higher tier \
             (`--tier impersonate`), or set `retry.unsafe = true` for the target",
            history.method
        )),
    }
}

/// Whether the server certainly did not act on the request: it never left, or a protection service answered in the
/// server's place with a challenge.
fn was_not_processed(outcome: &Outcome<'_>) -> bool {
    match outcome {
        Outcome::Failed(kind) => matches!(kind, ErrorKind::Connect | ErrorKind::Proxy),
        Outcome::Answered { verdict, .. } => {
            verdict.kind == VerdictKind::Challenge && verdict.vendor.is_some()
        }
    }
}

/// The step, or the end of the fetch where the budget does not allow it.
pub(crate) fn afforded(budget: &Budget, history: &History, step: Step, outcome: &Outcome<'_>) -> Step {
    match (unaffordable(budget, history, &step), outcome) {
        (None, _) => step,
        (Some(_), Outcome::Failed(_)) => Step::Fail,
        // The page of a failing origin is a page all the same.
        (Some(_), Outcome::Answered { verdict, .. }) if verdict.kind == VerdictKind::OriginError => {
            Step::Done
        }
        (Some(hint), _) => Step::Spent { hint },
    }
}

fn failed(ladder: &Ladder, means: Means, history: &History, kind: ErrorKind, roll: f64) -> Step {
    let times = ladder.schedule.times;
    if kind == ErrorKind::Proxy && may_leave(means, history) {
        return Step::NewExit { faulty: true, why: format!("new exit: {kind} error") };
    }
    if history.failed < times && is_transient(kind, history.tier) {
        let after = ladder.schedule.after_failure(history.failed, roll);
        return Step::Retry { after, why: format!("retry: {kind} error") };
    }
    Step::Fail
}

fn answered(
    ladder: &Ladder,
    means: Means,
    history: &History,
    verdict: &Verdict,
    retry_after: Option<Duration>,
    roll: f64,
) -> Step {
    match verdict.kind {
        VerdictKind::Genuine => Step::Done,
        VerdictKind::OriginError => broken(ladder, history, retry_after, roll),
        VerdictKind::RateLimit => limited(ladder, history, verdict, retry_after, roll),
        VerdictKind::Challenge | VerdictKind::Stub => climb(ladder, history, verdict),
        VerdictKind::Block => {
            if means.session && history.sessions < 1 {
                Step::NewSession { why: format!("new session: {verdict}") }
            } else if means.exit && history.exits < 1 {
                Step::NewExit { faulty: false, why: format!("new exit: {verdict}") }
            } else {
                climb(ladder, history, verdict)
            }
        }
        VerdictKind::ProxyFault if may_leave(means, history) => {
            Step::NewExit { faulty: true, why: format!("new exit: {verdict}") }
        }
        VerdictKind::ProxyFault => {
            stop("it could not, or would not, reach the site; `--trace` shows how it said so")
        }
        VerdictKind::Captcha => stop("the site wants a captcha solved, which rungs does not do"),
        VerdictKind::Geo => stop("the site does not serve this country; a proxy elsewhere may help"),
        VerdictKind::LoginWall => stop("the page wants an account; send its cookies with `-b`"),
    }
}

/// The origin is failing: asked again, then believed.
fn broken(ladder: &Ladder, history: &History, retry_after: Option<Duration>, roll: f64) -> Step {
    let schedule = &ladder.schedule;
    let after = match retry_after {
        Some(asked) => schedule.as_asked(asked, roll),
        None => Some(schedule.after_failure(history.failed, roll)),
    };
    match after {
        Some(after) if history.failed < schedule.times => {
            Step::Retry { after, why: "retry: the origin is failing".to_owned() }
        }
        _ => Step::Done,
    }
}

fn limited(
    ladder: &Ladder,
    history: &History,
    verdict: &Verdict,
    retry_after: Option<Duration>,
    roll: f64,
) -> Step {
    let schedule = &ladder.schedule;
    let after = match retry_after {
        Some(asked) => schedule.as_asked(asked, roll),
        None => Some(schedule.after_limit(history.limited, roll)),
    };
    match after {
        None => {
            let asked = retry_after.unwrap_or_default().as_secs();
            stop(&format!("the site asks to come back in {asked} s"))
        }
        Some(_) if history.limited >= schedule.times => {
            stop("the site asks for a slower pace; try again later")
        }
        Some(after) => Step::Wait { after, why: format!("wait: {verdict}") },
    }
}

fn climb(ladder: &Ladder, history: &History, verdict: &Verdict) -> Step {
    let Some(to) = history.tier.next() else {
        return Step::Blocked { hint: None };
    };
    if to > ladder.max {
        return stop(&format!("this fetch stops at `{}`; try `--max-tier {to}`", ladder.max));
    }
    Step::Climb { to, why: format!("climb: {verdict}") }
}

fn stop(hint: &str) -> Step {
    Step::Blocked { hint: Some(hint.to_owned()) }
}

/// What of the budget the step would overdraw, as a hint.
fn unaffordable(budget: &Budget, history: &History, step: &Step) -> Option<String> {
    let (to, after) = match step {
        Step::Done | Step::Blocked { .. } | Step::Spent { .. } | Step::Fail => return None,
        Step::Climb { to, .. } => (*to, Duration::ZERO),
        Step::Retry { after, .. } | Step::Wait { after, .. } => (history.tier, *after),
        Step::NewSession { .. } | Step::NewExit { .. } => (history.tier, Duration::ZERO),
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
const fn may_leave(means: Means, history: &History) -> bool {
    (means.exit || means.direct) && history.faults < EXITS
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
pub(super) const EXITS: u32 = 5;

#[cfg(test)]
mod tests;
