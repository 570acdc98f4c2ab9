//! Decides where the response to a request for the rest of a file is written. Pure.

use http::{HeaderMap, StatusCode, header};

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;

/// Returns the position in the file for the body of the response; `None` if the file does not change: it is complete, or the
/// response is not the file.
///
/// `has_condition` tells whether the request had `If-Range`: then the whole file means that it changed at the server.
///
/// # Errors
/// [`ErrorKind::Protocol`] if the response is another part, or the whole file without a condition.
pub(super) fn position(
    offset: u64,
    has_condition: bool,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Option<u64>> {
    let error = |message: String| Err(Error::new(ErrorKind::Protocol, message));
    let (start, total) = content_range(headers);
    match status {
        StatusCode::PARTIAL_CONTENT if headers.contains_key(header::CONTENT_ENCODING) => {
            error("the server sent a part of a compressed body, which cannot be appended".to_owned())
        }
        StatusCode::PARTIAL_CONTENT if start == Some(offset) => Ok(Some(offset)),
        StatusCode::PARTIAL_CONTENT => {
            let got = start.map_or("an unknown position".to_owned(), |start| format!("byte {start}"));
            error(format!("the server sent the file from {got} on, not from byte {offset}"))
        }
        StatusCode::OK if offset == 0 || has_condition => Ok(Some(0)),
        StatusCode::OK => error("the server does not support byte ranges: cannot resume".to_owned()),
        StatusCode::RANGE_NOT_SATISFIABLE => match total {
            Some(total) if total != offset => error(format!(
                "the file has {offset} bytes here and {total} bytes at the server: cannot resume"
            )),
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

/// Returns the first byte and the total length that `Content-Range` names.
fn content_range(headers: &HeaderMap) -> (Option<u64>, Option<u64>) {
    let value = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let range = value.trim().strip_prefix("bytes").unwrap_or_default().trim_start();
    let (part, total) = range.split_once('/').unwrap_or((range, ""));
    let start = part.split_once('-').and_then(|(start, _)| start.trim().parse().ok());
    (start, total.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(offset: u64, has_condition: bool, status: u16, range: &str) -> Result<Option<u64>, ()> {
        let mut headers = HeaderMap::new();
        if !range.is_empty() {
            headers.insert(header::CONTENT_RANGE, range.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        position(offset, has_condition, status, &headers).map_err(drop)
    }

    #[test]
    fn only_the_requested_part_is_appended() {
        for (offset, has_condition, status, range, expected) in [
            (5, false, 206, "bytes 5-9/10", Ok(Some(5))),
            (5, false, 206, "bytes 5-9/*", Ok(Some(5))),
            (5, false, 206, "bytes 0-9/10", Err(())),
            (5, false, 206, "", Err(())),
            (5, false, 206, "bytes */10", Err(())),
            (5, false, 200, "", Err(())),
            (5, true, 200, "", Ok(Some(0))),
            (0, false, 200, "", Ok(Some(0))),
            (10, false, 416, "bytes */10", Ok(None)),
            (10, false, 416, "", Ok(None)),
            (12, false, 416, "bytes */10", Err(())),
            (5, false, 404, "", Ok(None)),
        ] {
            assert_eq!(decide(offset, has_condition, status, range), expected, "{offset} {status} {range}");
        }
    }

    #[test]
    fn a_part_of_a_compressed_body_is_an_error() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_RANGE, "bytes 5-9/10".parse().unwrap());
        headers.insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        assert!(position(5, false, StatusCode::PARTIAL_CONTENT, &headers).is_err());
    }
}
