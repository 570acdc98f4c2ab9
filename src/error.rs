//! The one error type of the crate: an opaque box with a kind, a URL, a hint, a trace and a source.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustix::io::Errno;
use url::Url;

use crate::error_kind::ErrorKind;
use crate::redact;
use crate::trace::{Diagnosis, Trace};

type BoxError = Box<dyn StdError + Send + Sync>;

/// What went wrong with a fetch or with the settings for it.
///
/// `Display` says this layer's part; [`source`](StdError::source) says the rest, and
/// [`hint`](Error::hint) what to do about it. No secret is ever part of any of them.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    url: Option<String>,
    hint: Option<String>,
    trace: Option<Trace>,
    source: Option<BoxError>,
    is_proxy_auth_error: bool,
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            url: None,
            hint: None,
            trace: None,
            source: None,
            is_proxy_auth_error: false,
        }))
    }

    pub(crate) fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    pub(crate) fn with_url(mut self, url: &Url) -> Self {
        self.0.url.get_or_insert_with(|| redact::url(url));
        self
    }

    pub(crate) fn with_trace(mut self, trace: Trace) -> Self {
        self.0.trace = Some(trace);
        self
    }

    /// An error of the system's. Where all file descriptors are taken it is that, whatever was tried.
    pub(crate) fn from_io(kind: ErrorKind, message: String, cause: io::Error) -> Self {
        match Errno::from_io_error(&cause) {
            Some(Errno::MFILE | Errno::NFILE) => {
                Self::new(ErrorKind::Io, message).with_source(cause).with_hint(
                    "all file descriptors are taken: raise the limit (`ulimit -n 4096`) or do less at once",
                )
            }
            _ => Self::new(kind, message).with_source(cause),
        }
    }

    /// Marks what a proxy says of the credentials it was, or was not, given.
    pub(crate) fn mark_proxy_auth_error(mut self) -> Self {
        self.0.is_proxy_auth_error = true;
        self
    }

    /// The kind, for deciding by.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The URL this is about, without credentials.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.0.url.as_deref()
    }

    /// What to do about it, in one line, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// What was tried, where anything was.
    #[must_use]
    pub fn trace(&self) -> Option<&Trace> {
        self.0.trace.as_ref()
    }

    /// Why the fetch is probably still blocked, read from its trace. `None` for an error that is no block.
    #[must_use]
    pub fn diagnosis(&self) -> Option<Diagnosis> {
        let is_refusal = matches!(self.0.kind, ErrorKind::Blocked | ErrorKind::Proxy);
        self.trace().filter(|_| is_refusal)?.diagnosis()
    }

    /// Whether every tier allowed was blocked.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.0.kind == ErrorKind::Blocked
    }

    /// Whether a proxy wants credentials, or refused those it was given (407, or SOCKS's own refusal).
    #[must_use]
    pub fn is_proxy_auth_error(&self) -> bool {
        self.0.is_proxy_auth_error
    }

    /// Whether a deadline passed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.0.kind == ErrorKind::Timeout
    }

    /// Whether the same fetch may work a little later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.kind.is_retryable()
    }

    /// The message followed by those of all its sources, `: ` between them. Some libraries say their
    /// source's part too: it is not said twice.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            let more = cause.to_string();
            if !text.ends_with(&more) {
                text.push_str(": ");
                text.push_str(&more);
            }
            source = cause.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("url", &self.0.url)
            .field("hint", &self.0.hint)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_its_parent_quotes_is_not_said_twice() {
        let inner = Error::new(ErrorKind::Io, "no such file");
        let middle = Error::new(ErrorKind::Io, "broke: no such file").with_source(inner);
        let outer = Error::new(ErrorKind::Io, "could not read").with_source(middle);
        assert_eq!(outer.chain(), "could not read: broke: no such file");
    }
}
