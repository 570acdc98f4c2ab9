//! Any text as a file of block rules, and a verdict by them.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rungs::ErrorKind;
use rungs::detect::{Rules, saved};

static URL: LazyLock<url::Url> =
    LazyLock::new(|| rungs::parse_url("https://site.example/p/1").expect("it is a URL"));
static ANSWER: LazyLock<saved::Saved> = LazyLock::new(|| {
    saved::parse(include_bytes!("../../fixtures/blocks/cloudflare/managed-challenge-403.http"))
        .expect("it is an answer")
});

fuzz_target!(|text: &str| {
    match Rules::from_toml(text, "mine.toml") {
        Ok(rules) => {
            let verdict = rules.judge(&ANSWER.seen(&URL));
            assert!((0.0..=1.0).contains(&verdict.confidence), "confidence is a share");
            assert!(verdict.evidence.len() <= 12, "evidence is bounded");
            if let Some(at_once) = rules.judge_at_once(&ANSWER.seen(&URL)) {
                assert_eq!(at_once, verdict, "both ways lead to the same verdict");
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
