//! Parses any text as a file of block rules, then classifies a response with them.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rungs::ErrorKind;
use rungs::detect::{Rules, recorded};

static URL: LazyLock<url::Url> =
    LazyLock::new(|| rungs::parse_url("https://site.example/p/1").expect("a valid URL"));
static RESPONSE: LazyLock<recorded::RecordedResponse> = LazyLock::new(|| {
    recorded::parse(include_bytes!("../../fixtures/blocks/cloudflare/managed-challenge-403.http"))
        .expect("a valid response")
});

fuzz_target!(|text: &str| {
    match Rules::from_toml(text, "mine.toml") {
        Ok(rules) => {
            let verdict = rules.classify(&RESPONSE.view(&URL));
            assert!((0.0..=1.0).contains(&verdict.confidence), "confidence is between 0 and 1");
            assert!(verdict.evidence.len() <= 12, "evidence is bounded");
            if let Some(cheap) = rules.classify_cheap(&RESPONSE.view(&URL)) {
                assert_eq!(cheap, verdict, "both functions give the same verdict");
            }
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Profile);
            assert!(
                error.to_string().starts_with("mine.toml") || error.to_string().contains("together"),
                "{error}"
            );
        }
    }
});
