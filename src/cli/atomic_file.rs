//! Files that appear only when they are whole: what is begun beside one takes its name in the end.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::NamedTempFile;

/// The folder that `file` is in.
pub(crate) fn parent_dir(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Begins a file with the rights of any new one.
pub(crate) fn create(file: &Path) -> io::Result<NamedTempFile> {
    let rights = Permissions::from_mode(0o666);
    tempfile::Builder::new()
        .prefix(".rungs-")
        .suffix(".part")
        .permissions(rights)
        .tempfile_in(parent_dir(file))
}

/// Begins a file that is its owner's alone.
pub(crate) fn create_private(file: &Path) -> io::Result<NamedTempFile> {
    NamedTempFile::new_in(parent_dir(file))
}
