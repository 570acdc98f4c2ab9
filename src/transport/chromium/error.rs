//! Why a command to the browser failed.

use std::fmt;
use std::sync::Arc;

use chromiumoxide_types::Error as ProtocolError;

use super::page_memory::MemoryExcess;
use crate::exchange::error::Error;
use crate::exchange::error_kind::ErrorKind;

/// The reason that a DevTools command failed.
#[derive(Debug)]
pub(crate) enum CdpError {
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
pub(crate) fn find_cdp_error(error: &Error) -> Option<&CdpError> {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref() {
            return Some(error);
        }
        source = cause.source();
    }
    None
}
