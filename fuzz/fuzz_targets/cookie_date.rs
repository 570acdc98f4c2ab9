//! Parses any text as the date of a cookie.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use libfuzzer_sys::fuzz_target;
use rungs::fuzz_parts::cookie_date;

/// The first second of the year 10000.
const LATEST: u64 = 253_402_300_800;

fuzz_target!(|text: &str| {
    let date = cookie_date(text);
    assert_eq!(cookie_date(&format!("{text} GMT")), date, "a time zone changes nothing");
    let Some(seconds) = date else { return };
    let Ok(seconds) = u64::try_from(seconds) else { return };
    if seconds < LATEST {
        let written = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(cookie_date(&written), date, "{written}");
    }
});
