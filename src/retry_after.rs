//! Reading Retry-After (RFC 9110, section 10.2.3), both forms.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

/// How long from `now` an answer that refuses for being too fast, or too busy (429, 503), asks to stay
/// away. Of any other answer, the header says nothing of the pace.
pub(crate) fn requested_delay(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let refuses = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    parse(headers, now).filter(|wait| refuses && !wait.is_zero())
}

/// How long from `now` the header asks to stay away. `None` where there is none, or nonsense in it.
#[must_use]
pub fn parse(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_nonsense_is_not() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (text, seconds) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("99999999999999999999999", Some(u64::from(u32::MAX))),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("-5", None),
            ("soon", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, text.parse().unwrap());
            assert_eq!(parse(&headers, now), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn only_refusals_ask_for_a_slower_pace() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, "7".parse().unwrap());
        for (status, expected) in [(429, Some(7)), (503, Some(7)), (200, None), (301, None), (403, None)] {
            let status = StatusCode::from_u16(status).unwrap();
            let asked = requested_delay(status, &headers, SystemTime::UNIX_EPOCH);
            assert_eq!(asked, expected.map(Duration::from_secs), "{status}");
        }
    }
}
