//! What kind of thing went wrong: a closed list of stable names.

use std::fmt;

use serde::Serialize;

/// The kind of an [`Error`](crate::Error). Field-less, `Copy`, with names that do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The URL is malformed or its scheme is not http or https.
    InvalidUrl,
    /// The request itself cannot be sent as asked (bad header, bad method, …).
    InvalidRequest,
    /// A setting, a file of settings or a combination of them is wrong.
    Config,
    /// A browser profile or block rule file is wrong.
    Profile,
    /// The host name could not be resolved.
    Dns,
    /// No connection could be opened, or it broke.
    Connect,
    /// The TLS handshake failed, the certificate included.
    Tls,
    /// The proxy refused, failed or wants credentials.
    Proxy,
    /// A deadline passed.
    Timeout,
    /// The peer did not speak proper HTTP, or ended before the answer did.
    Protocol,
    /// The body's content coding is broken.
    Decode,
    /// The body is larger than allowed.
    BodyTooLarge,
    /// Too many redirects, or a loop of them.
    Redirect,
    /// Blocked at every tier allowed.
    Blocked,
    /// robots.txt forbids it.
    Robots,
    /// The browser could not be started, or broke.
    Browser,
    /// A local file could not be read or written.
    Io,
    /// The fetch was interrupted.
    Interrupted,
}

impl ErrorKind {
    /// All kinds, in the order they are documented.
    pub const ALL: [Self; 18] = [
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
        Self::Redirect,
        Self::Blocked,
        Self::Robots,
        Self::Browser,
        Self::Io,
        Self::Interrupted,
    ];

    /// The stable snake-case name, as JSON writes it.
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
            Self::Redirect => "redirect",
            Self::Blocked => "blocked",
            Self::Robots => "robots",
            Self::Browser => "browser",
            Self::Io => "io",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether the same attempt may work when made again a little later.
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
