//! The folder one browser process lives in, and the sweep of folders whose owner was killed.
//!
//! Ownership is a lock on a file in the folder: the system lets go of it when the owner dies,
//! however it dies and whatever its process id means to others.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A private folder, removed with all that is in it when dropped.
pub(super) struct UserDataDir {
    path: PathBuf,
    /// Held for as long as the folder is ours.
    _lock: File,
}

impl UserDataDir {
    /// Makes a fresh folder below `parent`.
    pub(super) fn create(parent: &Path) -> io::Result<Self> {
        let path = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?.keep();
        let made = File::create(path.join(LOCK)).and_then(|lock| {
            lock.lock()?;
            // Chromium puts its singleton socket and shared memory into TMPDIR: keep them here.
            fs::create_dir(path.join("tmp"))?;
            fs::create_dir(path.join("data"))?;
            Ok(lock)
        });
        match made {
            Ok(lock) => Ok(Self { path, _lock: lock }),
            Err(cause) => {
                remove(&path);
                Err(cause)
            }
        }
    }

    /// The folder itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Chromium's user data.
    pub(super) fn user_data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Chromium's TMPDIR.
    pub(super) fn tmp(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// What Chromium says on stderr.
    pub(super) fn log(&self) -> PathBuf {
        self.path.join("stderr.log")
    }
}

impl Drop for UserDataDir {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes what a killed owner left below `parent`.
pub(super) fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if ours && entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_abandoned(&entry.path()) {
            tracing::debug!(path = %entry.path().display(), "removing what a killed run left");
            remove(&entry.path());
        }
    }
}

fn is_abandoned(path: &Path) -> bool {
    match File::open(path.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        // No lock yet: its owner may be between making the folder and locking it.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => fs::symlink_metadata(path)
            .and_then(|meta| meta.modified())
            .ok()
            .and_then(|at| SystemTime::now().duration_since(at).ok())
            .is_some_and(|age| age > UNLOCKED_GRACE),
        // Another user's.
        Err(_) => false,
    }
}

/// Removes a folder, again when something in it is still being let go of.
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
    fn a_folder_goes_with_its_owner() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = UserDataDir::create(parent.path()).unwrap();
        assert!(scratch.user_data().is_dir() && scratch.tmp().is_dir());
        drop(scratch);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_sweep_takes_the_abandoned_and_leaves_the_owned() {
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
