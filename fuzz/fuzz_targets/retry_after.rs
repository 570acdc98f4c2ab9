//! Parses any bytes as a Retry-After header, at any system time.
#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use rungs::retry_after;

fuzz_target!(|input: (u32, &[u8])| {
    let (seconds, bytes) = input;
    let Ok(value) = http::HeaderValue::from_bytes(bytes) else { return };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into());
    let headers = http::HeaderMap::from_iter([(http::header::RETRY_AFTER, value)]);
    if let Some(wait) = retry_after::parse(&headers, now) {
        assert!(now.checked_add(wait.min(Duration::from_secs(86_400))).is_some(), "{wait:?}");
        assert_eq!(wait.subsec_nanos(), 0, "the value has whole seconds");
    }
});
