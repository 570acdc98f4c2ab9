//! What sort of body an answer carries: it decides how far the body may be asked.

use std::borrow::Cow;

use http::{HeaderMap, header};
use serde::Deserialize;

/// The sort of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ContentKind {
    /// HTML, XHTML: text, title and elements may be asked for.
    Html,
    /// Plain text: only its text may be asked for.
    Text,
    /// JSON, XML, CSV, scripts and styles: judged by status and headers only.
    Data,
    /// Images, fonts, archives: judged by status and headers only.
    Binary,
    /// No body, and nothing said about one.
    None,
}

impl ContentKind {
    /// The sort told by content-type, or by the first bytes where nothing is told.
    pub(super) fn from_response(headers: &HeaderMap, body: &[u8]) -> Self {
        let told = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let told = told.split(';').next().unwrap_or("").trim();
        let told = if told.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(told.to_ascii_lowercase())
        } else {
            Cow::Borrowed(told)
        };
        match &*told {
            "" => Self::sniff(body),
            "text/html" | "application/xhtml+xml" => Self::Html,
            "text/plain" => Self::Text,
            "text/xml" | "text/csv" | "text/css" | "text/javascript" => Self::Data,
            _ if told.starts_with("text/") => Self::Text,
            "application/json" | "application/xml" | "application/javascript" => Self::Data,
            _ if told.ends_with("+json") || told.ends_with("+xml") => Self::Data,
            _ if told.contains("json") || told.contains("javascript") => Self::Data,
            _ => Self::Binary,
        }
    }

    fn sniff(body: &[u8]) -> Self {
        let start = body.trim_ascii_start();
        match start.first() {
            None => Self::None,
            Some(b'{' | b'[') => Self::Data,
            Some(_) if start.starts_with(b"<?xml") && !contains_html(start) => Self::Data,
            Some(b'<') => Self::Html,
            // NUL never stands in text, and stands early in nearly every binary format.
            Some(_) if start.iter().take(512).any(|byte| *byte == 0) => Self::Binary,
            Some(_) => Self::Text,
        }
    }

    /// Whether the body's text may be asked for.
    pub(super) const fn is_readable(self) -> bool {
        matches!(self, Self::Html | Self::Text)
    }
}

fn contains_html(start: &[u8]) -> bool {
    let head = &start[..start.len().min(512)];
    head.windows(5).any(|window| window.eq_ignore_ascii_case(b"<html"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_decides_and_the_bytes_only_where_it_is_silent() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            headers
        };
        let silent = HeaderMap::new();
        let table = [
            (with("text/html; charset=utf-8"), &b"{}"[..], ContentKind::Html),
            (with("TEXT/HTML"), b"", ContentKind::Html),
            (with("application/problem+json"), b"<html>", ContentKind::Data),
            (with("application/rss+xml"), b"", ContentKind::Data),
            (with("image/png"), b"<html>", ContentKind::Binary),
            (with("text/plain"), b"error code: 1020", ContentKind::Text),
            (silent.clone(), b"", ContentKind::None),
            (silent.clone(), b"  {\"a\":1}", ContentKind::Data),
            (silent.clone(), b"<!doctype html>", ContentKind::Html),
            (silent.clone(), b"<?xml version='1.0'?><feed/>", ContentKind::Data),
            (silent.clone(), b"\x89PNG\0\0", ContentKind::Binary),
            (silent, b"hello", ContentKind::Text),
        ];
        for (headers, body, media) in table {
            assert_eq!(ContentKind::from_response(&headers, body), media, "{headers:?} {body:?}");
        }
    }
}
