//! Parses any text as a browser profile. A valid profile is linted, written as text and parsed again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rungs::fingerprint::lint::{AgePolicy, Date, lint};
use rungs::fingerprint::profile::WireProtocol;
use rungs::fingerprint::{Fingerprints, Profile};
use rungs::{Context, ErrorKind};

fuzz_target!(|text: &str| {
    match Profile::from_toml(text, "profile.toml") {
        Ok(profile) => {
            let _ = profile.tls.trust_anchor_ids();
            for over in [WireProtocol::Http2, WireProtocol::Http1, WireProtocol::Cleartext] {
                let _ = profile.headers(Context::Form, over, true);
            }
            let _ = profile.http2.priority(Context::Fetch);
            let _ = Fingerprints::for_profile(&profile);
            let today = Date::parse("2026-11-21").expect("a valid date");
            let max_weeks = AgePolicy::DEFAULT_MAX_WEEKS;
            let _ = lint(&profile, &AgePolicy { today, installed_major: Some(156), max_weeks });
            let again = Profile::from_toml(&profile.to_toml(), "profile.toml");
            assert_eq!(again.expect("rungs wrote this profile"), profile);
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Profile);
            assert!(error.to_string().starts_with("profile.toml:"), "the error names its file: {error}");
        }
    }
});
