//! Parses any text as a browser profile. A valid profile is linted, written as text and parsed again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rungs::fingerprint::lint::{Date, Freshness, lint};
use rungs::fingerprint::{Fingerprints, Profile};
use rungs::fingerprint::profile::Over;
use rungs::{Context, ErrorKind};

fuzz_target!(|text: &str| {
    match Profile::from_toml(text, "profile.toml") {
        Ok(profile) => {
            let _ = profile.tls.trust_anchor_ids();
            for over in [Over::H2, Over::H1, Over::Cleartext] {
                let _ = profile.headers(Context::Form, over, true);
            }
            let _ = profile.http2.priority(Context::Fetch);
            let _ = Fingerprints::of(&profile);
            let today = Date::parse("2026-11-21").expect("a valid date");
            let _ = lint(&profile, &Freshness { today, installed: Some(156), weeks: Freshness::WEEKS });
            let again = Profile::from_toml(&profile.to_toml(), "profile.toml");
            assert_eq!(again.expect("rungs wrote this profile"), profile);
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Profile);
            assert!(error.to_string().starts_with("profile.toml:"), "the error names its file: {error}");
        }
    }
});
