//! The kinds of errors, with stable names.

use std::fmt;

use serde::Serialize;

/// The kind of an [`Error`](crate::Error). The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The URL is malformed or its scheme is not http or https.
    InvalidUrl,
    /// The request is invalid: a bad header, a bad method, …
    InvalidRequest,
    /// A setting, a settings file or a combination of settings is invalid.
    Config,
    /// A browser profile or a file of block rules is invalid.
    Profile,
    /// The host name could not be resolved.
    Dns,
    /// No connection could be opened, or it broke.
    Connect,
    /// The TLS handshake failed, or the certificate is not valid.
    Tls,
    /// The proxy refused the request, failed or requires credentials.
    Proxy,
    /// A timeout expired.
    Timeout,
    /// The peer violated HTTP, or closed the connection before the end of the response.
    Protocol,
    /// The content coding of the body is invalid.
    Decode,
    /// The body exceeds the size limit.
    BodyTooLarge,
    /// A page in the browser used more memory than its limit.
    PageMemory,
    /// Too many redirects, or one that cannot be followed.
    Redirect,
    /// All allowed tiers are blocked.
    Blocked,
    /// robots.txt disallows the URL.
    Robots,
    /// The browser could not be started, or failed.
    Browser,
    /// A local file could not be read or written.
    Io,
    /// The fetch was interrupted.
    Interrupted,
}

impl ErrorKind {
    /// All kinds, in the documented order.
    pub const ALL: [Self; 19] = [
        Self::InvalidUrl,
        Self::InvalidRequest,
        Self::Config,
        Self::Profile,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Proxy,
        Self::Timeout,
        Self::Protocol,
        Self::Decode,
        Self::BodyTooLarge,
        Self::PageMemory,
        Self::Redirect,
        Self::Blocked,
        Self::Robots,
        Self::Browser,
        Self::Io,
        Self::Interrupted,
    ];

    /// The stable snake-case name, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidUrl => "invalid_url",
            Self::InvalidRequest => "invalid_request",
            Self::Config => "config",
            Self::Profile => "profile",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Proxy => "proxy",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Decode => "decode",
            Self::BodyTooLarge => "body_too_large",
            Self::PageMemory => "page_memory",
            Self::Redirect => "redirect",
            Self::Blocked => "blocked",
            Self::Robots => "robots",
            Self::Browser => "browser",
            Self::Io => "io",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether a retry of the same attempt may succeed.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Dns | Self::Connect | Self::Timeout | Self::Protocol)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
