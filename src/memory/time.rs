//! The time of the memory: seconds since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the current time.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Formats a time in UTC, with seconds.
pub(super) fn format_date(seconds: i64) -> String {
    let since = u64::try_from(seconds).ok().map(Duration::from_secs);
    let time = since.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
    // RFC 3339 ends with the year 9999.
    time.filter(|_| seconds < 253_402_300_800)
        .map_or_else(|| "-".to_owned(), |time| humantime::format_rfc3339_seconds(time).to_string())
}
