//! Converts the browser's errors to [`ErrorKind`]s. Net error names are constants of Chromium
//! (`net/base/net_error_list.h`), not prose.

use crate::exchange::error::Error;
use crate::exchange::error_kind::ErrorKind;

/// Returns the error of a navigation that failed with a net error such as `net::ERR_NAME_NOT_RESOLVED`.
pub(super) fn navigation_error(text: &str) -> Error {
    let name = text.trim_start_matches("net::");
    let kind = net_error_kind(name);
    let what = match kind {
        ErrorKind::Dns => "the browser could not resolve the host name",
        ErrorKind::Tls => "the browser refused the TLS connection",
        ErrorKind::Proxy => "the browser could not connect through the proxy",
        ErrorKind::Timeout => "the browser's connection timed out",
        ErrorKind::Redirect => "the browser stopped following redirects",
        ErrorKind::Protocol => "the browser could not parse the response",
        ErrorKind::Decode => "the browser could not decode the body",
        ErrorKind::Connect => "the browser could not connect",
        _ => "the browser could not load the page",
    };
    Error::new(kind, what).with_source(crate::text::redact::escape_terminal(name))
}

/// Returns the error of a truncated document. The part that the page shows is not a page.
pub(super) fn truncated_error(text: &str) -> Error {
    let name = text.trim_start_matches("net::");
    let kind =
        if net_error_kind(name) == ErrorKind::Decode { ErrorKind::Decode } else { ErrorKind::Protocol };
    Error::new(kind, "the page was truncated").with_source(crate::text::redact::escape_terminal(name))
}

fn net_error_kind(name: &str) -> ErrorKind {
    match name {
        "ERR_NAME_NOT_RESOLVED" | "ERR_NAME_RESOLUTION_FAILED" | "ERR_DNS_TIMED_OUT" => ErrorKind::Dns,
        "ERR_TIMED_OUT" | "ERR_CONNECTION_TIMED_OUT" => ErrorKind::Timeout,
        // The caller's URL has a known scheme, so a redirect caused the last two.
        "ERR_TOO_MANY_REDIRECTS"
        | "ERR_RESPONSE_HEADERS_MULTIPLE_LOCATION"
        | "ERR_UNSAFE_REDIRECT"
        | "ERR_INVALID_REDIRECT"
        | "ERR_UNKNOWN_URL_SCHEME"
        | "ERR_DISALLOWED_URL_SCHEME" => ErrorKind::Redirect,
        "ERR_EMPTY_RESPONSE"
        | "ERR_INVALID_RESPONSE"
        | "ERR_INVALID_HTTP_RESPONSE"
        | "ERR_INVALID_CHUNKED_ENCODING"
        | "ERR_INCOMPLETE_CHUNKED_ENCODING"
        | "ERR_CONTENT_LENGTH_MISMATCH"
        | "ERR_RESPONSE_HEADERS_TOO_BIG"
        | "ERR_RESPONSE_HEADERS_TRUNCATED" => ErrorKind::Protocol,
        "ERR_CONTENT_DECODING_FAILED" | "ERR_CONTENT_DECODING_INIT_FAILED" => ErrorKind::Decode,
        "ERR_NO_SUPPORTED_PROXIES" | "ERR_MANDATORY_PROXY_CONFIGURATION_FAILED" => ErrorKind::Proxy,
        _ if name.starts_with("ERR_TUNNEL_")
            || name.starts_with("ERR_PROXY_")
            || name.starts_with("ERR_SOCKS_") =>
        {
            ErrorKind::Proxy
        }
        _ if name.starts_with("ERR_CERT_")
            || name.starts_with("ERR_SSL_")
            || name.starts_with("ERR_BAD_SSL_")
            || name == "ERR_ECH_NOT_NEGOTIATED" =>
        {
            ErrorKind::Tls
        }
        _ if name.starts_with("ERR_HTTP2_") || name.starts_with("ERR_QUIC_") => ErrorKind::Protocol,
        _ if name.starts_with("ERR_CONNECTION_")
            || name.starts_with("ERR_SOCKET_")
            || name == "ERR_ADDRESS_UNREACHABLE"
            || name == "ERR_ADDRESS_INVALID"
            || name == "ERR_INTERNET_DISCONNECTED"
            || name == "ERR_NETWORK_CHANGED"
            || name == "ERR_UNSAFE_PORT" =>
        {
            ErrorKind::Connect
        }
        _ => ErrorKind::Browser,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn net_errors_have_their_kinds() {
        for (text, want) in [
            ("net::ERR_NAME_NOT_RESOLVED", ErrorKind::Dns),
            ("net::ERR_CONNECTION_REFUSED", ErrorKind::Connect),
            ("net::ERR_CERT_AUTHORITY_INVALID", ErrorKind::Tls),
            ("net::ERR_SSL_PROTOCOL_ERROR", ErrorKind::Tls),
            ("net::ERR_TUNNEL_CONNECTION_FAILED", ErrorKind::Proxy),
            ("net::ERR_SOCKS_CONNECTION_FAILED", ErrorKind::Proxy),
            ("net::ERR_SOCKS_CONNECTION_HOST_UNREACHABLE", ErrorKind::Proxy),
            ("net::ERR_TOO_MANY_REDIRECTS", ErrorKind::Redirect),
            ("net::ERR_EMPTY_RESPONSE", ErrorKind::Protocol),
            ("net::ERR_BLOCKED_BY_CLIENT", ErrorKind::Browser),
        ] {
            let error = navigation_error(text);
            assert_eq!(error.kind(), want, "{text}");
            assert!(error.chain().contains(text.trim_start_matches("net::")));
        }
    }
}
