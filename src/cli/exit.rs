//! Exit codes, their mapping from error kinds, and the failure of a command.

use std::io;

use rungs::{Error, ErrorKind, redact};

use super::terminal::print_message;

/// Success.
pub(crate) const OK: u8 = 0;
/// A network, timeout or TLS failure, and every failure without a code of its own.
pub(crate) const FAILED: u8 = 1;
/// The command line or a URL is wrong.
pub(crate) const USAGE: u8 = 2;
/// A setting or a profile is wrong.
pub(crate) const CONFIG: u8 = 3;
/// `-f` and an HTTP status of 400 to 499.
pub(crate) const HTTP_4XX: u8 = 4;
/// `-f` and an HTTP status of 500 or more.
pub(crate) const HTTP_5XX: u8 = 5;
/// Too many redirects, or one that cannot be followed.
pub(crate) const REDIRECTS: u8 = 6;
/// Blocked at every tier allowed.
pub(crate) const BLOCKED: u8 = 7;
/// A batch ended, and some of its fetches failed.
pub(crate) const BATCH: u8 = 8;
/// robots.txt disallows the URL.
pub(crate) const ROBOTS: u8 = 9;
/// Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// Returns the exit code of an error kind.
pub(crate) fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::InvalidUrl | ErrorKind::InvalidRequest => USAGE,
        ErrorKind::Config | ErrorKind::Profile => CONFIG,
        ErrorKind::Redirect => REDIRECTS,
        ErrorKind::Blocked => BLOCKED,
        ErrorKind::Robots => ROBOTS,
        ErrorKind::Interrupted => INTERRUPTED,
        _ => FAILED,
    }
}

/// The reason that a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error of the library.
    Library(Error),
    /// A wrong command line that clap does not detect.
    Usage(String),
    /// Wrong settings, or a settings file that cannot be read.
    Config(String),
    /// The user interrupted the command.
    Interrupted(String),
    /// An error while reading or writing standard output or a file.
    Io(String, io::Error),
}

impl Failure {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Library(error) => code(error.kind()),
            Self::Usage(_) => USAGE,
            Self::Config(_) => CONFIG,
            Self::Interrupted(_) => INTERRUPTED,
            Self::Io(..) if self.is_broken_pipe() => OK,
            Self::Io(..) => FAILED,
        }
    }

    /// Whether the reader of our output closed the pipe. This counts as success.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io(_, cause) if cause.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(crate) fn print(&self) {
        match self {
            Self::Library(error) => {
                print_message(&format!("error: {}", redact::escape_terminal(&error.chain())));
                if let Some(hint) = error.hint() {
                    print_message(&format!("hint: {}", redact::escape_terminal(hint)));
                }
            }
            Self::Usage(message) | Self::Config(message) | Self::Interrupted(message) => {
                print_message(&format!("error: {}", redact::escape_terminal(message)));
            }
            Self::Io(what, cause) => {
                print_message(&format!("error: {}", redact::escape_terminal(&format!("{what}: {cause}"))));
            }
        }
    }

    /// Wraps an error from writing to standard output.
    pub(crate) fn stdout(cause: io::Error) -> Self {
        Self::Io("could not write to standard output".to_owned(), cause)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_kinds_have_their_documented_exit_codes() {
        for (kind, expected) in [
            (ErrorKind::InvalidUrl, 2),
            (ErrorKind::Config, 3),
            (ErrorKind::Profile, 3),
            (ErrorKind::Redirect, 6),
            (ErrorKind::Blocked, 7),
            (ErrorKind::Robots, 9),
            (ErrorKind::Interrupted, 130),
            (ErrorKind::Tls, 1),
            (ErrorKind::Timeout, 1),
            (ErrorKind::Connect, 1),
            (ErrorKind::BodyTooLarge, 1),
            (ErrorKind::PageMemory, 1),
        ] {
            assert_eq!(code(kind), expected, "{kind}");
        }
    }
}
