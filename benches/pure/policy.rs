//! Times all decisions of the policy for one fetch, from the first attempt to the end.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use pure_bench::Processor;
use rungs::lab::bench_parts::{AttemptEnd, simulate_policy};
use rungs::{ErrorKind, Tier, Verdict, VerdictKind};

fn response(kind: VerdictKind) -> AttemptEnd {
    AttemptEnd::Response(Verdict { kind, vendor: Some("cloudflare".to_owned()), ..Verdict::genuine() }, None)
}

fn genuine() -> AttemptEnd {
    AttemptEnd::Response(Verdict::genuine(), None)
}

pub fn fetches(criterion: &mut Criterion<Processor>) {
    use VerdictKind::{Block, Challenge, RateLimit};
    let retry_after =
        AttemptEnd::Response(Verdict { kind: RateLimit, ..Verdict::genuine() }, Some(Duration::from_secs(1)));
    let mut group = criterion.benchmark_group("policy");
    for (name, ends, expected) in [
        ("a page at once", vec![genuine()], (1, Tier::Plain)),
        (
            "two escalations, then the page",
            vec![response(Challenge), response(Challenge), genuine()],
            (3, Tier::Browser),
        ),
        (
            "a reset, a rate limit, a new proxy session and endpoint, two escalations, then the page",
            vec![
                AttemptEnd::Failure(ErrorKind::Connect),
                retry_after,
                response(Block),
                response(Block),
                response(Block),
                response(Block),
                genuine(),
            ],
            (7, Tier::Browser),
        ),
        (
            "five proxy endpoints that fail",
            (0..6).map(|_| AttemptEnd::Failure(ErrorKind::Proxy)).collect(),
            (6, Tier::Plain),
        ),
    ] {
        assert_eq!(simulate_policy(&ends), expected, "{name}");
        group.bench_function(name, |bencher| bencher.iter(|| simulate_policy(black_box(&ends))));
    }
}
