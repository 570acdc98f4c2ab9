//! The limit of open files. Shells often set a low soft limit, which a process may raise to the hard limit.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard limit, at most to [`MAX_OPEN_FILES`].
pub(crate) fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` means unlimited, which kernels do not grant for files.
    let wanted = maximum.map_or(MAX_OPEN_FILES, |hard| hard.min(MAX_OPEN_FILES));
    if current.is_none_or(|current| current >= wanted) {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        Ok(()) => tracing::debug!(wanted, "raised the limit of open files"),
        Err(cause) => tracing::debug!(%cause, wanted, "could not raise the limit of open files"),
    }
}

/// More files than are ever open at once. A higher limit slows down child processes that iterate over all descriptors.
const MAX_OPEN_FILES: u64 = 65_536;
