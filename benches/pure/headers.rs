//! Times building a request's headers: those of the profile's browser, in its order, with the caller's own.

use std::hint::black_box;

use criterion::Criterion;
use http::{HeaderName, HeaderValue};
use pure_bench::Processor;
use rungs::fingerprint::Profile;
use rungs::fingerprint::profile::WireProtocol;
use rungs::lab::bench_parts::HeaderBench;
use rungs::{Context, Request};

/// The parameters of a `HeaderBench`.
struct HeaderCase {
    context: Context,
    over: WireProtocol,
    own: usize,
    cookies: usize,
    hints: bool,
}

impl HeaderCase {
    fn bench(&self) -> HeaderBench {
        let profile = Profile::named("chrome-156-linux").expect("it is shipped");
        let url = rungs::parse_url("https://www.shop.example/list?page=2").expect("it is a URL");
        let mut request = Request::get(url);
        request.context = self.context;
        request.headers = OWN[..self.own]
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let cookies = (0..self.cookies).map(|at| (format!("cookie{at}"), format!("{at:032x}"))).collect();
        let hints = self.hints.then(|| HeaderValue::from_static(HINTS));
        HeaderBench::new(profile, request, self.over, cookies, hints)
    }
}

pub fn build(criterion: &mut Criterion<Processor>) {
    let navigation = HeaderCase {
        context: Context::Navigation,
        over: WireProtocol::Http2,
        own: 0,
        cookies: 0,
        hints: false,
    };
    let script = HeaderCase { context: Context::Fetch, ..navigation };
    let mut group = criterion.benchmark_group("headers");
    for (name, case) in [
        ("a navigation", HeaderCase { ..navigation }),
        ("a navigation, 3 own headers, 20 cookies", HeaderCase { own: 3, cookies: 20, ..navigation }),
        (
            "a navigation over HTTP/1.1, 3 own headers, 20 cookies",
            HeaderCase { over: WireProtocol::Http1, own: 3, cookies: 20, ..navigation },
        ),
        ("a navigation with client hints", HeaderCase { hints: true, ..navigation }),
        ("a fetch", HeaderCase { ..script }),
        ("a fetch, 3 own headers, 20 cookies", HeaderCase { own: 3, cookies: 20, ..script }),
        ("a fetch with client hints", HeaderCase { hints: true, ..script }),
    ] {
        let bench = case.bench();
        let fields = bench.fields().expect("it can be written");
        let cookies = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("cookie")).count();
        let lines = if case.over == WireProtocol::Http2 { case.cookies } else { case.cookies.min(1) };
        assert_eq!(cookies, lines, "{name}");
        assert_eq!(fields.iter().any(|(name, _)| **name == *"sec-ch-ua-arch"), case.hints, "{name}");
        group.bench_function(name, |bencher| bencher.iter(|| black_box(&bench).fields()));
    }
}

const OWN: [(&str, &str); 3] = [
    ("accept-language", "de-DE,de;q=0.9"),
    ("x-requested-with", "XMLHttpRequest"),
    ("authorization", "Bearer abc"),
];
const HINTS: &str = "sec-ch-ua-arch, sec-ch-ua-bitness, sec-ch-ua-model, sec-ch-ua-platform-version";
