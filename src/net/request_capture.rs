//! Captures a request as sent, with possible secrets masked.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};

use super::exchange::to_http2_fields;
use super::headers::{self, WireHeaders};
use crate::exchange::credentials;
use crate::exchange::request::Request;
use crate::exchange::response::{HttpVersion, SentRequest};
use crate::text::redact;

/// Returns `request` as it is sent with `fields`.
pub(super) fn capture(request: &Request, is_http2: bool, fields: &WireHeaders) -> SentRequest {
    let shown = |(name, value): (Arc<str>, HeaderValue)| {
        let value = redact_value(request, &name, value);
        (name.as_ref().to_owned(), value)
    };
    let url = &request.url;
    let headers: Vec<_> = if is_http2 {
        let (host, fields) = to_http2_fields(fields.clone());
        let host = host.or_else(|| HeaderValue::from_str(&headers::authority(url)).ok());
        host.map(|host| (Arc::from("host"), host)).into_iter().chain(fields).map(shown).collect()
    } else {
        fields.iter().cloned().map(shown).collect()
    };
    let target = url[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
    let version = if is_http2 { HttpVersion::Http2 } else { HttpVersion::Http11 };
    SentRequest { method: request.method.clone(), target, version, headers }
}

/// Returns the request of a browser, which `request` caused, with possible secrets masked.
#[cfg(feature = "browser")]
pub(crate) fn mask_secrets(request: &Request, mut sent: SentRequest) -> SentRequest {
    for (name, value) in &mut sent.headers {
        *value = redact_value(request, name, value.clone());
    }
    sent
}

/// Returns a field's value, or a mask if it may be a secret: credentials, and fields that the caller added
/// unless HTTP defines them.
fn redact_value(request: &Request, name: &str, value: HeaderValue) -> HeaderValue {
    let masked = || HeaderValue::from_static("***");
    let Ok(name) = name.parse::<HeaderName>() else { return masked() };
    let is_callers = || request.headers.iter().any(|(own, _)| *own == name);
    let may_be_secret = || credentials::may_be_secret(&name) && !NOT_SECRET.contains(&name);
    if SECRET.contains(&name) || (may_be_secret() && is_callers()) {
        return masked();
    }
    if name == header::REFERER {
        let shown = value.to_str().ok().map(redact::url_text);
        return shown.and_then(|text| HeaderValue::from_str(&text).ok()).unwrap_or_else(masked);
    }
    value
}

const SECRET: [HeaderName; 3] = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];
/// Fields that are bound to one origin but are not secrets.
const NOT_SECRET: [HeaderName; 7] = [
    header::HOST,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::ORIGIN,
];

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    #[test]
    fn credentials_and_unknown_caller_headers_are_masked() {
        let mut request = Request::get(Url::parse("https://jane:hunter2@a.test:8443/p?q=1#x").unwrap());
        for name in ["x-api-key", "sec-api-key", "accept-language"] {
            request.headers.push((name.parse().unwrap(), HeaderValue::from_static("mine")));
        }
        let fields: WireHeaders = [
            ("Connection", "keep-alive"),
            ("Accept-Language", "mine"),
            ("X-Api-Key", "mine"),
            ("sec-api-key", "mine"),
            ("X-Of-The-Profile", "its"),
            ("Authorization", "Basic amFuZQ=="),
            ("Referer", "https://jane:hunter2@a.test/"),
            ("Cookie", "a=b"),
        ]
        .map(|(name, value)| (Arc::from(name), HeaderValue::from_static(value)))
        .into();
        let sent = capture(&request, true, &fields);
        assert_eq!((sent.target.as_str(), sent.version), ("/p?q=1", HttpVersion::Http2));
        let headers: Vec<_> =
            sent.headers.iter().map(|(name, value)| (&name[..], value.to_str().unwrap())).collect();
        let expected = [
            ("host", "a.test:8443"),
            ("accept-language", "mine"),
            ("x-api-key", "***"),
            ("sec-api-key", "***"),
            ("x-of-the-profile", "its"),
            ("authorization", "***"),
            ("referer", "https://***:***@a.test/"),
            ("cookie", "***"),
        ];
        assert_eq!(headers, expected);
        let sent = capture(&request, false, &fields);
        assert_eq!((&sent.headers[0].0[..], sent.headers.len()), ("Connection", fields.len()));
    }
}
