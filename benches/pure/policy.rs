//! Times all decisions of the policy for one fetch, from the first attempt to the end.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use pure_bench::Processor;
use rungs::lab::parts::{End, climbed};
use rungs::{ErrorKind, Tier, Verdict, VerdictKind};

fn answer(kind: VerdictKind) -> End {
    End::Answer(Verdict { kind, vendor: Some("cloudflare".to_owned()), ..Verdict::genuine() }, None)
}

fn genuine() -> End {
    End::Answer(Verdict::genuine(), None)
}

pub fn fetches(criterion: &mut Criterion<Processor>) {
    use VerdictKind::{Block, Challenge, RateLimit};
    let asked = End::Answer(Verdict { kind: RateLimit, ..Verdict::genuine() }, Some(Duration::from_secs(1)));
    let mut group = criterion.benchmark_group("policy");
    for (name, ends, expected) in [
        ("a page at once", vec![genuine()], (1, Tier::Plain)),
        (
            "two climbs, then the page",
            vec![answer(Challenge), answer(Challenge), genuine()],
            (3, Tier::Browser),
        ),
        (
            "a reset, a rate limit, a new session and exit, two climbs, then the page",
            vec![
                End::Failure(ErrorKind::Connect),
                asked,
                answer(Block),
                answer(Block),
                answer(Block),
                answer(Block),
                genuine(),
            ],
            (7, Tier::Browser),
        ),
        (
            "five exits that do not work",
            (0..6).map(|_| End::Failure(ErrorKind::Proxy)).collect(),
            (6, Tier::Plain),
        ),
    ] {
        assert_eq!(climbed(&ends), expected, "{name}");
        group.bench_function(name, |bencher| bencher.iter(|| climbed(black_box(&ends))));
    }
}
