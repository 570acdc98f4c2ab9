//! Helpers for file paths.

use std::path::{Path, PathBuf};

/// Returns the folder of `path`: the current one for a bare file name.
pub(crate) fn parent_or_cwd(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns the path with `suffix` appended to its file name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
