//! Errors that a proxy reports about the target host, as opposed to faults of the proxy itself.

use std::error::Error as StdError;
use std::fmt;

use crate::exchange::error::Error;
use crate::exchange::error_kind::ErrorKind;

/// The source of an error that a proxy reports about the target host: it could not or would not connect to it.
#[derive(Debug)]
struct TargetUnreachable(String);

impl fmt::Display for TargetUnreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for TargetUnreachable {}

/// Returns an error that a proxy reports about the target host.
pub(crate) fn target_error(kind: ErrorKind, message: String) -> Error {
    Error::new(kind, message.clone()).with_source(TargetUnreachable(message))
}

/// Whether a proxy reported this error about the target host, so that the proxy itself may be healthy.
pub(crate) fn is_target_error(error: &Error) -> bool {
    is_caused_by::<TargetUnreachable>(error)
}

/// Whether an error has a source of type `E`.
pub(crate) fn is_caused_by<E: StdError + 'static>(error: &Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if cause.is::<E>() {
            return true;
        }
        source = cause.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_error_is_found_behind_other_errors_and_printed_once() {
        let cause = target_error(ErrorKind::Proxy, "the proxy refused the tunnel with status 503".to_owned());
        assert_eq!(cause.chain(), "the proxy refused the tunnel with status 503");
        assert!(is_target_error(&cause));
        assert!(is_target_error(&Error::new(ErrorKind::Proxy, "it failed").with_source(cause)));
        assert!(!is_target_error(&Error::new(ErrorKind::Proxy, "the proxy cannot be reached")));
    }
}
