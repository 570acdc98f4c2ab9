//! Parses any bytes as a recorded response, then classifies it.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rungs::ErrorKind;
use rungs::detect::{Rules, recorded};

static URL: LazyLock<url::Url> =
    LazyLock::new(|| rungs::parse_url("https://site.example/p/1").expect("a valid URL"));

fuzz_target!(|bytes: &[u8]| {
    match recorded::parse(bytes) {
        Ok(response) => {
            let verdict = Rules::shipped().classify(&response.view(&URL));
            assert!(verdict.evidence.len() <= 12, "evidence is bounded");
            let _ = verdict.to_string();
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Protocol),
    }
});
