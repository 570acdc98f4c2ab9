use proptest::prelude::*;

use super::*;
use crate::exchange::verdict::{Evidence, STRUCTURE_RULES};

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
const PROXY: Alternatives = Alternatives { proxy: true, ..NONE };
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

/// The counters after one attempt on `tier`.
fn on(tier: Tier) -> AttemptCounters {
    let mut counters = AttemptCounters::new(Method::GET);
    counters.count_attempt(tier, 0, Duration::ZERO);
    counters
}

/// Decides for an attempt that was no probe.
fn decide(
    policy: &EscalationPolicy,
    alternatives: Alternatives,
    counters: &AttemptCounters,
    outcome: &AttemptOutcome<'_>,
    roll: f64,
) -> Action {
    let outcome = *outcome;
    next(policy, &Facts { counters, outcome, alternatives, known_tier: None, known_profile: None }, roll)
}

fn action_after(
    alternatives: Alternatives,
    counters: &AttemptCounters,
    kind: VerdictKind,
    retry_after: Option<u64>,
) -> Action {
    let retry_after = retry_after.map(Duration::from_secs);
    let outcome = AttemptOutcome::Responded { verdict: &verdict(kind), retry_after };
    decide(&ALL, alternatives, counters, &outcome, 0.0)
}

#[test]
fn the_documented_defaults_are_the_ones_tested() {
    assert_eq!((ALL.retry_policy, ALL.budget), (RetryPolicy::default(), Budget::default()));
}

/// The whole table, with an unused budget: verdict kind, tier, alternatives -> action.
#[test]
fn every_kind_has_its_action_on_every_tier() {
    use Tier::{Browser, Impersonate, Plain};
    use VerdictKind as K;
    for (kind, tier, alternatives, expected) in [
        (K::Genuine, Plain, NONE, "accept"),
        (K::Genuine, Browser, PROXY, "accept"),
        (K::Challenge, Plain, NONE, "escalate to impersonate"),
        (K::Challenge, Impersonate, PROXY, "escalate to browser"),
        (K::Challenge, Browser, PROXY, "blocked"),
        (K::Stub, Plain, NONE, "escalate to impersonate"),
        (K::Stub, Impersonate, NONE, "escalate to browser"),
        (K::Stub, Browser, NONE, "blocked"),
        (K::Block, Plain, NONE, "escalate to impersonate"),
        (K::Block, Impersonate, NONE, "escalate to browser"),
        (K::Block, Browser, NONE, "blocked"),
        (K::Block, Plain, PROXY, "new proxy"),
        (K::Block, Impersonate, PROXY, "new proxy"),
        (K::Block, Browser, PROXY, "new proxy"),
        (K::RateLimit, Plain, NONE, "wait 2s"),
        (K::RateLimit, Browser, PROXY, "wait 2s"),
        (K::OriginError, Plain, NONE, "retry"),
        (K::OriginError, Browser, PROXY, "retry"),
        (K::ProxyFault, Plain, NONE, "blocked with a hint"),
        (K::ProxyFault, Browser, PROXY, "new proxy, faulty"),
        (K::Captcha, Plain, PROXY, "blocked with a hint"),
        (K::Captcha, Browser, NONE, "blocked with a hint"),
        (K::Geo, Impersonate, PROXY, "blocked with a hint"),
        (K::LoginWall, Impersonate, PROXY, "blocked with a hint"),
    ] {
        assert_eq!(
            action_name(&action_after(alternatives, &on(tier), kind, None)),
            expected,
            "{kind} {tier} {alternatives:?}"
        );
    }
}

#[test]
fn a_verdict_of_the_structural_detector_ends_a_fetch_at_the_highest_tier_only() {
    use VerdictKind as K;
    let structural = |kind| {
        let rule = format!("{STRUCTURE_RULES}{kind}");
        let evidence = vec![Evidence { rule, place: "structure".to_owned(), text: String::new() }];
        Verdict { evidence, ..verdict(kind) }
    };
    let to_impersonate = EscalationPolicy { max: Tier::Impersonate, ..ALL };
    for kind in [K::Captcha, K::Geo, K::LoginWall] {
        for (policy, tier, expected) in [
            (&ALL, Tier::Plain, "escalate to impersonate"),
            (&ALL, Tier::Impersonate, "escalate to browser"),
            (&ALL, Tier::Browser, "blocked with a hint"),
            (&to_impersonate, Tier::Impersonate, "blocked with a hint"),
        ] {
            let verdict = structural(kind);
            let outcome = AttemptOutcome::Responded { verdict: &verdict, retry_after: None };
            let action = decide(policy, NONE, &on(tier), &outcome, 0.0);
            assert_eq!(action_name(&action), expected, "{kind} {tier}");
        }
    }
}

fn action_name(action: &Action) -> String {
    match action {
        Action::Accept => "accept".to_owned(),
        Action::Retry { .. } => "retry".to_owned(),
        Action::RetryAfter { after, .. } => format!("wait {after:?}"),
        Action::RenewSession { .. } => "new session".to_owned(),
        Action::SwitchProxy { is_faulty: false, .. } => "new proxy".to_owned(),
        Action::SwitchProxy { is_faulty: true, .. } => "new proxy, faulty".to_owned(),
        Action::RestoreProfile { .. } => "restore the profile".to_owned(),
        Action::Escalate { to, .. } => format!("escalate to {to}"),
        Action::Blocked { hint: None } => "blocked".to_owned(),
        Action::Blocked { hint: Some(_) } => "blocked with a hint".to_owned(),
        Action::OutOfBudget { .. } => "out of budget".to_owned(),
        Action::Fail => "fail".to_owned(),
    }
}

#[test]
fn a_hard_block_tries_a_fresh_session_then_one_proxy_then_escalates() {
    let alternatives = Alternatives { session: true, ..PROXY };
    let mut counters = on(Tier::Impersonate);
    let mut actions = Vec::new();
    for _ in 0..3 {
        let action = action_after(alternatives, &counters, VerdictKind::Block, None);
        actions.push(action_name(&action));
        counters.count_action(&action);
    }
    assert_eq!(actions, ["new session", "new proxy", "escalate to browser"]);
}

#[test]
fn the_highest_tier_allowed_is_not_exceeded_and_the_hint_names_the_flag() {
    let policy = EscalationPolicy { max: Tier::Impersonate, ..ALL };
    let outcome = AttemptOutcome::Responded { verdict: &verdict(VerdictKind::Challenge), retry_after: None };
    let Action::Blocked { hint: Some(hint) } = decide(&policy, NONE, &on(Tier::Impersonate), &outcome, 0.0)
    else {
        panic!("not blocked")
    };
    assert!(hint.contains("--max-tier browser"));
}

#[test]
fn retry_after_is_waited_out_unless_it_is_too_long() {
    let counters = on(Tier::Plain);
    assert_eq!(action_name(&action_after(NONE, &counters, VerdictKind::RateLimit, Some(3))), "wait 3s");
    let Action::Blocked { hint: Some(hint) } =
        action_after(NONE, &counters, VerdictKind::RateLimit, Some(3600))
    else {
        panic!("not blocked")
    };
    assert_eq!(hint, "the site asks to wait 3600 s (`Retry-After`); try again later");
    let retried = action_after(NONE, &counters, VerdictKind::OriginError, Some(3));
    assert!(matches!(retried, Action::Retry { after, .. } if after == Duration::from_secs(3)), "{retried:?}");
    assert_eq!(action_after(NONE, &counters, VerdictKind::OriginError, Some(3600)), Action::Accept);
}

#[test]
fn failures_and_rate_limits_are_counted_separately_and_reset_on_the_next_tier() {
    let mut counters = on(Tier::Plain);
    for kind in [VerdictKind::RateLimit, VerdictKind::OriginError, VerdictKind::OriginError] {
        let action = action_after(NONE, &counters, kind, None);
        assert!(matches!(action, Action::Retry { .. } | Action::RetryAfter { .. }), "{action:?}");
        counters.count_action(&action);
    }
    assert_eq!(
        action_after(NONE, &counters, VerdictKind::OriginError, None),
        Action::Accept,
        "the response is accepted"
    );
    assert_eq!(action_name(&action_after(NONE, &counters, VerdictKind::RateLimit, None)), "wait 4s");
    counters.count_attempt(Tier::Impersonate, 0, Duration::ZERO);
    assert_eq!(action_name(&action_after(NONE, &counters, VerdictKind::RateLimit, None)), "wait 2s");
}

#[test]
fn the_delay_after_a_failure_is_random_up_to_a_doubling_limit() {
    let mut counters = on(Tier::Plain);
    for limit in [500, 1000] {
        for (roll, expected) in [(0.0, 0), (0.5, limit / 2), (1.0, limit)] {
            let action = decide(&ALL, NONE, &counters, &AttemptOutcome::Failed(ErrorKind::Connect), roll);
            assert!(
                matches!(action, Action::Retry { after, .. } if after == Duration::from_millis(expected)),
                "{action:?}"
            );
        }
        counters.failure_retries += 1;
    }
    assert_eq!(decide(&ALL, NONE, &counters, &AttemptOutcome::Failed(ErrorKind::Connect), 0.0), Action::Fail);
}

#[test]
fn permanent_errors_and_unsafe_requests_are_not_retried() {
    use Tier::{Browser, Plain};
    for (method, tier, kind, is_retried) in [
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
        let counters = AttemptCounters { method: method.clone(), ..on(tier) };
        let action = decide(&ALL, NONE, &counters, &AttemptOutcome::Failed(kind), 0.0);
        let expected = if is_retried { "retry" } else { "fail" };
        assert_eq!(action_name(&action), expected, "{method} {tier} {kind}");
    }
}

#[test]
fn a_dead_proxy_is_replaced_even_if_failures_are_not_retried() {
    let policy = EscalationPolicy { retry_policy: RetryPolicy { max_retries: 0, ..ALL.retry_policy }, ..ALL };
    for alternatives in [PROXY, DIRECT] {
        let mut counters = on(Tier::Plain);
        for at in 0..=MAX_PROXY_FAULTS {
            let action =
                decide(&policy, alternatives, &counters, &AttemptOutcome::Failed(ErrorKind::Proxy), 0.0);
            assert_eq!(
                action_name(&action),
                if at < MAX_PROXY_FAULTS { "new proxy, faulty" } else { "fail" }
            );
            counters.count_action(&action);
        }
        assert_eq!(counters.proxy_switches, 0, "the switch for a block is not used up");
    }
    assert_eq!(
        action_name(&action_after(DIRECT, &on(Tier::Plain), VerdictKind::Block, None)),
        "escalate to impersonate"
    );
}

#[test]
fn an_exhausted_budget_ends_the_fetch_and_names_the_flag_that_allows_more() {
    use VerdictKind as K;
    let used = |change: &dyn Fn(&mut AttemptCounters)| {
        let mut counters = on(Tier::Impersonate);
        change(&mut counters);
        counters
    };
    let policy = EscalationPolicy { budget: Budget { bytes: Some(1000), ..ALL.budget }, ..ALL };
    for (counters, flag) in [
        (used(&|h| h.attempts = 12), "--max-attempts"),
        (used(&|h| h.visits = 3), "--max-visits"),
        (used(&|h| h.bytes = 1000), "--max-bytes"),
        (used(&|h| h.elapsed = Duration::from_secs(300)), "budget.elapsed"),
    ] {
        let decided = |kind| {
            let outcome = AttemptOutcome::Responded { verdict: &verdict(kind), retry_after: None };
            decide(&policy, NONE, &counters, &outcome, 0.0)
        };
        let Action::OutOfBudget { hint } = decided(K::Challenge) else { panic!("{flag}: within the budget") };
        assert!(hint.contains(flag), "{hint}");
        assert_eq!(decided(K::Genuine), Action::Accept);
        if flag != "--max-visits" {
            assert_eq!(
                decided(K::OriginError),
                Action::Accept,
                "the error page of a failing origin is genuine"
            );
            let failed = decide(&policy, NONE, &counters, &AttemptOutcome::Failed(ErrorKind::Connect), 0.0);
            assert_eq!(failed, Action::Fail);
        }
    }
    let counters = used(&|h| h.elapsed = Duration::from_secs(299));
    let delayed = action_after(NONE, &counters, K::RateLimit, Some(3));
    assert_eq!(action_name(&delayed), "out of budget", "a delay does not exceed the budget");
}

/// A random outcome of an attempt.
#[derive(Clone, Debug)]
enum RandomOutcome {
    Response(VerdictKind, Option<u64>),
    Error(ErrorKind),
}

fn random_outcomes() -> impl Strategy<Value = RandomOutcome> {
    let retry_after =
        prop_oneof![3 => Just(None), 2 => (0_u64..40).prop_map(Some), 1 => Just(Some(u64::MAX))];
    prop_oneof![
        3 => (proptest::sample::select(KINDS.as_slice()), retry_after)
            .prop_map(|(kind, after)| RandomOutcome::Response(kind, after)),
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

    /// A fetch driven by the policy alone, against a site with random responses.
    #[test]
    fn any_sequence_of_outcomes_ends_within_the_limits_and_repeats_nothing_that_was_refused(
        policy in random_policies(),
        proxies in 0..4_u32,
        may_renew in any::<bool>(),
        is_post in any::<bool>(),
        attempts in proptest::collection::vec((random_outcomes(), 0..2_000_u64, 0..20_u64, 0.0..1.0_f64), 64),
    ) {
        let mut counters = AttemptCounters::new(if is_post { Method::POST } else { Method::GET });
        let (mut tier, mut now, mut proxies_left, mut identity) = (policy.min, Duration::ZERO, proxies, 0);
        let mut refused: Vec<(Tier, u32)> = Vec::new();
        let mut ended = false;
        for (drawn, bytes, takes, roll) in attempts {
            // The HTTP client enforces this: a body is cut off at the budget's limit.
            let bytes = policy.budget.bytes.map_or(bytes, |all| bytes.min(all - counters.bytes));
            let begun = now;
            now += Duration::from_secs(takes);
            counters.count_attempt(tier, bytes, now);
            prop_assert!((policy.min..=policy.max).contains(&tier));
            prop_assert!(counters.attempts <= policy.budget.attempts);
            prop_assert!(counters.visits <= policy.budget.visits);
            prop_assert!(policy.budget.bytes.is_none_or(|all| counters.bytes <= all));
            prop_assert!(counters.attempts == 1 || policy.budget.elapsed.is_none_or(|all| begun < all));
            prop_assert!(!refused.contains(&(tier, identity)), "{tier} was refused before");
            let verdict = verdict(match drawn { RandomOutcome::Response(kind, _) => kind, RandomOutcome::Error(_) => VerdictKind::Genuine });
            let outcome = match drawn {
                RandomOutcome::Response(_, after) => {
                    AttemptOutcome::Responded { verdict: &verdict, retry_after: after.map(Duration::from_secs) }
                }
                RandomOutcome::Error(kind) => AttemptOutcome::Failed(kind),
            };
            let alternatives = Alternatives { proxy: proxies_left > 0, session: may_renew, ..NONE };
            let action = decide(&policy, alternatives, &counters, &outcome, roll);
            let before = counter_sum(&counters);
            counters.count_action(&action);
            let repeats = matches!(action, Action::Retry { .. } | Action::RetryAfter { .. });
            prop_assert_eq!(counter_sum(&counters) > before, repeats || action_name(&action).starts_with("new"));
            if !repeats {
                refused.push((tier, identity));
            }
            match action {
                Action::Retry { after, .. } | Action::RetryAfter { after, .. } => {
                    prop_assert!(after <= policy.retry_policy.max_wait);
                    now += after;
                }
                Action::RenewSession { .. } => identity += 1,
                Action::SwitchProxy { .. } => (identity, proxies_left) = (identity + 1, proxies_left - 1),
                Action::Escalate { to, .. } => {
                    prop_assert!(Some(to) == tier.next());
                    tier = to;
                }
                Action::RestoreProfile { .. } => prop_assert!(false, "no profile was probed"),
                Action::Accept | Action::Blocked { .. } | Action::OutOfBudget { .. } | Action::Fail => {
                    ended = true;
                    break;
                }
            }
        }
        prop_assert!(ended, "the fetch never ends");
    }
}

/// A weighted sum of the counters. It grows with every action that continues the fetch, except an escalation.
fn counter_sum(counters: &AttemptCounters) -> u32 {
    counters.session_renewals * 1000
        + (counters.proxy_switches + counters.proxy_faults) * 100
        + counters.failure_retries
        + counters.rate_limit_retries
}

/// The action after a response with `verdict` to a request with `method` on the plain tier.
fn unsafe_action(method: Method, policy: &EscalationPolicy, verdict: &Verdict) -> Action {
    let mut counters = AttemptCounters::new(method);
    counters.count_attempt(Tier::Plain, 0, Duration::ZERO);
    let outcome = AttemptOutcome::Responded { verdict, retry_after: None };
    decide(policy, PROXY, &counters, &outcome, 0.0)
}

#[test]
fn an_unsafe_request_is_not_sent_again_after_a_response() {
    let allowed =
        EscalationPolicy { retry_policy: RetryPolicy { repeat_unsafe: true, ..ALL.retry_policy }, ..ALL };
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        for kind in KINDS {
            let action = unsafe_action(method.clone(), &ALL, &verdict(kind));
            assert_eq!(action.reason(), None, "{method} {kind}: {action:?}");
            let repeated = unsafe_action(method.clone(), &allowed, &verdict(kind));
            let safe = unsafe_action(Method::GET, &ALL, &verdict(kind));
            assert_eq!(repeated, safe, "{method} {kind} with `retry.unsafe`");
        }
        let Action::Blocked { hint: Some(hint) } = unsafe_action(method, &ALL, &verdict(VerdictKind::Block))
        else {
            panic!("a block ends the fetch");
        };
        assert!(hint.contains("retry.unsafe"), "{hint}");
    }
}

#[test]
fn an_unsafe_request_is_sent_again_behind_a_vendors_challenge() {
    let challenge = Verdict { vendor: Some("cloudflare".to_owned()), ..verdict(VerdictKind::Challenge) };
    let action = unsafe_action(Method::POST, &ALL, &challenge);
    assert!(matches!(action, Action::Escalate { to: Tier::Impersonate, .. }), "{action:?}");
    // A page that only looks like a challenge may be the response.
    let action = unsafe_action(Method::POST, &ALL, &verdict(VerdictKind::Challenge));
    assert!(matches!(action, Action::Blocked { .. }), "{action:?}");
}

#[test]
fn an_unsafe_request_that_never_left_is_sent_again() {
    for (kind, alternatives, expected) in [
        (ErrorKind::Connect, NONE, true),
        (ErrorKind::Proxy, PROXY, true),
        (ErrorKind::Protocol, NONE, false),
        (ErrorKind::Timeout, NONE, false),
    ] {
        let mut counters = AttemptCounters::new(Method::DELETE);
        counters.count_attempt(Tier::Plain, 0, Duration::ZERO);
        let action = decide(&ALL, alternatives, &counters, &AttemptOutcome::Failed(kind), 0.0);
        assert_eq!(action.reason().is_some(), expected, "{kind:?}: {action:?}");
    }
}

#[test]
fn a_response_that_cannot_be_read_continues_in_the_browser() {
    for (kind, tier) in [
        (ErrorKind::Protocol, Tier::Plain),
        (ErrorKind::Decode, Tier::Plain),
        (ErrorKind::Protocol, Tier::Impersonate),
    ] {
        let outcome = AttemptOutcome::Unreadable(kind);
        let why = format!("climb: {kind} error, a browser may read it");
        assert_eq!(decide(&ALL, NONE, &on(tier), &outcome, 0.0), Action::Escalate { to: Tier::Browser, why });
        // Where the browser is not allowed, it is an error like others.
        let policies = [
            EscalationPolicy { max: Tier::Impersonate, ..ALL },
            EscalationPolicy { budget: Budget { visits: 0, ..ALL.budget }, ..ALL },
        ];
        for policy in policies {
            let failed = decide(&policy, NONE, &on(tier), &AttemptOutcome::Failed(kind), 0.0);
            assert_eq!(decide(&policy, NONE, &on(tier), &outcome, 0.0), failed);
        }
        let mut post = AttemptCounters::new(Method::POST);
        post.count_attempt(tier, 0, Duration::ZERO);
        assert_eq!(decide(&ALL, NONE, &post, &outcome, 0.0), Action::Fail, "the server may have acted on it");
    }
    let action = decide(&ALL, NONE, &on(Tier::Browser), &AttemptOutcome::Unreadable(ErrorKind::Decode), 0.0);
    assert_eq!(action, Action::Fail);
}

/// Where a probe that ends with `kind` leads.
fn action_after_probe(
    tier: Tier,
    known_tier: Tier,
    known_profile: Option<&str>,
    kind: VerdictKind,
    budget: Budget,
) -> Action {
    let verdict = verdict(kind);
    let outcome = AttemptOutcome::Responded { verdict: &verdict, retry_after: None };
    let counters = on(tier);
    let known_tier = Some(known_tier);
    let facts = Facts { counters: &counters, outcome, alternatives: NONE, known_tier, known_profile };
    next(&EscalationPolicy { budget, ..ALL }, &facts, 0.0)
}

#[test]
fn a_refused_probe_returns_to_what_is_known_to_work() {
    use Tier::{Browser, Impersonate, Plain};
    use VerdictKind as K;
    let profile = Some("chrome-older");
    for (tier, known_tier, known_profile, kind, expected) in [
        (Plain, Browser, None, K::Block, "escalate to browser"),
        (Plain, Browser, None, K::Challenge, "escalate to browser"),
        (Impersonate, Browser, None, K::Stub, "escalate to browser"),
        // The attempt was no probe: the next tier.
        (Plain, Plain, None, K::Block, "escalate to impersonate"),
        (Impersonate, Impersonate, None, K::Block, "escalate to browser"),
        (Impersonate, Impersonate, profile, K::Block, "restore the profile"),
        (Impersonate, Browser, profile, K::Challenge, "restore the profile"),
        // The plain tier has no browser profile.
        (Plain, Browser, profile, K::Block, "escalate to browser"),
        (Plain, Browser, profile, K::Genuine, "accept"),
        (Plain, Browser, profile, K::RateLimit, "wait 2s"),
        (Plain, Browser, None, K::Captcha, "escalate to browser"),
        (Plain, Browser, None, K::Geo, "blocked with a hint"),
    ] {
        let action = action_after_probe(tier, known_tier, known_profile, kind, Budget::default());
        assert_eq!(action_name(&action), expected, "{tier} {known_tier} {known_profile:?} {kind}");
    }
}

#[test]
fn a_refused_probe_obeys_the_budget() {
    let attempts = Budget { attempts: 1, ..Budget::default() };
    let visits = Budget { visits: 0, ..Budget::default() };
    for (known_tier, profile, budget) in [
        (Tier::Browser, None, attempts),
        (Tier::Browser, None, visits),
        (Tier::Impersonate, Some("chrome-older"), attempts),
    ] {
        let tier = if profile.is_some() { Tier::Impersonate } else { Tier::Plain };
        let action = action_after_probe(tier, known_tier, profile, VerdictKind::Block, budget);
        assert_eq!(action_name(&action), "out of budget", "{known_tier} {profile:?}");
    }
}
