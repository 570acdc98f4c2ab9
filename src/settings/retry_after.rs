//! Parses both forms of Retry-After (RFC 9110, section 10.2.3).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

/// Returns the delay that a 429 or 503 response requests, from `now`. `None` for any other status, where the header
/// does not concern the request rate.
pub(crate) fn requested_delay(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let is_refusal = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    parse(headers, now).filter(|delay| is_refusal && !delay.is_zero())
}

/// Returns the delay that the header requests, from `now`. `None` if it is missing or malformed.
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
    fn seconds_and_dates_are_parsed_and_malformed_values_are_ignored() {
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
    fn only_refusals_request_a_delay() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, "7".parse().unwrap());
        for (status, expected) in [(429, Some(7)), (503, Some(7)), (200, None), (301, None), (403, None)] {
            let status = StatusCode::from_u16(status).unwrap();
            let delay = requested_delay(status, &headers, SystemTime::UNIX_EPOCH);
            assert_eq!(delay, expected.map(Duration::from_secs), "{status}");
        }
    }
}
