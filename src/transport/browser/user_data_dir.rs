//! The folder of one browser process, and the removal of folders whose owner was killed.
//!
//! Ownership is a lock on a file in the folder. The kernel releases it when the owner dies for any reason, so
//! process ids, which are reused, do not matter.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A private folder. Dropping it removes the folder and its contents.
pub(super) struct UserDataDir {
    path: PathBuf,
    /// Held while this process owns the folder.
    _lock: File,
}

impl UserDataDir {
    /// Creates a new folder below `parent`.
    pub(super) fn create(parent: &Path) -> io::Result<Self> {
        let path = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?.keep();
        let created = File::create(path.join(LOCK)).and_then(|lock| {
            lock.lock()?;
            // Chromium writes its singleton socket and shared memory to TMPDIR, which is in this folder.
            fs::create_dir(path.join("tmp"))?;
            fs::create_dir(path.join("data"))?;
            Ok(lock)
        });
        match created {
            Ok(lock) => Ok(Self { path, _lock: lock }),
            Err(cause) => {
                remove(&path);
                Err(cause)
            }
        }
    }

    /// Returns the folder itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the folder for Chromium's user data.
    pub(super) fn user_data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Returns Chromium's TMPDIR.
    pub(super) fn tmp(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// Returns the file with Chromium's stderr.
    pub(super) fn log(&self) -> PathBuf {
        self.path.join("stderr.log")
    }
}

impl Drop for UserDataDir {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes the folders below `parent` whose owner was killed.
pub(super) fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if ours && entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_abandoned(&entry.path()) {
            tracing::debug!(path = %entry.path().display(), "removing the folder of a killed run");
            remove(&entry.path());
        }
    }
}

fn is_abandoned(path: &Path) -> bool {
    match File::open(path.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        // No lock file yet: the owner may be about to create it.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => fs::symlink_metadata(path)
            .and_then(|meta| meta.modified())
            .ok()
            .and_then(|at| SystemTime::now().duration_since(at).ok())
            .is_some_and(|age| age > UNLOCKED_GRACE),
        // The folder belongs to another user.
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

const PREFIX: &str = "rungs-browser-";
const LOCK: &str = "owner.lock";
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
