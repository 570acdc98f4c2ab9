//! Helpers for file paths.

use std::path::Path;

/// Returns the folder of `path`: the current one for a bare file name.
pub(crate) fn parent_or_cwd(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
