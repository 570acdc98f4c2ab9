//! Stores any bytes as Set-Cookie headers, one per line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rungs::CookieJar;
use url::Url;

fuzz_target!(|bytes: &[u8]| {
    let values: Vec<_> = bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| http::HeaderValue::from_bytes(line).ok())
        .collect();
    let (jar, at) = (CookieJar::default(), |text: &str| Url::parse(text).expect("a valid URL"));
    jar.store(&at("https://shop.example.co.uk/a/b"), &values);
    for other in ["https://example.co.uk.evil.com/a/b", "https://other.co.uk/a/b", "https://co.uk/a/b"] {
        assert!(jar.pairs(&at(other)).is_empty(), "{other} is another site");
    }
    for cookie in jar.list() {
        assert!(cookie.name.len() + cookie.value.len() <= 4096, "{cookie:?}");
        assert!(!cookie.value.contains(['\r', '\n', '\0', ';']), "{cookie:?}");
    }
});
