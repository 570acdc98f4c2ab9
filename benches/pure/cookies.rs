//! Times finding the cookies for a URL and storing the cookies of a response, by the number of stored cookies. A jar
//! keeps at most 3,000 cookies, as Chrome does: of 10,000, the oldest are evicted.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion};
use http::HeaderValue;
use pure_bench::Processor;
use rungs::CookieJar;
use url::Url;

/// Cookies that each site sets: half for the requested host, half for the whole site.
const EACH: usize = 10;

/// A jar that received `count` cookies from a tenth as many sites.
fn jar(count: usize) -> CookieJar {
    let jar = CookieJar::default();
    for site in 0..count / EACH {
        let (url, lines) = set_by(site);
        jar.store(&url, &lines);
    }
    jar
}

fn line(at: usize, site: usize) -> HeaderValue {
    let domain = if at.is_multiple_of(2) { String::new() } else { format!("; Domain=site{site}.example") };
    let line = format!("cookie{at}={at:032x}; Path=/; Secure; Max-Age=86400{domain}");
    line.parse().expect("it is a header")
}

fn url(site: usize) -> Url {
    rungs::parse_url(&format!("https://www.site{site}.example/list?page=2")).expect("it is a URL")
}

pub fn lookup(criterion: &mut Criterion<Processor>) {
    let mut group = criterion.benchmark_group("cookies");
    for count in COUNTS {
        let jar = jar(count);
        let (known, other) = (url(count / EACH - 1), url(count));
        assert_eq!(jar.pairs(&known).len(), EACH);
        assert!(jar.pairs(&other).is_empty());
        let id = |name: &str| BenchmarkId::new(name, format!("of {count}"));
        group
            .bench_function(id("the ten of a site"), |bencher| bencher.iter(|| jar.pairs(black_box(&known))));
        group.bench_function(id("none of another site"), |bencher| {
            bencher.iter(|| jar.pairs(black_box(&other)))
        });
    }
}

pub fn storing(criterion: &mut Criterion<Processor>) {
    let mut group = criterion.benchmark_group("cookies");
    for count in COUNTS {
        let jar = jar(count);
        let (url, lines) = set_by(count / EACH - 1);
        let id = BenchmarkId::new("a site sets its ten again", format!("of {count}"));
        group.bench_function(id, |bencher| bencher.iter(|| jar.store(black_box(&url), black_box(&lines))));
    }
    let jar = jar(FULL);
    let mut site = FULL;
    let mut next = || {
        site += 1;
        set_by(site)
    };
    group.bench_function("another site sets ten, ten old ones go", |bencher| {
        bencher.iter_batched(&mut next, |(url, lines)| jar.store(&url, &lines), BatchSize::SmallInput);
    });
    assert_eq!(jar.list().len(), KEPT);
}

/// The cookies that a site sets.
fn set_by(site: usize) -> (Url, Vec<HeaderValue>) {
    (url(site), (0..EACH).map(|at| line(at, site)).collect())
}

const FULL: usize = 10_000;
const KEPT: usize = 3_000;
const COUNTS: [usize; 3] = [10, 1_000, FULL];
