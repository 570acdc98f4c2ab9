//! Header templates: whether they can be sent, and whether they agree with `[browser]`.

use std::collections::BTreeSet;

use super::Diagnostics;
use crate::exchange::request::Context;
use crate::fingerprint::derive::identity_header;
use crate::fingerprint::profile::{Browser, HeaderTemplate, Profile, WireProtocol};

pub(super) fn check(profile: &Profile, diagnostics: &mut Diagnostics) {
    let contexts: Vec<&str> = Context::ALL.iter().map(|context| context.name()).collect();
    let mut seen = BTreeSet::new();
    for headers in &profile.headers {
        let key = format!("headers.{}", headers.label());
        if !contexts.contains(&headers.context.as_str()) {
            diagnostics.error(
                "context",
                &key,
                format!("is not a context; contexts are {}", contexts.join(", ")),
            );
        }
        if !seen.insert(headers.label()) {
            diagnostics.error("template-twice", &key, "is defined twice; the first definition is used");
        }
        check_fields(headers, &key, diagnostics);
    }
    for over in [WireProtocol::Http2, WireProtocol::Http1, WireProtocol::Cleartext] {
        if !profile.headers.iter().any(|headers| {
            headers.context == Context::Navigation.name() && headers.over == over && !headers.redirected
        }) {
            let message = format!(
                "has no navigation template for {}, to which all other contexts fall back",
                over.name()
            );
            diagnostics.error("template-missing", "headers", message);
        }
    }
    for context in profile.http2.priority.keys() {
        if !contexts.contains(&context.as_str()) {
            let message = format!("is not a context; contexts are {}", contexts.join(", "));
            diagnostics.error("context", format!("http2.priority.{context}"), message);
        }
    }
}

fn check_fields(headers: &HeaderTemplate, key: &str, diagnostics: &mut Diagnostics) {
    let mut seen = BTreeSet::new();
    for field in &headers.fields {
        let lower = field.name.to_ascii_lowercase();
        let key = format!("{key}.{}", field.name);
        if http::HeaderName::from_bytes(field.name.as_bytes()).is_err() {
            diagnostics.error("header-name", &key, "is not a header name");
        } else if headers.over == WireProtocol::Http2 && field.name != lower {
            diagnostics.error("header-name", &key, "has upper case, which HTTP/2 forbids");
        } else if headers.over == WireProtocol::Http2 && HOP_BY_HOP.contains(&lower.as_str()) {
            diagnostics.error("header-name", &key, "is an HTTP/1.1 header, which HTTP/2 forbids");
        }
        if field.value.as_ref().is_some_and(|value| http::HeaderValue::from_str(value).is_err()) {
            diagnostics.error("header-value", &key, "has a value that is not a valid header value");
        }
        if !seen.insert(lower) {
            diagnostics.error("header-twice", &key, "is listed twice");
        }
    }
}

/// Checks that hold only for a browser.
pub(super) fn check_identity(profile: &Profile, browser: &Browser, diagnostics: &mut Diagnostics) {
    for headers in &profile.headers {
        let label = format!("headers.{}", headers.label());
        for (name, id) in IDENTITY {
            let key = format!("{label}.{name}");
            // Client hints and Fetch Metadata are sent to secure origins only.
            if headers.over == WireProtocol::Cleartext && name.starts_with("sec-") {
                continue;
            }
            let found = headers.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
            let Some(expected) = identity_header(name, browser) else { continue };
            match found.and_then(|field| field.value.as_deref()) {
                Some(value) => diagnostics.expect_equal(id, key, value, &expected, "[browser]"),
                None => diagnostics.error(id, key, "is missing, or has no value"),
            }
        }
        for field in &headers.fields {
            let lower = field.name.to_ascii_lowercase();
            let key = format!("{label}.{}", field.name);
            if headers.over == WireProtocol::Cleartext && lower.starts_with("sec-") {
                diagnostics.error("cleartext", &key, "is sent over https only");
            }
            if headers.over == WireProtocol::Cleartext
                && lower == "accept-encoding"
                && field.value.as_ref().is_some_and(|value| value.contains("br") || value.contains("zstd"))
            {
                diagnostics.error(
                    "cleartext",
                    &key,
                    "offers br or zstd, which Chrome offers over https only",
                );
            }
            if field.value.is_none() && lower.starts_with("sec-ch-") && !profile.hints.contains_key(&lower) {
                diagnostics.warning(
                    "hint-missing",
                    &key,
                    "is in the template, but [hints] has no value for it",
                );
            }
        }
    }
}

/// Headers that identify the browser, with the id of the rule that checks each.
const IDENTITY: [(&str, &str); 5] = [
    ("user-agent", "ua-header"),
    ("sec-ch-ua", "brands-header"),
    ("sec-ch-ua-mobile", "mobile-header"),
    ("sec-ch-ua-platform", "platform-header"),
    ("accept-language", "language-header"),
];
/// RFC 9113, section 8.2.2, and Host, which `:authority` replaces.
const HOP_BY_HOP: [&str; 6] =
    ["connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];
