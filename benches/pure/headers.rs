//! Times building a request's headers: those of the profile's browser, in its order, with the caller's own.

use std::hint::black_box;

use criterion::Criterion;
use http::{HeaderName, HeaderValue};
use pure_bench::Processor;
use rungs::fingerprint::Profile;
use rungs::fingerprint::profile::Over;
use rungs::lab::parts::Wardrobe;
use rungs::{Context, Request};

/// The parameters of a `Wardrobe`.
struct Look {
    context: Context,
    over: Over,
    own: usize,
    cookies: usize,
    hints: bool,
}

impl Look {
    fn wardrobe(&self) -> Wardrobe {
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
        Wardrobe::new(profile, request, self.over, cookies, hints)
    }
}

pub fn dress(criterion: &mut Criterion<Processor>) {
    let navigation = Look { context: Context::Navigation, over: Over::H2, own: 0, cookies: 0, hints: false };
    let script = Look { context: Context::Fetch, ..navigation };
    let mut group = criterion.benchmark_group("headers");
    for (name, look) in [
        ("a navigation", Look { ..navigation }),
        ("a navigation, 3 own headers, 20 cookies", Look { own: 3, cookies: 20, ..navigation }),
        (
            "a navigation over HTTP/1.1, 3 own headers, 20 cookies",
            Look { over: Over::H1, own: 3, cookies: 20, ..navigation },
        ),
        ("a navigation with client hints", Look { hints: true, ..navigation }),
        ("a fetch", Look { ..script }),
        ("a fetch, 3 own headers, 20 cookies", Look { own: 3, cookies: 20, ..script }),
        ("a fetch with client hints", Look { hints: true, ..script }),
    ] {
        let wardrobe = look.wardrobe();
        let fields = wardrobe.fields().expect("it can be written");
        let cookies = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("cookie")).count();
        let lines = if look.over == Over::H2 { look.cookies } else { look.cookies.min(1) };
        assert_eq!(cookies, lines, "{name}");
        assert_eq!(fields.iter().any(|(name, _)| **name == *"sec-ch-ua-arch"), look.hints, "{name}");
        group.bench_function(name, |bencher| bencher.iter(|| black_box(&wardrobe).fields()));
    }
}

const OWN: [(&str, &str); 3] = [
    ("accept-language", "de-DE,de;q=0.9"),
    ("x-requested-with", "XMLHttpRequest"),
    ("authorization", "Bearer abc"),
];
const HINTS: &str = "sec-ch-ua-arch, sec-ch-ua-bitness, sec-ch-ua-model, sec-ch-ua-platform-version";
