use proptest::prelude::*;

use super::*;

const ALL: EscalationPolicy = EscalationPolicy {
    min: Tier::Plain,
    start: Tier::Plain,
    max: Tier::Browser,
    retry_policy: RetryPolicy {
        max_retries: 2,
        backoff: Duration::from_millis(500),
        rate_limit_backoff: Duration::from_secs(2),
        max_wait: Duration::from_secs(30),
        repeat_unsafe: false,
    },
    budget: Budget { attempts: 12, visits: 3, bytes: None, elapsed: Some(Duration::from_secs(300)) },
};
const NONE: Alternatives = Alternatives { proxy: false, direct: false, session: false };
const EXIT: Alternatives = Alternatives { proxy: true, ..NONE };
const DIRECT: Alternatives = Alternatives { direct: true, ..NONE };

const KINDS: [VerdictKind; 10] = [
    VerdictKind::Genuine,
    VerdictKind::Challenge,
    VerdictKind::Captcha,
    VerdictKind::Block,
    VerdictKind::RateLimit,
    VerdictKind::Geo,
    VerdictKind::LoginWall,
    VerdictKind::ProxyFault,
    VerdictKind::OriginError,
    VerdictKind::Stub,
];

fn verdict(kind: VerdictKind) -> Verdict {
    Verdict { kind, vendor: None, confidence: 1.0, evidence: Vec::new() }
}

/// One attempt was made, on `tier`.
fn on(tier: Tier) -> AttemptCounters {
    let mut history = AttemptCounters::new(Method::GET);
    history.count_attempt(tier, 0, Duration::ZERO);
    history
}

fn step(
    means: Alternatives,
    history: &AttemptCounters,
    kind: VerdictKind,
    retry_after: Option<u64>,
) -> Action {
    let retry_after = retry_after.map(Duration::from_secs);
    let outcome = AttemptOutcome::Answered { verdict: &verdict(kind), retry_after };
    decide(&ALL, means, history, &outcome, 0.0)
}

#[test]
fn the_documented_defaults_are_the_ones_tested() {
    assert_eq!((ALL.retry_policy, ALL.budget), (RetryPolicy::default(), Budget::default()));
}

/// The whole table, with nothing spent yet: kind, tier, another exit or not -> step.
#[test]
fn every_kind_has_its_step_on_every_tier() {
    use Tier::{Browser, Impersonate, Plain};
    use VerdictKind as K;
    for (kind, tier, means, expected) in [
        (K::Genuine, Plain, NONE, "done"),
        (K::Genuine, Browser, EXIT, "done"),
        (K::Challenge, Plain, NONE, "climb to impersonate"),
        (K::Challenge, Impersonate, EXIT, "climb to browser"),
        (K::Challenge, Browser, EXIT, "blocked"),
        (K::Stub, Plain, NONE, "climb to impersonate"),
        (K::Stub, Impersonate, NONE, "climb to browser"),
        (K::Stub, Browser, NONE, "blocked"),
        (K::Block, Plain, NONE, "climb to impersonate"),
        (K::Block, Impersonate, NONE, "climb to browser"),
        (K::Block, Browser, NONE, "blocked"),
        (K::Block, Plain, EXIT, "new exit"),
        (K::Block, Impersonate, EXIT, "new exit"),
        (K::Block, Browser, EXIT, "new exit"),
        (K::RateLimit, Plain, NONE, "wait 2s"),
        (K::RateLimit, Browser, EXIT, "wait 2s"),
        (K::OriginError, Plain, NONE, "retry"),
        (K::OriginError, Browser, EXIT, "retry"),
        (K::ProxyFault, Plain, NONE, "blocked with a hint"),
        (K::ProxyFault, Browser, EXIT, "new exit, faulty"),
        (K::Captcha, Plain, EXIT, "blocked with a hint"),
        (K::Captcha, Browser, NONE, "blocked with a hint"),
        (K::Geo, Impersonate, EXIT, "blocked with a hint"),
        (K::LoginWall, Impersonate, EXIT, "blocked with a hint"),
    ] {
        assert_eq!(action_name(&step(means, &on(tier), kind, None)), expected, "{kind} {tier} {means:?}");
    }
}

fn action_name(step: &Action) -> String {
    match step {
        Action::Accept => "done".to_owned(),
        Action::Retry { .. } => "retry".to_owned(),
        Action::RetryAfter { after, .. } => format!("wait {after:?}"),
        Action::RenewSession { .. } => "new session".to_owned(),
        Action::SwitchProxy { is_faulty: false, .. } => "new exit".to_owned(),
        Action::SwitchProxy { is_faulty: true, .. } => "new exit, faulty".to_owned(),
        Action::Escalate { to, .. } => format!("climb to {to}"),
        Action::Blocked { hint: None } => "blocked".to_owned(),
        Action::Blocked { hint: Some(_) } => "blocked with a hint".to_owned(),
        Action::OutOfBudget { .. } => "spent".to_owned(),
        Action::Fail => "fail".to_owned(),
    }
}

#[test]
fn a_hard_block_tries_a_fresh_session_then_one_exit_then_climbs() {
    let means = Alternatives { session: true, ..EXIT };
    let mut history = on(Tier::Impersonate);
    let mut steps = Vec::new();
    for _ in 0..3 {
        let step = step(means, &history, VerdictKind::Block, None);
        steps.push(action_name(&step));
        history.count_action(&step);
    }
    assert_eq!(steps, ["new session", "new exit", "climb to browser"]);
}

#[test]
fn the_highest_tier_allowed_is_not_passed_and_the_hint_names_the_flag() {
    let ladder = EscalationPolicy { max: Tier::Impersonate, ..ALL };
    let outcome = AttemptOutcome::Answered { verdict: &verdict(VerdictKind::Challenge), retry_after: None };
    let Action::Blocked { hint: Some(hint) } = decide(&ladder, NONE, &on(Tier::Impersonate), &outcome, 0.0)
    else {
        panic!("not blocked")
    };
    assert!(hint.contains("--max-tier browser"));
}

#[test]
fn retry_after_is_waited_out_unless_it_is_too_long() {
    let history = on(Tier::Plain);
    assert_eq!(action_name(&step(NONE, &history, VerdictKind::RateLimit, Some(3))), "wait 3s");
    let Action::Blocked { hint: Some(hint) } = step(NONE, &history, VerdictKind::RateLimit, Some(3600))
    else {
        panic!("not blocked")
    };
    assert_eq!(hint, "the site asks to come back in 3600 s");
    let asked = step(NONE, &history, VerdictKind::OriginError, Some(3));
    assert!(matches!(asked, Action::Retry { after, .. } if after == Duration::from_secs(3)), "{asked:?}");
    assert_eq!(step(NONE, &history, VerdictKind::OriginError, Some(3600)), Action::Accept);
}

#[test]
fn failures_and_rate_limits_are_counted_apart_and_anew_on_the_next_tier() {
    let mut history = on(Tier::Plain);
    for kind in [VerdictKind::RateLimit, VerdictKind::OriginError, VerdictKind::OriginError] {
        let step = step(NONE, &history, kind, None);
        assert!(matches!(step, Action::Retry { .. } | Action::RetryAfter { .. }), "{step:?}");
        history.count_action(&step);
    }
    assert_eq!(step(NONE, &history, VerdictKind::OriginError, None), Action::Accept, "it is believed");
    assert_eq!(action_name(&step(NONE, &history, VerdictKind::RateLimit, None)), "wait 4s");
    history.count_attempt(Tier::Impersonate, 0, Duration::ZERO);
    assert_eq!(action_name(&step(NONE, &history, VerdictKind::RateLimit, None)), "wait 2s");
}

#[test]
fn a_failure_waits_anything_up_to_a_doubling_limit() {
    let mut history = on(Tier::Plain);
    for limit in [500, 1000] {
        for (roll, expected) in [(0.0, 0), (0.5, limit / 2), (1.0, limit)] {
            let step = decide(&ALL, NONE, &history, &AttemptOutcome::Failed(ErrorKind::Connect), roll);
            assert!(
                matches!(step, Action::Retry { after, .. } if after == Duration::from_millis(expected)),
                "{step:?}"
            );
        }
        history.failure_retries += 1;
    }
    assert_eq!(decide(&ALL, NONE, &history, &AttemptOutcome::Failed(ErrorKind::Connect), 0.0), Action::Fail);
}

#[test]
fn what_will_fail_again_and_what_must_not_be_sent_twice_is_not_retried() {
    use Tier::{Browser, Plain};
    for (method, tier, kind, again) in [
        (Method::GET, Plain, ErrorKind::Tls, false),
        (Method::GET, Plain, ErrorKind::Dns, false),
        (Method::GET, Plain, ErrorKind::Redirect, false),
        (Method::GET, Plain, ErrorKind::Decode, false),
        (Method::GET, Plain, ErrorKind::Proxy, false),
        (Method::GET, Plain, ErrorKind::Timeout, true),
        (Method::GET, Browser, ErrorKind::Timeout, false),
        (Method::GET, Browser, ErrorKind::Browser, false),
        (Method::GET, Browser, ErrorKind::Protocol, true),
        (Method::POST, Plain, ErrorKind::Timeout, false),
        (Method::POST, Plain, ErrorKind::Protocol, false),
        (Method::POST, Plain, ErrorKind::Connect, true),
    ] {
        let history = AttemptCounters { method: method.clone(), ..on(tier) };
        let step = decide(&ALL, NONE, &history, &AttemptOutcome::Failed(kind), 0.0);
        let expected = if again { "retry" } else { "fail" };
        assert_eq!(action_name(&step), expected, "{method} {tier} {kind}");
    }
}

#[test]
fn a_dead_proxy_is_changed_however_seldom_a_failure_is_retried() {
    let ladder = EscalationPolicy { retry_policy: RetryPolicy { max_retries: 0, ..ALL.retry_policy }, ..ALL };
    for means in [EXIT, DIRECT] {
        let mut history = on(Tier::Plain);
        for at in 0..=MAX_PROXY_FAULTS {
            let step = decide(&ladder, means, &history, &AttemptOutcome::Failed(ErrorKind::Proxy), 0.0);
            assert_eq!(action_name(&step), if at < MAX_PROXY_FAULTS { "new exit, faulty" } else { "fail" });
            history.count_action(&step);
        }
        assert_eq!(history.proxy_switches, 0, "the exit that a block may try is not used up");
    }
    assert_eq!(
        action_name(&step(DIRECT, &on(Tier::Plain), VerdictKind::Block, None)),
        "climb to impersonate"
    );
}

#[test]
fn a_spent_budget_ends_the_fetch_and_says_which_flag_allows_more() {
    use VerdictKind as K;
    let spent = |change: &dyn Fn(&mut AttemptCounters)| {
        let mut history = on(Tier::Impersonate);
        change(&mut history);
        history
    };
    let ladder = EscalationPolicy { budget: Budget { bytes: Some(1000), ..ALL.budget }, ..ALL };
    for (history, flag) in [
        (spent(&|h| h.attempts = 12), "--max-attempts"),
        (spent(&|h| h.visits = 3), "--max-visits"),
        (spent(&|h| h.bytes = 1000), "--max-bytes"),
        (spent(&|h| h.elapsed = Duration::from_secs(300)), "budget.elapsed"),
    ] {
        let decided = |kind| {
            let outcome = AttemptOutcome::Answered { verdict: &verdict(kind), retry_after: None };
            decide(&ladder, NONE, &history, &outcome, 0.0)
        };
        let Action::OutOfBudget { hint } = decided(K::Challenge) else { panic!("{flag}: not spent") };
        assert!(hint.contains(flag), "{hint}");
        assert_eq!(decided(K::Genuine), Action::Accept);
        if flag != "--max-visits" {
            assert_eq!(decided(K::OriginError), Action::Accept, "the page of a failing origin is a page");
            let failed = decide(&ladder, NONE, &history, &AttemptOutcome::Failed(ErrorKind::Connect), 0.0);
            assert_eq!(failed, Action::Fail);
        }
    }
    let history = spent(&|h| h.elapsed = Duration::from_secs(299));
    let waited = step(NONE, &history, K::RateLimit, Some(3));
    assert_eq!(action_name(&waited), "spent", "no wait ends beyond the budget");
}

/// What an attempt comes to, drawn at random.
#[derive(Clone, Debug)]
enum RandomOutcome {
    Answer(VerdictKind, Option<u64>),
    Error(ErrorKind),
}

fn random_outcomes() -> impl Strategy<Value = RandomOutcome> {
    let retry_after =
        prop_oneof![3 => Just(None), 2 => (0_u64..40).prop_map(Some), 1 => Just(Some(u64::MAX))];
    prop_oneof![
        3 => (proptest::sample::select(KINDS.as_slice()), retry_after)
            .prop_map(|(kind, after)| RandomOutcome::Answer(kind, after)),
        1 => proptest::sample::select(ErrorKind::ALL.as_slice()).prop_map(RandomOutcome::Error),
    ]
}

prop_compose! {
    fn random_policies()(
        tiers in (0..3_usize, 0..3_usize),
        times in 0..4_u32,
        attempts in 1..15_u32,
        visits in 1..4_u32,
        bytes in proptest::option::of(1..5_000_u64),
        elapsed in proptest::option::of(1..200_u64),
    ) -> EscalationPolicy {
        let (low, high) = (tiers.0.min(tiers.1), tiers.0.max(tiers.1));
        EscalationPolicy {
            min: Tier::ALL[low],
            start: Tier::ALL[low],
            max: Tier::ALL[high],
            retry_policy: RetryPolicy { max_retries: times, ..ALL.retry_policy },
            budget: Budget { attempts, visits, bytes, elapsed: elapsed.map(Duration::from_secs) },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    /// A fetch driven by the policy alone, against a site that answers anything at all.
    #[test]
    fn any_history_ends_within_its_bounds_and_repeats_nothing_that_was_refused(
        ladder in random_policies(),
        exits in 0..4_u32,
        may_renew in any::<bool>(),
        is_post in any::<bool>(),
        attempts in proptest::collection::vec((random_outcomes(), 0..2_000_u64, 0..20_u64, 0.0..1.0_f64), 64),
    ) {
        let mut history = AttemptCounters::new(if is_post { Method::POST } else { Method::GET });
        let (mut tier, mut now, mut left, mut who) = (ladder.min, Duration::ZERO, exits, 0);
        let mut refused: Vec<(Tier, u32)> = Vec::new();
        let mut ended = false;
        for (drawn, bytes, takes, roll) in attempts {
            // What the engine guards: a body is cut where the budget ends.
            let bytes = ladder.budget.bytes.map_or(bytes, |all| bytes.min(all - history.bytes));
            let begun = now;
            now += Duration::from_secs(takes);
            history.count_attempt(tier, bytes, now);
            prop_assert!((ladder.min..=ladder.max).contains(&tier));
            prop_assert!(history.attempts <= ladder.budget.attempts);
            prop_assert!(history.visits <= ladder.budget.visits);
            prop_assert!(ladder.budget.bytes.is_none_or(|all| history.bytes <= all));
            prop_assert!(history.attempts == 1 || ladder.budget.elapsed.is_none_or(|all| begun < all));
            prop_assert!(!refused.contains(&(tier, who)), "{tier} was refused for good");
            let verdict = verdict(match drawn { RandomOutcome::Answer(kind, _) => kind, RandomOutcome::Error(_) => VerdictKind::Genuine });
            let outcome = match drawn {
                RandomOutcome::Answer(_, after) => {
                    AttemptOutcome::Answered { verdict: &verdict, retry_after: after.map(Duration::from_secs) }
                }
                RandomOutcome::Error(kind) => AttemptOutcome::Failed(kind),
            };
            let means = Alternatives { proxy: left > 0, session: may_renew, ..NONE };
            let step = decide(&ladder, means, &history, &outcome, roll);
            let before = counters(&history);
            history.count_action(&step);
            let repeats = matches!(step, Action::Retry { .. } | Action::RetryAfter { .. });
            prop_assert_eq!(counters(&history) > before, repeats || action_name(&step).starts_with("new"));
            if !repeats {
                refused.push((tier, who));
            }
            match step {
                Action::Retry { after, .. } | Action::RetryAfter { after, .. } => {
                    prop_assert!(after <= ladder.retry_policy.max_wait);
                    now += after;
                }
                Action::RenewSession { .. } => who += 1,
                Action::SwitchProxy { .. } => (who, left) = (who + 1, left - 1),
                Action::Escalate { to, .. } => {
                    prop_assert!(Some(to) == tier.next());
                    tier = to;
                }
                Action::Accept | Action::Blocked { .. } | Action::OutOfBudget { .. } | Action::Fail => {
                    ended = true;
                    break;
                }
            }
        }
        prop_assert!(ended, "it never ends");
    }
}

/// What only ever grows while nothing but a climb happens.
fn counters(history: &AttemptCounters) -> u32 {
    history.session_renewals * 1000
        + (history.proxy_switches + history.proxy_faults) * 100
        + history.failure_retries
        + history.rate_limit_retries
}

/// A request that is not safe, answered on `tier`.
fn unsafe_step(method: Method, ladder: &EscalationPolicy, verdict: &Verdict) -> Action {
    let mut history = AttemptCounters::new(method);
    history.count_attempt(Tier::Plain, 0, Duration::ZERO);
    let outcome = AttemptOutcome::Answered { verdict, retry_after: None };
    decide(ladder, EXIT, &history, &outcome, 0.0)
}

#[test]
fn an_unsafe_request_is_not_sent_again_after_a_response() {
    let allowed =
        EscalationPolicy { retry_policy: RetryPolicy { repeat_unsafe: true, ..ALL.retry_policy }, ..ALL };
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        for kind in KINDS {
            let step = unsafe_step(method.clone(), &ALL, &verdict(kind));
            assert_eq!(step.reason(), None, "{method} {kind}: {step:?}");
            let repeated = unsafe_step(method.clone(), &allowed, &verdict(kind));
            let safe = unsafe_step(Method::GET, &ALL, &verdict(kind));
            assert_eq!(repeated, safe, "{method} {kind} with `retry.unsafe`");
        }
        let Action::Blocked { hint: Some(hint) } = unsafe_step(method, &ALL, &verdict(VerdictKind::Block))
        else {
            panic!("a block ends the fetch");
        };
        assert!(hint.contains("retry.unsafe"), "{hint}");
    }
}

#[test]
fn an_unsafe_request_is_sent_again_behind_a_vendors_challenge() {
    let challenge = Verdict { vendor: Some("cloudflare".to_owned()), ..verdict(VerdictKind::Challenge) };
    let step = unsafe_step(Method::POST, &ALL, &challenge);
    assert!(matches!(step, Action::Escalate { to: Tier::Impersonate, .. }), "{step:?}");
    // A page that only looks like a challenge may be the response.
    let step = unsafe_step(Method::POST, &ALL, &verdict(VerdictKind::Challenge));
    assert!(matches!(step, Action::Blocked { .. }), "{step:?}");
}

#[test]
fn an_unsafe_request_that_never_left_is_sent_again() {
    for (kind, means, expected) in [
        (ErrorKind::Connect, NONE, true),
        (ErrorKind::Proxy, EXIT, true),
        (ErrorKind::Protocol, NONE, false),
        (ErrorKind::Timeout, NONE, false),
    ] {
        let mut history = AttemptCounters::new(Method::DELETE);
        history.count_attempt(Tier::Plain, 0, Duration::ZERO);
        let step = decide(&ALL, means, &history, &AttemptOutcome::Failed(kind), 0.0);
        assert_eq!(step.reason().is_some(), expected, "{kind:?}: {step:?}");
    }
}
