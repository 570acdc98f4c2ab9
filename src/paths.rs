//! Where a file is.

use std::path::Path;

/// The folder that `path` is in: the current one for a bare name.
pub(crate) fn parent_or_cwd(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
