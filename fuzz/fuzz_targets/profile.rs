//! Any text as a browser profile.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rungs::fingerprint::Profile;
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
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Profile);
            assert!(error.to_string().starts_with("profile.toml:"), "it names its file: {error}");
        }
    }
});
