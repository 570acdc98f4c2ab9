//! What to do after an attempt. Pure: history and outcome in, step out.

use std::time::Duration;

use http::Method;

use crate::kind::ErrorKind;
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
    /// How often a failed attempt is made again on its tier.
    pub(crate) retries: u32,
}

impl Ladder {
    /// This tier and no other.
    pub(crate) const fn only(self, tier: Tier) -> Self {
        Self { min: tier, start: tier, max: tier, retries: self.retries }
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

/// What was done so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct History<'a> {
    pub(crate) tier: Tier,
    /// How often this tier was tried again after a failure.
    pub(crate) retried: u32,
    pub(crate) method: &'a Method,
}

/// The next step, with the reason the trace gives for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The answer is good.
    Done,
    /// The same tier again after a wait.
    Retry { after: Duration, why: String },
    /// The next tier.
    Climb { to: Tier, why: String },
    /// No tier allowed gets the page.
    Blocked { hint: Option<String> },
    /// The attempt's own error is the answer.
    Fail,
}

/// Decides. Always ends: climbs are bounded by the tiers, retries by `ladder.retries`.
pub(crate) fn decide(ladder: Ladder, history: History<'_>, outcome: &Outcome<'_>) -> Step {
    let may_retry = history.retried < ladder.retries;
    match outcome {
        Outcome::Failed(kind) => {
            if may_retry && is_transient(*kind, history.tier) && may_repeat(history.method, *kind) {
                Step::Retry { after: backoff(history.retried), why: format!("retry: {kind} error") }
            } else {
                Step::Fail
            }
        }
        Outcome::Answered { verdict, retry_after } => match verdict.kind {
            VerdictKind::Genuine => Step::Done,
            VerdictKind::OriginError => {
                let after = retry_after.unwrap_or_else(|| backoff(history.retried));
                if may_retry && after <= MAX_WAIT && history.method.is_idempotent() {
                    Step::Retry { after, why: "retry: the origin is failing".to_owned() }
                } else {
                    Step::Done
                }
            }
            VerdictKind::RateLimit => {
                let after = retry_after.unwrap_or_else(|| rate_backoff(history.retried));
                if !may_retry {
                    Step::Blocked {
                        hint: Some("the site asks for a slower pace; try again later".to_owned()),
                    }
                } else if after > MAX_WAIT {
                    let hint = format!("the site asks to come back in {} s", after.as_secs());
                    Step::Blocked { hint: Some(hint) }
                } else {
                    Step::Retry { after, why: format!("wait: {verdict}") }
                }
            }
            VerdictKind::Challenge | VerdictKind::Block | VerdictKind::Stub => {
                climb(ladder, history, verdict)
            }
            VerdictKind::Captcha => stop("the site wants a captcha solved, which rungs does not do"),
            VerdictKind::Geo => stop("the site does not serve this country; a proxy elsewhere may help"),
            VerdictKind::LoginWall => stop("the page wants an account; send its cookies with `-b`"),
            VerdictKind::ProxyFault => {
                stop("it could not, or would not, reach the site; `--trace` shows how it said so")
            }
        },
    }
}

fn climb(ladder: Ladder, history: History<'_>, verdict: &Verdict) -> Step {
    let Some(to) = history.tier.next() else {
        return Step::Blocked { hint: None };
    };
    if to > ladder.max {
        let hint = format!("this fetch stops at `{}`; try `--max-tier {to}`", ladder.max);
        return Step::Blocked { hint: Some(hint) };
    }
    Step::Climb { to, why: format!("climb: {verdict}") }
}

fn stop(hint: &str) -> Step {
    Step::Blocked { hint: Some(hint.to_owned()) }
}

/// Whether the same attempt may end otherwise a little later.
fn is_transient(kind: ErrorKind, tier: Tier) -> bool {
    match kind {
        // A page or a browser that broke was replaced, and the request made once more, by the tier itself.
        ErrorKind::Connect | ErrorKind::Protocol => true,
        // A browser that waited a minute for a page to settle has waited.
        ErrorKind::Timeout => tier != Tier::Browser,
        _ => false,
    }
}

/// Whether sending it twice does no harm. A refused connection never carried the request.
fn may_repeat(method: &Method, kind: ErrorKind) -> bool {
    method.is_idempotent() || kind == ErrorKind::Connect
}

/// Exponential: 250 ms, 500 ms, 1 s, … The caller adds jitter.
fn backoff(retried: u32) -> Duration {
    (Duration::from_millis(250) * 2u32.saturating_pow(retried)).min(MAX_WAIT)
}

/// A site that limits the rate without saying for how long: 2 s, 4 s, 8 s, …
fn rate_backoff(retried: u32) -> Duration {
    (Duration::from_secs(2) * 2u32.saturating_pow(retried)).min(MAX_WAIT)
}

/// The longest wait inside one fetch.
const MAX_WAIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Ladder = Ladder { min: Tier::Plain, start: Tier::Plain, max: Tier::Browser, retries: 2 };

    fn verdict(kind: VerdictKind) -> Verdict {
        Verdict { kind, vendor: None, confidence: 1.0, evidence: Vec::new() }
    }

    fn answered(ladder: Ladder, tier: Tier, retried: u32, kind: VerdictKind) -> Step {
        let verdict = verdict(kind);
        let history = History { tier, retried, method: &Method::GET };
        decide(ladder, history, &Outcome::Answered { verdict: &verdict, retry_after: None })
    }

    #[test]
    fn blocks_and_challenges_climb_one_rung_and_end_blocked_at_the_top() {
        for kind in [VerdictKind::Challenge, VerdictKind::Block, VerdictKind::Stub] {
            for (tier, to) in [(Tier::Plain, Tier::Impersonate), (Tier::Impersonate, Tier::Browser)] {
                assert!(matches!(answered(ALL, tier, 0, kind), Step::Climb { to: next, .. } if next == to));
            }
            assert_eq!(answered(ALL, Tier::Browser, 0, kind), Step::Blocked { hint: None });
        }
    }

    #[test]
    fn the_highest_tier_allowed_is_not_passed_and_the_hint_names_the_flag() {
        let ladder = Ladder { max: Tier::Impersonate, ..ALL };
        let Step::Blocked { hint: Some(hint) } =
            answered(ladder, Tier::Impersonate, 0, VerdictKind::Challenge)
        else {
            panic!("not blocked")
        };
        assert!(hint.contains("--max-tier browser"));
    }

    #[test]
    fn what_no_tier_passes_stops_at_once() {
        for kind in [VerdictKind::Captcha, VerdictKind::Geo, VerdictKind::LoginWall, VerdictKind::ProxyFault]
        {
            assert!(matches!(answered(ALL, Tier::Plain, 0, kind), Step::Blocked { hint: Some(_) }), "{kind}");
        }
    }

    #[test]
    fn network_errors_are_retried_on_their_tier_with_growing_waits_and_never_climb() {
        for (retried, expected) in [(0, Some(250)), (1, Some(500)), (2, None)] {
            let history = History { tier: Tier::Plain, retried, method: &Method::GET };
            let step = decide(ALL, history, &Outcome::Failed(ErrorKind::Connect));
            match expected {
                Some(ms) => assert!(
                    matches!(step, Step::Retry { after, .. } if after == Duration::from_millis(ms)),
                    "{step:?}"
                ),
                None => assert_eq!(step, Step::Fail),
            }
        }
    }

    #[test]
    fn what_will_fail_again_and_what_must_not_be_sent_twice_is_not_retried() {
        for kind in [ErrorKind::Tls, ErrorKind::Dns, ErrorKind::Redirect, ErrorKind::Decode, ErrorKind::Proxy]
        {
            let history = History { tier: Tier::Plain, retried: 0, method: &Method::GET };
            assert_eq!(decide(ALL, history, &Outcome::Failed(kind)), Step::Fail, "{kind}");
        }
        let browser = History { tier: Tier::Browser, retried: 0, method: &Method::GET };
        assert_eq!(decide(ALL, browser, &Outcome::Failed(ErrorKind::Timeout)), Step::Fail);
        assert_eq!(decide(ALL, browser, &Outcome::Failed(ErrorKind::Browser)), Step::Fail);
        let post = History { tier: Tier::Plain, retried: 0, method: &Method::POST };
        assert_eq!(decide(ALL, post, &Outcome::Failed(ErrorKind::Timeout)), Step::Fail);
        assert!(matches!(decide(ALL, post, &Outcome::Failed(ErrorKind::Connect)), Step::Retry { .. }));
    }

    #[test]
    fn retry_after_is_waited_out_unless_it_is_too_long() {
        let verdict = verdict(VerdictKind::RateLimit);
        let history = History { tier: Tier::Plain, retried: 0, method: &Method::GET };
        let step = |seconds| {
            let retry_after = Some(Duration::from_secs(seconds));
            decide(ALL, history, &Outcome::Answered { verdict: &verdict, retry_after })
        };
        assert!(matches!(step(3), Step::Retry { after, .. } if after == Duration::from_secs(3)));
        assert!(matches!(step(3600), Step::Blocked { hint: Some(_) }));
    }

    #[test]
    fn a_failing_origin_is_retried_and_then_believed() {
        assert!(matches!(answered(ALL, Tier::Plain, 0, VerdictKind::OriginError), Step::Retry { .. }));
        assert_eq!(answered(ALL, Tier::Plain, 2, VerdictKind::OriginError), Step::Done);
    }
}
