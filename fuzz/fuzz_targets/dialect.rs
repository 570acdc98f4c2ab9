//! Parses any text as a proxy dialect. A valid dialect renders any request; its output cannot contain a line break.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rungs::{CredentialRequest, Dialect, ErrorKind, GeoTarget, Secret};

fuzz_target!(|text: &str| {
    // After a zero byte: the credential request, one value per line.
    let (text, values) = text.split_once('\0').unwrap_or((text, "jane\ns3cret\nus\nNew York\nabc\n30"));
    let dialect = match Dialect::from_toml(text, "dialect.toml") {
        Ok(dialect) => dialect,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Config);
            let names_it = |line: &str| line.starts_with("dialect.toml:");
            assert!(error.to_string().lines().all(names_it), "the error names its file: {error}");
            return;
        }
    };
    let mut lines = values.split('\n').map(str::to_owned);
    let mut request = CredentialRequest::new(
        lines.next().unwrap_or_default(),
        Secret::new(lines.next().unwrap_or_default()),
    )
    .gateway("http://gate.example:1".parse().expect("a valid proxy URL"));
    let mut geo = GeoTarget::default();
    geo.country = lines.next().filter(|line| !line.is_empty());
    geo.city = lines.next().filter(|line| !line.is_empty());
    geo.state.clone_from(&geo.city);
    request = request.geo(geo);
    request.session = lines.next().filter(|line| !line.is_empty());
    request.ttl = lines.next().and_then(|line| line.parse().ok()).map(Duration::from_secs);
    match dialect.render(&request) {
        Ok(proxy) => {
            if let Some((user, password)) = proxy.credentials() {
                let mut letters = user.chars().chain(password.expose().chars());
                assert!(!letters.any(char::is_control) && !user.contains(':'));
            }
            let again: rungs::Proxy = proxy.url().expose().parse().expect("rungs rendered this URL");
            assert_eq!(again, proxy);
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Config),
    }
    // A session id that the dialect generates is valid in the dialect.
    let mut drawn = CredentialRequest::new("jane", Secret::new("s3cret"));
    drawn.gateway = request.gateway;
    if dialect.has_sessions() {
        drawn.session = Some(dialect.generate_session_id(&mut StdRng::seed_from_u64(text.len() as u64)));
        if let Err(error) = dialect.render(&drawn) {
            assert!(!error.to_string().contains("session id"), "{error}");
        }
    }
});
