//! Converts the browser's errors to [`ErrorKind`]s. Net error names are constants of Chromium
//! (`net/base/net_error_list.h`), not prose.

use std::fmt;
use std::sync::Arc;

use chromiumoxide_types::Error as ProtocolError;

use super::page_memory::MemoryExcess;
use crate::exchange::error::Error;
use crate::exchange::error_kind::ErrorKind;

/// The reason that a DevTools command failed.
#[derive(Debug)]
pub(super) enum CdpError {
    /// The browser process has exited.
    BrowserClosed,
    /// The page crashed or closed itself.
    PageClosed,
    /// The page used too much memory and was closed.
    MemoryExceeded(Arc<MemoryExcess>),
    /// The browser rejected the command.
    Protocol(ProtocolError),
    /// The browser did not reply in time.
    TimedOut(&'static str),
    /// The reply exceeds the size limit.
    TooLarge,
    /// The reply does not have the form that the protocol specifies.
    Unreadable(serde_json::Error),
}

impl fmt::Display for CdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BrowserClosed => f.write_str("the browser process has exited"),
            Self::PageClosed => f.write_str("the page crashed or closed itself"),
            Self::MemoryExceeded(excess) => excess.fmt(f),
            Self::Protocol(cause) => {
                write!(
                    f,
                    "the browser rejected the command: {}",
                    crate::text::redact::escape_terminal(&cause.message)
                )
            }
            Self::TimedOut(what) => write!(f, "timed out waiting for the reply to {what}"),
            Self::TooLarge => f.write_str("the browser's reply exceeds the size limit"),
            Self::Unreadable(_) => f.write_str("could not parse the browser's reply"),
        }
    }
}

impl std::error::Error for CdpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(cause) => Some(cause),
            _ => None,
        }
    }
}

impl From<CdpError> for Error {
    fn from(error: CdpError) -> Self {
        match error {
            CdpError::TooLarge => Self::new(ErrorKind::BodyTooLarge, "the page exceeds the size limit"),
            CdpError::TimedOut(_) => {
                Self::new(ErrorKind::Timeout, "the browser did not reply in time").with_source(error)
            }
            CdpError::MemoryExceeded(_) => {
                Self::new(ErrorKind::PageMemory, "the page exceeded its memory limit")
                    .with_source(error)
                    .with_hint("raise the limit with `--page-memory`, or block resources with `--block`")
            }
            _ => Self::new(ErrorKind::Browser, "the browser failed").with_source(error),
        }
    }
}

/// Returns the [`CdpError`] among the sources of `error`.
pub(super) fn find_cdp_error(error: &Error) -> Option<&CdpError> {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref() {
            return Some(error);
        }
        source = cause.source();
    }
    None
}

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
