//! Chooses the default browser profile, if possible without starting the browser.

use std::path::Path;

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::fingerprint::Profile;
use crate::fingerprint::choice::{self, ProfileChoice};

/// Returns the default profile of a [`Fetcher`](super::Fetcher), with the reason for the choice: the profile of the
/// installed browser, else the newest captured one. So the impersonate and browser tiers look like the same browser.
///
/// The path of the executable tells which browser is installed. Its version is read only if profiles of several
/// versions match, at most once per process, because that starts the browser.
///
/// # Errors
/// [`ErrorKind::Profile`] if no browser profile is shipped.
pub fn default_profile() -> Result<ProfileChoice> {
    for_executable(None)
}

/// Chooses the profile for `executable`, or for the browser that is found if it is `None`.
pub(super) fn for_executable(executable: Option<&Path>) -> Result<ProfileChoice> {
    let profiles = Profile::shipped();
    let choice = match installed::find(executable) {
        Some(path) => {
            let product = choice::product_from_path(&path);
            choice::choose(&profiles, SYSTEM, Some(product), || installed::major(&path))
        }
        None => choice::choose(&profiles, SYSTEM, None, || None),
    };
    choice.ok_or_else(|| Error::new(ErrorKind::Profile, "no browser profile is shipped"))
}

#[cfg(feature = "browser")]
mod installed {
    use std::collections::HashMap;
    use std::path::{Path, PathBuf};
    use std::sync::Mutex;

    use crate::fingerprint::profile::major as leading_number;
    use crate::os::sync::lock_unpoisoned;
    use crate::transport::browser;

    pub(super) fn find(executable: Option<&Path>) -> Option<PathBuf> {
        executable.map(Path::to_owned).or_else(browser::find)
    }

    pub(super) fn major(path: &Path) -> Option<u32> {
        static VERSIONS: Mutex<Option<HashMap<PathBuf, Option<u32>>>> = Mutex::new(None);
        let mut versions = lock_unpoisoned(&VERSIONS);
        *versions
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
