//! The URL by which a crawl compares pages. It is never requested. Pure.

use std::fmt::Write as _;

use url::Url;

use super::session_ids::{SessionIds, is_session_name};
use crate::exchange::credentials::strip_fragment_and_credentials;

/// Returns the URL that equivalent URLs of a page have in common.
pub(super) fn dedup_url(mut url: Url, sort_query: bool, sessions: &SessionIds) -> Url {
    strip_fragment_and_credentials(&mut url);
    let path = normalize_escapes(&strip_path_sessions(url.path()));
    if path != url.path() {
        url.set_path(&path);
    }
    let host = url.host_str().unwrap_or_default().to_owned();
    if let Some(query) = url.query() {
        let is_kept = |pair: &&str| !is_tracking_parameter(pair) && !sessions.is_ignored(&host, pair);
        let mut pairs: Vec<String> = query.split('&').filter(is_kept).map(normalize_escapes).collect();
        if sort_query {
            pairs.sort_unstable();
        }
        // An empty query is not a missing one.
        let joined = (!pairs.is_empty()).then(|| pairs.join("&"));
        if joined.as_deref() != Some(query) {
            url.set_query(joined.as_deref());
        }
    }
    url
}

/// Whether a parameter tracks the source of a visit.
fn is_tracking_parameter(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default().to_ascii_lowercase();
    name.starts_with("utm_") || TRACKING_PARAMETERS.contains(&name.as_str())
}

/// Removes `;jsessionid=…` and similar parameters from the path.
fn strip_path_sessions(path: &str) -> String {
    let segments = path.split('/').map(|segment| {
        let mut parts = segment.split(';');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.filter(|part| !is_session_name(part)).fold(first, |kept, part| kept + ";" + part)
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Decodes needless escapes, and writes the others in upper case.
fn normalize_escapes(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let value = escaped
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        // `from_str_radix` would also parse `+1`.
        let value = value.filter(|_| bytes[at + 1].is_ascii_hexdigit());
        match value {
            // A decoded byte after a stray `%` must not form a new escape.
            Some(byte) if is_unreserved(byte) && !ends_with_stray_percent(&out) => {
                out.push(char::from(byte));
                at += 3;
            }
            Some(byte) => {
                // Writing to a string cannot fail.
                let _ = write!(out, "%{byte:02X}");
                at += 3;
            }
            None => {
                let next = text[at..].chars().next().unwrap_or_default();
                out.push(next);
                at += next.len_utf8().max(1);
            }
        }
    }
    out
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~')
}

fn ends_with_stray_percent(out: &str) -> bool {
    let bytes = out.as_bytes();
    let is = |back: usize| bytes.len() >= back && bytes[bytes.len() - back] == b'%';
    is(1) || is(2)
}

/// Parameters that track the source of a visit.
const TRACKING_PARAMETERS: [&str; 24] = [
    "gclid",
    "gclsrc",
    "dclid",
    "gbraid",
    "wbraid",
    "fbclid",
    "msclkid",
    "yclid",
    "twclid",
    "ttclid",
    "li_fat_id",
    "igshid",
    "mc_cid",
    "mc_eid",
    "_ga",
    "_gl",
    "_hsenc",
    "_hsmi",
    "mkt_tok",
    "oly_anon_id",
    "oly_enc_id",
    "vero_id",
    "wickedid",
    "s_cid",
];
