//! Times writing an account, a location and a session into proxy credentials.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use pure_bench::Processor;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rungs::{Ask, Dialect, Geo, Proxy, Secret};

/// An account of `dialect`, with a city, a session and a lifetime if the dialect supports them.
fn ask(dialect: &Dialect, rng: &mut StdRng) -> Ask {
    let has = |wish: &str| dialect.wishes().any(|other| other == wish);
    let mut geo = Geo::default();
    if has("country") {
        geo = geo.country("de");
    }
    if has("city") && !has("zip") {
        geo = geo.city("berlin");
    }
    // Bright Data's account names contain the zone.
    let user = if dialect.name() == "brightdata" { "jane-zone-home" } else { "jane" };
    let mut ask = Ask::new(user, Secret::new("s3cret")).geo(geo);
    if dialect.has_sessions() {
        ask = ask.session(dialect.session(rng));
    }
    if let Some((shortest, longest)) = dialect.lengths() {
        ask = ask.ttl(Duration::from_secs(600).clamp(shortest, longest));
    }
    if dialect.gateway().is_none() {
        let gateway: Proxy = "http://gate.example:7000".parse().expect("it is a proxy");
        ask = ask.gateway(gateway);
    }
    ask
}

pub fn render(criterion: &mut Criterion<Processor>) {
    let mut group = criterion.benchmark_group("dialect");
    let mut rng = StdRng::seed_from_u64(1);
    let dialects: Vec<Arc<Dialect>> = Dialect::shipped().collect();
    for dialect in &dialects {
        let ask = ask(dialect, &mut rng);
        let proxy = dialect.render(&ask).expect("the dialect has all that is asked");
        assert!(proxy.credentials().is_some(), "{}", dialect.name());
        group.bench_function(dialect.name(), |bencher| bencher.iter(|| dialect.render(black_box(&ask))));
    }
    let decodo = Dialect::find("decodo", None).expect("it is shipped");
    group.bench_function("a new session's id", |bencher| bencher.iter(|| decodo.session(&mut rng)));
}
