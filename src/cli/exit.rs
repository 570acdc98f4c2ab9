//! Exit codes: the only table from kinds to codes, and the failures that carry them.

use std::io;

use rungs::{Error, ErrorKind, redact};

/// All went well.
pub(crate) const OK: u8 = 0;
/// Network, timeout, TLS, and whatever has no code of its own.
pub(crate) const FAILED: u8 = 1;
/// The command line is wrong.
pub(crate) const USAGE: u8 = 2;
/// A setting or a profile is wrong.
pub(crate) const CONFIG: u8 = 3;
/// `-f` and an HTTP status of 400 to 499.
pub(crate) const HTTP_4XX: u8 = 4;
/// `-f` and an HTTP status of 500 or more.
pub(crate) const HTTP_5XX: u8 = 5;
/// Too many redirects, or a circle of them.
pub(crate) const REDIRECTS: u8 = 6;
/// Blocked at every tier allowed.
pub(crate) const BLOCKED: u8 = 7;
/// A batch ended, and some of it failed.
pub(crate) const BATCH: u8 = 8;
/// robots.txt forbids it.
pub(crate) const ROBOTS: u8 = 9;
/// Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// The exit code of an error.
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

/// Why a command ended without doing what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The library says why.
    Library(Error),
    /// The command line is wrong in a way clap cannot see.
    Usage(String),
    /// A file of settings cannot be read.
    Config(String),
    /// Standard output or a file cannot be written or read.
    Io(String, io::Error),
}

impl Failure {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Library(error) => code(error.kind()),
            Self::Usage(_) => USAGE,
            Self::Config(_) => CONFIG,
            Self::Io(..) if self.is_broken_pipe() => OK,
            Self::Io(..) => FAILED,
        }
    }

    /// The reader of our output went away: it has what it wanted.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io(_, cause) if cause.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(crate) fn print(&self) {
        match self {
            Self::Library(error) => {
                eprintln!("error: {}", redact::escape_terminal(&error.chain()));
                if let Some(hint) = error.hint() {
                    eprintln!("hint: {}", redact::escape_terminal(hint));
                }
            }
            Self::Usage(message) | Self::Config(message) => {
                eprintln!("error: {}", redact::escape_terminal(message))
            }
            Self::Io(what, cause) => eprintln!("error: {}: {cause}", redact::escape_terminal(what)),
        }
    }

    /// Wraps an error of writing to standard output.
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
    fn every_kind_has_the_code_that_the_readme_gives() {
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
        ] {
            assert_eq!(code(kind), expected, "{kind}");
        }
    }
}
