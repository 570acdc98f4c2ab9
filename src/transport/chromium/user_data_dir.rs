//! The folder of one browser process, and the removal of folders whose owner was killed.
//!
//! Ownership is a lock on a file in the folder. The kernel releases it when the owner dies for any reason, so
//! process ids, which are reused, do not matter.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::scratch_parent::{check_parent, length, short_parent};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;

/// The private folder of one browser. Dropping it removes the folder and its contents.
pub(crate) struct UserDataDir {
    folder: LockedFolder,
    /// Chromium's TMPDIR, where the path inside `folder` is too long for a socket.
    short: Option<LockedFolder>,
}

/// A folder with mode 0700 and a lock that is held while this process owns it.
struct LockedFolder {
    path: PathBuf,
    _lock: File,
}

impl UserDataDir {
    /// Creates a new folder below `parent`. Removes folders there whose owner was killed.
    ///
    /// # Errors
    /// [`ErrorKind::Browser`] when `parent` is not a folder, is not safe or is not writable.
    pub(crate) fn create(parent: &Path) -> Result<Self> {
        let mut parent = check_parent(parent)?;
        if parent.to_str().is_none() {
            // Chromium's switches and NSS's database names are UTF-8.
            let short =
                short_parent(MAX_PARENT_LEN).ok_or_else(|| name_error(&parent, "is not valid UTF-8"))?;
            tracing::warn!(used = %short.display(), "TMPDIR is not valid UTF-8, using another folder");
            parent = short;
        }
        remove_abandoned(&parent);
        let folder = LockedFolder::create(&parent)?;
        let mut created = Self { folder, short: None };
        let inside = created.folder.path.join("tmp");
        if length(&inside) > MAX_TMP_LEN {
            let max = MAX_TMP_LEN - PREFIX.len() - SUFFIX_LEN;
            let short = short_parent(max).ok_or_else(|| name_error(&parent, "is too long for a socket"))?;
            remove_abandoned(&short);
            created.short = Some(LockedFolder::create(&short)?);
        } else {
            create_dir(&inside).map_err(|cause| create_error(&inside, cause))?;
        }
        let data = created.user_data();
        create_dir(&data)
            .and_then(|()| create_file(&data.join("Local State"))?.write_all(LOCAL_STATE.as_bytes()))
            .map_err(|cause| create_error(&data, cause))?;
        Ok(created)
    }

    /// Returns the folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.folder.path
    }

    /// Returns the folder for Chromium's user data.
    pub(crate) fn user_data(&self) -> PathBuf {
        self.folder.path.join("data")
    }

    /// Returns Chromium's TMPDIR, for its singleton socket and its shared memory.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.short.as_ref().map_or_else(|| self.folder.path.join("tmp"), |short| short.path.clone())
    }

    /// Returns the second folder, if there is one.
    pub(crate) fn short(&self) -> Option<&Path> {
        self.short.as_ref().map(|short| short.path.as_path())
    }

    /// Returns the file with Chromium's stderr.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path.join("stderr.log")
    }
}

impl LockedFolder {
    fn create(parent: &Path) -> Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).permissions(fs::Permissions::from_mode(0o700));
        let path = builder.tempdir_in(parent).map_err(|cause| create_error(parent, cause))?.keep();
        let lock = set_mode(&path, 0o700)
            .and_then(|()| create_file(&path.join(LOCK)))
            .and_then(|lock| lock.lock().map(|()| lock));
        match lock {
            Ok(lock) => Ok(Self { path, _lock: lock }),
            Err(cause) => {
                remove(&path);
                Err(create_error(parent, cause))
            }
        }
    }
}

impl Drop for LockedFolder {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Creates a new file that only this user may read, whatever the umask.
pub(crate) fn create_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Creates a new folder that only this user may enter, whatever the umask.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)?;
    set_mode(path, 0o700)
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Removes the folders below `parent` whose owner was killed. Other users may have put anything there.
pub(crate) fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if ours && is_abandoned(&entry.path()) {
            tracing::debug!(path = %entry.path().display(), "removing the folder of a killed run");
            remove(&entry.path());
        }
    }
}

/// Whether a folder is this user's and not locked. Follows no link, and does not wait for the writer of a FIFO.
fn is_abandoned(path: &Path) -> bool {
    let me = rustix::process::geteuid().as_raw();
    let open = |at: &dyn std::os::fd::AsFd, name: &OsStr, more: OFlags| {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | more;
        openat(at.as_fd(), name, flags, Mode::empty()).map(File::from)
    };
    let Ok(folder) = open(&CWD, path.as_os_str(), OFlags::DIRECTORY) else { return false };
    let Ok(meta) = folder.metadata() else { return false };
    if meta.uid() != me {
        return false;
    }
    match open(&folder, OsStr::new(LOCK), OFlags::empty()) {
        Ok(lock) => {
            lock.metadata().is_ok_and(|meta| meta.is_file() && meta.uid() == me) && lock.try_lock().is_ok()
        }
        // No lock file yet: the owner may be about to create it.
        Err(rustix::io::Errno::NOENT) => meta
            .modified()
            .ok()
            .and_then(|at| SystemTime::now().duration_since(at).ok())
            .is_some_and(|age| age > UNLOCKED_GRACE),
        Err(_) => false,
    }
}

/// Removes a folder. Retries while a process still uses it.
fn remove(path: &Path) {
    for pause in [10, 50, 200, 500, 0] {
        match fs::remove_dir_all(path) {
            Ok(()) => return,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return,
            Err(cause) if pause == 0 => {
                tracing::warn!(path = %path.display(), %cause, "could not remove a browser's folder");
            }
            Err(_) => std::thread::sleep(Duration::from_millis(pause)),
        }
    }
}

fn create_error(path: &Path, cause: io::Error) -> Error {
    let message = format!("could not create a folder for the browser in {}", path.display());
    Error::from_io(ErrorKind::Browser, message, cause)
        .with_hint("set TMPDIR to a folder that you may write to")
}

fn name_error(path: &Path, problem: &str) -> Error {
    let message = format!("the folder {} {problem}, and no other was found", path.display());
    Error::new(ErrorKind::Browser, message)
        .with_hint(format!("set TMPDIR to a folder whose path has at most {MAX_PARENT_LEN} bytes"))
}

const PREFIX: &str = "rungs-browser-";
/// The random part of a folder's name, with a slash before the name.
const SUFFIX_LEN: usize = 7;
const LOCK: &str = "owner.lock";
/// All connections of a context are to its forwarder. Chromium opens at most 32 to one proxy, unless set to more.
const LOCAL_STATE: &str = r#"{"net":{"max_connections_per_proxy":99}}"#;
/// The longest TMPDIR of Chromium. It adds `/org.chromium.Chromium.XXXXXX/SingletonSocket` (45 bytes, 3 to spare),
/// and the kernel accepts 107 bytes.
const MAX_TMP_LEN: usize = 107 - 48;
/// The longest parent of a folder that contains its TMPDIR.
const MAX_PARENT_LEN: usize = MAX_TMP_LEN - PREFIX.len() - SUFFIX_LEN - 4;
const UNLOCKED_GRACE: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_removed_when_dropped() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = UserDataDir::create(parent.path()).unwrap();
        assert!(scratch.user_data().is_dir() && scratch.tmp().is_dir());
        drop(scratch);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn folders_and_files_are_private() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = UserDataDir::create(parent.path()).unwrap();
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().mode() & 0o7777;
        create_file(&scratch.log()).unwrap();
        assert_eq!(mode(scratch.path()), 0o700);
        assert_eq!((mode(&scratch.user_data()), mode(&scratch.tmp())), (0o700, 0o700));
        assert_eq!((mode(&scratch.path().join(LOCK)), mode(&scratch.log())), (0o600, 0o600));
        // A file that is there already, such as a link that another program made, is not used.
        assert!(create_file(&scratch.log()).is_err());
    }

    #[test]
    fn a_long_path_gets_a_short_folder_for_sockets_which_is_removed_too() {
        let home = tempfile::tempdir().unwrap();
        let parent = home.path().join("x".repeat(60));
        fs::create_dir(&parent).unwrap();
        let scratch = UserDataDir::create(&parent).unwrap();
        let short = scratch.tmp();
        assert!(length(&short) <= MAX_TMP_LEN && short.is_dir() && scratch.short() == Some(&short));
        assert!(scratch.path().starts_with(&parent));
        drop(scratch);
        assert!(!short.exists());
        assert_eq!(fs::read_dir(&parent).unwrap().count(), 0);
    }

    #[test]
    fn a_path_that_is_not_utf_8_is_replaced() {
        use std::os::unix::ffi::OsStrExt as _;
        let home = tempfile::tempdir().unwrap();
        let parent = home.path().join(OsStr::from_bytes(b"\xff\xfe"));
        fs::create_dir(&parent).unwrap();
        let scratch = UserDataDir::create(&parent).unwrap();
        assert!(scratch.path().to_str().is_some() && !scratch.path().starts_with(&parent));
    }

    #[test]
    fn whatever_others_put_there_neither_blocks_nor_is_removed() {
        use std::os::unix::fs::symlink;
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let folder = parent.path().join(format!("{PREFIX}{name}"));
            fs::create_dir(&folder).unwrap();
            folder
        };
        let fifo = make("fifo");
        rustix::fs::mkfifoat(CWD, fifo.join(LOCK), Mode::RUSR | Mode::WUSR).unwrap();
        fs::create_dir(make("folder").join(LOCK)).unwrap();
        symlink("/dev/zero", make("link").join(LOCK)).unwrap();
        symlink(fifo.join(LOCK), make("link-to-fifo").join(LOCK)).unwrap();
        let outside = tempfile::tempdir().unwrap();
        File::create(outside.path().join(LOCK)).unwrap();
        symlink(outside.path(), parent.path().join(format!("{PREFIX}alias"))).unwrap();
        File::create(parent.path().join(format!("{PREFIX}file"))).unwrap();
        rustix::fs::mkfifoat(CWD, parent.path().join(format!("{PREFIX}pipe")), Mode::RUSR).unwrap();
        let before = fs::read_dir(parent.path()).unwrap().count();
        drop(UserDataDir::create(parent.path()).unwrap());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), before);
        assert!(outside.path().join(LOCK).exists());
    }

    #[test]
    fn abandoned_folders_are_removed_and_owned_ones_kept() {
        let parent = tempfile::tempdir().unwrap();
        let owned = UserDataDir::create(parent.path()).unwrap();
        let left = parent.path().join("rungs-browser-left");
        fs::create_dir(&left).unwrap();
        File::create(left.join(LOCK)).unwrap();
        let foreign = parent.path().join("something-else");
        fs::create_dir(&foreign).unwrap();
        remove_abandoned(parent.path());
        assert!(owned.path().is_dir() && foreign.is_dir());
        assert!(!left.exists());
    }
}
