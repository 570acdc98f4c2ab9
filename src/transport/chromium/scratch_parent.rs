//! The folder below which a browser's folder is created. It may be shared with other users, such as /tmp.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;

/// Returns `parent` as an absolute path, if other users cannot replace a folder in it.
///
/// # Errors
/// [`ErrorKind::Browser`] when it does not exist, is not a folder, or gives other users control of its entries.
pub(crate) fn check_parent(parent: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(parent).map_err(|cause| missing_error(parent).with_source(cause))?;
    // The link itself must not be another user's, because its owner chooses where it leads.
    let link = fs::symlink_metadata(&absolute).map_err(|cause| missing_error(parent).with_source(cause))?;
    let folder = fs::metadata(&absolute).map_err(|cause| missing_error(parent).with_source(cause))?;
    if !folder.is_dir() {
        return Err(missing_error(parent).with_source("not a folder"));
    }
    let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let link_owner = link.file_type().is_symlink().then(|| link.uid());
    let problem = if link_owner.is_some_and(|owner| owner != ids.0 && owner != 0) {
        Some("it is a symbolic link of another user")
    } else {
        find_problem(Owner { user: folder.uid(), group: folder.gid(), mode: folder.mode() }, ids)
    };
    match problem {
        None => Ok(absolute),
        Some(problem) => Err(Error::new(
            ErrorKind::Browser,
            format!("the folder {} is not safe for the browser's files: {problem}", parent.display()),
        )
        .with_hint("set TMPDIR to a folder of your own, or to /tmp")),
    }
}

/// Returns a folder for temporary files whose path has at most `max` bytes.
pub(crate) fn short_parent(max: usize) -> Option<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let candidates = SHORT.iter().map(PathBuf::from).chain(runtime);
    let usable = |path: &Path| {
        let writable = rustix::fs::access(path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
        writable.is_ok() && path.is_absolute() && path.to_str().is_some() && length(path) <= max
    };
    candidates.into_iter().filter(|path| usable(path)).find_map(|path| check_parent(&path).ok())
}

/// Returns the length of a path in bytes.
pub(crate) fn length(path: &Path) -> usize {
    path.as_os_str().as_bytes().len()
}

/// Owner and mode of a folder.
#[derive(Clone, Copy, Debug)]
struct Owner {
    user: u32,
    group: u32,
    mode: u32,
}

/// Returns the reason why another user than `user` could rename or remove entries of the folder.
fn find_problem(folder: Owner, (user, group): (u32, u32)) -> Option<&'static str> {
    const STICKY: u32 = 0o1000;
    if folder.mode & STICKY != 0 {
        return None;
    }
    if folder.user != user && folder.user != 0 {
        return Some("it belongs to another user and has no sticky bit");
    }
    if folder.mode & 0o002 != 0 {
        return Some("all users may write to it, and it has no sticky bit");
    }
    // Many systems give each user a group of the same number, and folders that this group may write to.
    if folder.mode & 0o020 != 0 && folder.group != group && folder.group != 0 {
        return Some("another group may write to it, and it has no sticky bit");
    }
    None
}

fn missing_error(parent: &Path) -> Error {
    let message = format!("could not use the folder {} for the browser's files", parent.display());
    Error::new(ErrorKind::Browser, message)
        .with_hint("set TMPDIR to a folder that exists and that you may write to")
}

/// Preferred over XDG_RUNTIME_DIR, which is often a small file system in memory.
const SHORT: [&str; 2] = ["/tmp", "/var/tmp"];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_folder_whose_entries_others_control_is_refused() {
        let me = (1000, 1000);
        for (user, group, mode, is_safe) in [
            (1000, 1000, 0o700, true),
            (1000, 1000, 0o755, true),
            (1000, 1000, 0o775, true),
            (1000, 100, 0o775, false),
            (1000, 100, 0o1775, true),
            (1000, 1000, 0o777, false),
            (0, 0, 0o1777, true),
            (0, 0, 0o755, true),
            (0, 0, 0o775, true),
            (0, 0, 0o777, false),
            (1001, 1001, 0o755, false),
            (1001, 1001, 0o777, false),
            // The root of a container's host has this number inside.
            (65534, 65534, 0o1777, true),
        ] {
            let folder = Owner { user, group, mode };
            assert_eq!(find_problem(folder, me).is_none(), is_safe, "{folder:?}");
        }
    }

    #[test]
    fn missing_folders_files_and_loops_are_errors_and_links_and_odd_names_are_not() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        fs::write(path("file"), "").unwrap();
        symlink("loop", path("loop")).unwrap();
        for name in ["missing", "file", "loop"] {
            let error = check_parent(&path(name)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Browser);
            assert!(error.to_string().contains(name) && error.hint().is_some(), "{}", error.chain());
        }
        fs::create_dir(path("a b")).unwrap();
        symlink("a b", path("link")).unwrap();
        for name in ["a b", "link"] {
            assert_eq!(check_parent(&path(name)).unwrap(), path(name));
        }
        fs::set_permissions(path("a b"), fs::Permissions::from_mode(0o777)).unwrap();
        let error = check_parent(&path("link")).unwrap_err();
        assert!(error.chain().contains("sticky bit"), "{}", error.chain());
    }

    #[test]
    fn a_short_folder_is_within_the_limit() {
        assert!(short_parent(64).is_some_and(|path| length(&path) <= 64));
        assert_eq!(short_parent(1), None);
    }
}
