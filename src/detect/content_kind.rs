//! The kind of a response's body, which decides which conditions may read it.

use std::borrow::Cow;

use http::{HeaderMap, header};
use serde::Deserialize;

/// The kind of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ContentKind {
    /// HTML or XHTML: rules may read its text, title and elements.
    Html,
    /// Plain text: rules may read its text only.
    Text,
    /// JSON, XML, CSV, scripts and styles: rules read status and headers only.
    Data,
    /// Images, fonts and archives: rules read status and headers only.
    Binary,
    /// No body and no content type.
    None,
}

impl ContentKind {
    /// Returns the kind from the content type, or from the first bytes if there is none.
    pub(super) fn from_response(headers: &HeaderMap, body: &[u8]) -> Self {
        let mime = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let mime = mime.split(';').next().unwrap_or("").trim();
        let mime = if mime.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(mime.to_ascii_lowercase())
        } else {
            Cow::Borrowed(mime)
        };
        match &*mime {
            "" => Self::sniff(body),
            "text/html" | "application/xhtml+xml" => Self::Html,
            "text/plain" => Self::Text,
            "text/xml" | "text/csv" | "text/css" | "text/javascript" => Self::Data,
            _ if mime.starts_with("text/") => Self::Text,
            "application/json" | "application/xml" | "application/javascript" => Self::Data,
            _ if mime.ends_with("+json") || mime.ends_with("+xml") => Self::Data,
            _ if mime.contains("json") || mime.contains("javascript") => Self::Data,
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
            // Text contains no NUL, and nearly every binary format has one early.
            Some(_) if start.iter().take(512).any(|byte| *byte == 0) => Self::Binary,
            Some(_) => Self::Text,
        }
    }

    /// Whether rules may read the body's text.
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
    fn the_header_decides_and_the_bytes_only_without_a_header() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            headers
        };
        let empty = HeaderMap::new();
        let table = [
            (with("text/html; charset=utf-8"), &b"{}"[..], ContentKind::Html),
            (with("TEXT/HTML"), b"", ContentKind::Html),
            (with("application/problem+json"), b"<html>", ContentKind::Data),
            (with("application/rss+xml"), b"", ContentKind::Data),
            (with("image/png"), b"<html>", ContentKind::Binary),
            (with("text/plain"), b"error code: 1020", ContentKind::Text),
            (empty.clone(), b"", ContentKind::None),
            (empty.clone(), b"  {\"a\":1}", ContentKind::Data),
            (empty.clone(), b"<!doctype html>", ContentKind::Html),
            (empty.clone(), b"<?xml version='1.0'?><feed/>", ContentKind::Data),
            (empty.clone(), b"\x89PNG\0\0", ContentKind::Binary),
            (empty, b"hello", ContentKind::Text),
        ];
        for (headers, body, kind) in table {
            assert_eq!(ContentKind::from_response(&headers, body), kind, "{headers:?} {body:?}");
        }
    }
}
