//! Files that appear only when they are complete: a temporary file in the same folder is renamed at the end.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::NamedTempFile;

/// Returns the folder of `file`.
pub(crate) fn parent_dir(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Creates a temporary file beside `file`, with the permissions of an ordinary new file.
pub(crate) fn create(file: &Path) -> io::Result<NamedTempFile> {
    let permissions = Permissions::from_mode(0o666);
    tempfile::Builder::new()
        .prefix(".rungs-")
        .suffix(".part")
        .permissions(permissions)
        .tempfile_in(parent_dir(file))
}

/// Creates a temporary file beside `file` that only its owner can read.
pub(crate) fn create_private(file: &Path) -> io::Result<NamedTempFile> {
    NamedTempFile::new_in(parent_dir(file))
}
