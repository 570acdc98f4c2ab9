//! How long a verdict takes, by size of the page, with the shipped rules: processor time of the thread, so that what else
//! the machine does is not counted.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use cpu_time::ThreadTime;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rungs::detect::{Rules, Seen, saved};

/// Processor time of this thread.
struct Processor(WallTime);

impl Measurement for Processor {
    type Intermediate = ThreadTime;
    type Value = Duration;

    fn start(&self) -> ThreadTime {
        ThreadTime::now()
    }

    fn end(&self, start: ThreadTime) -> Duration {
        start.elapsed()
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        self.0.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self.0.formatter()
    }
}

/// A genuine page of this size: a shop's list, with the script of a cleared Cloudflare page and words that tempt.
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

fn head(status: u16) -> saved::Saved {
    let text = format!(
        "HTTP/2 {status}\ncontent-type: text/html; charset=utf-8\nserver: cloudflare\ncf-ray: 9e-FRA\n\n"
    );
    saved::parse(text.as_bytes()).expect("it is an answer")
}

fn sizes(criterion: &mut Criterion<Processor>) {
    let rules = Rules::shipped();
    let url = rungs::parse_url("https://shop.example/tools").expect("it is a URL");
    for (name, status) in [("genuine 200", 200), ("403 without a sign", 403)] {
        let mut group = criterion.benchmark_group(name);
        let answer = head(status);
        for bytes in [10_000, 50_000, 100_000, 700_000, 5_000_000] {
            let body = page(bytes);
            let seen = Seen { body: &body, ..answer.seen(&url) };
            group.bench_function(BenchmarkId::from_parameter(bytes), |bencher| {
                bencher.iter(|| black_box(rules.judge(black_box(&seen))));
            });
        }
        group.finish();
    }
}

/// Every page and block of the corpus, one after the other: what a judgement costs on the mean.
fn corpus(criterion: &mut Criterion<Processor>) {
    let rules = Rules::shipped();
    let url = rungs::parse_url("https://site.example/p/1").expect("it is a URL");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    for folder in ["pages", "blocks/cloudflare"] {
        let answers: Vec<saved::Saved> = std::fs::read_dir(root.join(folder))
            .expect("the corpus is there")
            .filter_map(|entry| saved::parse(&std::fs::read(entry.ok()?.path()).ok()?).ok())
            .collect();
        criterion.bench_function(&format!("all of {folder} ({} answers)", answers.len()), |bencher| {
            bencher.iter(|| {
                answers.iter().filter(|answer| rules.judge(&answer.seen(&url)).is_genuine()).count()
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(Processor(WallTime));
    targets = sizes, corpus
}
criterion_main!(benches);
