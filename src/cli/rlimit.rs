//! File descriptors: a shell often allows the fewest by default, and more to whom asks.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this process's limit of open files to the most it may give itself.
pub(crate) fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None is without a limit, which no kernel grants for files.
    let wanted = maximum.map_or(MAX_OPEN_FILES, |most| most.min(MAX_OPEN_FILES));
    if current.is_none_or(|current| current >= wanted) {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        Ok(()) => tracing::debug!(wanted, "raised the limit of open files"),
        Err(cause) => tracing::debug!(%cause, wanted, "could not raise the limit of open files"),
    }
}

/// More than is ever open at once; some programs that are started from here walk through all they may have.
const MAX_OPEN_FILES: u64 = 65_536;
