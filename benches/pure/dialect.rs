//! Times writing an account, a location and a session into proxy credentials.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use pure_bench::Processor;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rungs::{CredentialRequest, Dialect, GeoTarget, Proxy, Secret};

/// An account of `dialect`, with a city, a session and a lifetime if the dialect supports them.
fn request(dialect: &Dialect, rng: &mut StdRng) -> CredentialRequest {
    let has = |name: &str| dialect.parameters().any(|other| other == name);
    let mut geo = GeoTarget::default();
    if has("country") {
        geo = geo.country("de");
    }
    if has("city") && !has("zip") {
        geo = geo.city("berlin");
    }
    // Bright Data's account names contain the zone.
    let user = if dialect.name() == "brightdata" { "jane-zone-home" } else { "jane" };
    let mut request = CredentialRequest::new(user, Secret::new("s3cret")).geo(geo);
    if dialect.has_sessions() {
        request = request.session(dialect.generate_session_id(rng));
    }
    if let Some((shortest, longest)) = dialect.ttl_range() {
        request = request.ttl(Duration::from_secs(600).clamp(shortest, longest));
    }
    if dialect.gateway().is_none() {
        let gateway: Proxy = "http://gate.example:7000".parse().expect("it is a proxy");
        request = request.gateway(gateway);
    }
    request
}

pub fn render(criterion: &mut Criterion<Processor>) {
    let mut group = criterion.benchmark_group("dialect");
    let mut rng = StdRng::seed_from_u64(1);
    let dialects: Vec<Arc<Dialect>> = Dialect::shipped().collect();
    for dialect in &dialects {
        let request = request(dialect, &mut rng);
        let proxy = dialect.render(&request).expect("the dialect supports all parameters");
        assert!(proxy.credentials().is_some(), "{}", dialect.name());
        group.bench_function(dialect.name(), |bencher| bencher.iter(|| dialect.render(black_box(&request))));
    }
    let decodo = Dialect::find("decodo", None).expect("it is shipped");
    group.bench_function("a new session's id", |bencher| {
        bencher.iter(|| decodo.generate_session_id(&mut rng))
    });
}
