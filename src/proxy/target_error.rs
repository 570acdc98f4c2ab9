//! What a proxy says of the site, told apart from faults of its own.

use std::error::Error as StdError;
use std::fmt;

use crate::error::Error;
use crate::error_kind::ErrorKind;

/// The source of an error that is a proxy's word on the site: it could not reach it, or would not.
#[derive(Debug)]
struct TargetUnreachable(String);

impl fmt::Display for TargetUnreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for TargetUnreachable {}

/// An error that is a proxy's word on the site.
pub(crate) fn target_error(kind: ErrorKind, message: String) -> Error {
    Error::new(kind, message.clone()).with_source(TargetUnreachable(message))
}

/// Whether an error is a proxy's word on the site, and so perhaps not the proxy's fault.
pub(crate) fn is_target_error(error: &Error) -> bool {
    is_caused_by::<TargetUnreachable>(error)
}

/// Whether a cause of this type is behind an error.
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
    fn the_word_on_a_site_is_known_behind_other_errors_and_said_once() {
        let word = target_error(ErrorKind::Proxy, "the proxy refused the tunnel with status 503".to_owned());
        assert_eq!(word.chain(), "the proxy refused the tunnel with status 503");
        assert!(is_target_error(&word));
        assert!(is_target_error(&Error::new(ErrorKind::Proxy, "it failed").with_source(word)));
        assert!(!is_target_error(&Error::new(ErrorKind::Proxy, "the proxy cannot be reached")));
    }
}
