//! The profile worn when none is named, decided without starting the browser where that can be helped.

use std::path::Path;

use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::fingerprint::Profile;
use crate::fingerprint::choice::{self, ProfileChoice};

/// The profile a [`Fetcher`](super::Fetcher) wears by default, and why: that of the browser installed,
/// so that the impersonate and the browser tier are one browser, else the newest captured one.
///
/// Which browser is installed is read from its path. Its version is asked only when profiles of several
/// versions could be worn, at most once a process: that costs a start of the browser.
///
/// # Errors
/// [`ErrorKind::Profile`] when there is no browser's profile.
pub fn default_profile() -> Result<ProfileChoice> {
    for_executable(None)
}

/// The same, for the executable that will be started when it is named.
pub(super) fn for_executable(executable: Option<&Path>) -> Result<ProfileChoice> {
    let profiles = Profile::shipped();
    let choice = match installed::find(executable) {
        Some(path) => {
            let product = choice::product_from_path(&path);
            choice::choose(&profiles, SYSTEM, Some(product), || installed::major(&path))
        }
        None => choice::choose(&profiles, SYSTEM, None, || None),
    };
    choice.ok_or_else(|| Error::new(ErrorKind::Profile, "no browser's profile is shipped"))
}

#[cfg(feature = "browser")]
mod installed {
    use std::collections::HashMap;
    use std::path::{Path, PathBuf};
    use std::sync::Mutex;

    use crate::fingerprint::profile::major as leading_number;
    use crate::sync::lock_unpoisoned;
    use crate::transport::browser;

    pub(super) fn find(executable: Option<&Path>) -> Option<PathBuf> {
        executable.map(Path::to_owned).or_else(browser::find)
    }

    pub(super) fn major(path: &Path) -> Option<u32> {
        static ASKED: Mutex<Option<HashMap<PathBuf, Option<u32>>>> = Mutex::new(None);
        let mut asked = lock_unpoisoned(&ASKED);
        *asked
            .get_or_insert_default()
            .entry(path.to_owned())
            .or_insert_with(|| leading_number(&browser::version(path)?))
    }
}

#[cfg(not(feature = "browser"))]
mod installed {
    use std::path::{Path, PathBuf};

    pub(super) fn find(_executable: Option<&Path>) -> Option<PathBuf> {
        None
    }

    pub(super) fn major(_path: &Path) -> Option<u32> {
        None
    }
}

const SYSTEM: &str = std::env::consts::OS;
