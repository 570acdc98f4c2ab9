//! Times a verdict with the shipped rules, by page size.

use std::hint::black_box;
use std::path::Path;

use criterion::{BenchmarkId, Criterion};
use pure_bench::Processor;
use rungs::detect::{ResponseView, Rules, recorded};

/// A genuine page of this size: a shop's list, with the script of a cleared Cloudflare page and words that block pages use.
fn page(bytes: usize) -> Vec<u8> {
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><head><title>Garden tools</title></head><body><nav>Shop</nav>\
         <script>window.__CF$cv$params={};a.src='/cdn-cgi/challenge-platform/scripts/jsd/main.js';</script><ul>",
    );
    let mut item = 0;
    while page.len() < bytes {
        item += 1;
        page.push_str(&format!(
            "<li class=\"item\"><a href=\"/p/{item}\">Spade no. {item}</a> <span class=\"price\">{item}.50</span> \
             <p>Just a moment of work: no captcha, no access denied, only soil. Made by hand.</p></li>\n"
        ));
    }
    page.truncate(bytes);
    page.into_bytes()
}

fn head(status: u16) -> recorded::RecordedResponse {
    let text = format!(
        "HTTP/2 {status}\ncontent-type: text/html; charset=utf-8\nserver: cloudflare\ncf-ray: 9e-FRA\n\n"
    );
    recorded::parse(text.as_bytes()).expect("it is a valid response")
}

pub fn sizes(criterion: &mut Criterion<Processor>) {
    let rules = Rules::shipped();
    let url = rungs::parse_url("https://shop.example/tools").expect("it is a URL");
    let mut group = criterion.benchmark_group("detect");
    for (name, status) in [("a genuine 200", 200), ("a 403 without a sign", 403)] {
        let response = head(status);
        for bytes in [10_000, 50_000, 100_000, 700_000, 5_000_000] {
            let body = page(bytes);
            let view = ResponseView { body: &body, ..response.view(&url) };
            group.bench_function(BenchmarkId::new(name, format!("{bytes} bytes")), |bencher| {
                bencher.iter(|| rules.classify(black_box(&view)));
            });
        }
    }
}

/// Classifies every page and block of the corpus: the mean cost of a verdict.
pub fn corpus(criterion: &mut Criterion<Processor>) {
    let rules = Rules::shipped();
    let url = rungs::parse_url("https://site.example/p/1").expect("it is a URL");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    let mut group = criterion.benchmark_group("detect");
    for folder in ["pages", "blocks/cloudflare"] {
        let responses: Vec<recorded::RecordedResponse> = std::fs::read_dir(root.join(folder))
            .expect("the corpus is there")
            .filter_map(|entry| recorded::parse(&std::fs::read(entry.ok()?.path()).ok()?).ok())
            .collect();
        group.bench_function(format!("all {} of fixtures/{folder}", responses.len()), |bencher| {
            bencher.iter(|| {
                responses.iter().filter(|response| rules.classify(&response.view(&url)).is_genuine()).count()
            });
        });
    }
}
