//! The error type of the crate: an opaque box with a kind, a URL, a hint, a trace and a source.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustix::io::Errno;
use url::Url;

use crate::exchange::error_kind::ErrorKind;
use crate::exchange::trace::{Diagnosis, Trace};
use crate::text::redact;

type BoxError = Box<dyn StdError + Send + Sync>;

/// An error of a fetch or of its settings.
///
/// `Display` prints the message of this layer, [`source`](StdError::source) returns the cause, and
/// [`hint`](Error::hint) says how to fix it. None of them contains a secret.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    url: Option<String>,
    hint: Option<String>,
    trace: Option<Trace>,
    source: Option<BoxError>,
    is_proxy_auth_error: bool,
    was_sent: bool,
    is_unreadable: bool,
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
            was_sent: false,
            is_unreadable: false,
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

    /// Converts an I/O error. If no file descriptor is free, the kind is [`ErrorKind::Io`], whatever `kind` is.
    pub(crate) fn from_io(kind: ErrorKind, message: String, cause: io::Error) -> Self {
        match Errno::from_io_error(&cause) {
            Some(Errno::MFILE | Errno::NFILE) => Self::new(ErrorKind::Io, message)
                .with_source(cause)
                .with_hint("raise the limit of file descriptors (`ulimit -n 4096`) or lower the concurrency"),
            _ => Self::new(kind, message).with_source(cause),
        }
    }

    /// Marks an error by which a proxy refuses credentials or requires them.
    pub(crate) fn mark_proxy_auth_error(mut self) -> Self {
        self.0.is_proxy_auth_error = true;
        self
    }

    /// Marks an error after which a server may have acted on the request, whatever the kind: a connection that could
    /// not be opened for a redirect, or any failure of a page in the browser.
    pub(crate) fn mark_sent(mut self) -> Self {
        self.0.was_sent = true;
        self
    }

    /// Whether a server may have acted on the request although the kind says that no connection was opened.
    pub(crate) fn was_sent(&self) -> bool {
        self.0.was_sent
    }

    /// Marks an error of a response that arrived and that the HTTP tiers cannot read. A browser may show it.
    pub(crate) fn mark_unreadable(mut self) -> Self {
        self.0.is_unreadable = true;
        self
    }

    /// Whether a response arrived that the HTTP tiers cannot read and a browser may show.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.0.is_unreadable
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The URL of the failed request, without credentials.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.0.url.as_deref()
    }

    /// How to fix the error, in one line, if known.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The trace of the attempts, if there were any.
    #[must_use]
    pub fn trace(&self) -> Option<&Trace> {
        self.0.trace.as_ref()
    }

    /// Returns the probable reason why the fetch is blocked, from its trace. `None` for an error that is not a block.
    #[must_use]
    pub fn diagnosis(&self) -> Option<Diagnosis> {
        let is_refusal = matches!(self.0.kind, ErrorKind::Blocked | ErrorKind::Proxy);
        self.trace().filter(|_| is_refusal)?.diagnosis()
    }

    /// Whether all allowed tiers were blocked.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.0.kind == ErrorKind::Blocked
    }

    /// Whether a proxy requires credentials or refused them (407, or a failed SOCKS authentication).
    #[must_use]
    pub fn is_proxy_auth_error(&self) -> bool {
        self.0.is_proxy_auth_error
    }

    /// Whether a timeout expired.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.0.kind == ErrorKind::Timeout
    }

    /// Whether the same fetch may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.kind.is_retryable()
    }

    /// Returns the message and those of all sources, separated by `: `. A source that its parent's message already ends
    /// with is not repeated.
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
    fn a_source_that_its_parent_quotes_is_not_repeated() {
        let inner = Error::new(ErrorKind::Io, "no such file");
        let middle = Error::new(ErrorKind::Io, "broke: no such file").with_source(inner);
        let outer = Error::new(ErrorKind::Io, "could not read").with_source(middle);
        assert_eq!(outer.chain(), "could not read: broke: no such file");
    }
}
