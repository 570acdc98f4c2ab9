//! Times parsing a robots.txt and checking a URL against it, by the number of rules.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use pure_bench::Processor;
use rungs::robots::Rules;

/// A file with a group for another agent, then `count` rules for all agents, a tenth of them with a `*`.
fn file(count: usize) -> String {
    let mut text = String::from("User-agent: other\nDisallow: /\n\nUser-agent: *\nCrawl-delay: 1\n");
    for rule in 0..count {
        let _ = match rule % 10 {
            0 => writeln!(text, "Disallow: /*/print{rule}?"),
            1 => writeln!(text, "Allow: /shop/part{rule}/open"),
            _ => writeln!(text, "Disallow: /shop/part{rule}/"),
        };
    }
    text
}

pub fn rules(criterion: &mut Criterion<Processor>) {
    let mut group = criterion.benchmark_group("robots");
    let allowed = rungs::parse_url("https://www.shop.example/shop/item/12345?page=2").expect("it is a URL");
    for count in [10, 100, 2_000] {
        let text = file(count);
        let forbidden = format!("https://www.shop.example/shop/part{}/x", count - 1);
        let forbidden = rungs::parse_url(&forbidden).expect("it is a URL");
        let rules = Rules::parse(text.as_bytes());
        assert!(rules.find_disallow(&allowed).is_none() && rules.find_disallow(&forbidden).is_some());
        let id = |name: &str| BenchmarkId::new(name, format!("{count} rules"));
        group.bench_function(id("read"), |bencher| bencher.iter(|| Rules::parse(black_box(text.as_bytes()))));
        group.bench_function(id("an allowed URL"), |bencher| {
            bencher.iter(|| rules.find_disallow(black_box(&allowed)))
        });
        group.bench_function(id("a forbidden URL"), |bencher| {
            bencher.iter(|| rules.find_disallow(black_box(&forbidden)))
        });
    }
}
