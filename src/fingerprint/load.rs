//! Loads browser profiles: shipped ones by name, others from files.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::derive;
use super::profile::{Profile, SCHEMA};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::settings::toml_file;

impl Profile {
    /// Parses a profile from TOML. `origin` names the source in errors. A text with `derive_from` is
    /// completed from the shipped profile of that name.
    ///
    /// # Errors
    /// [`ErrorKind::Profile`] with `origin`, the line and the key.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self> {
        if derive::is_derived(text) {
            return derive::resolve(text, origin);
        }
        let profile: Self = toml::from_str(text).map_err(|cause| {
            Error::new(ErrorKind::Profile, toml_file::format_parse_error(text, origin, &cause))
        })?;
        if profile.schema != SCHEMA {
            return Err(Error::new(
                ErrorKind::Profile,
                format!("{origin}: schema is {}, this build reads {SCHEMA}", profile.schema),
            ));
        }
        Ok(profile)
    }

    /// Reads a profile from a file.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the file cannot be read, [`ErrorKind::Profile`] when it is invalid.
    pub fn from_file(path: &Path) -> Result<Self> {
        let origin = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|cause| {
            Error::new(ErrorKind::Io, format!("could not read the browser profile {origin}"))
                .with_source(cause)
        })?;
        Self::from_toml(&text, &origin)
    }

    /// Formats the profile as self-contained TOML without comments. Parsing it returns an equal profile.
    ///
    /// # Panics
    /// Never: TOML can represent every field of a profile.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("TOML can represent every field of a profile")
    }

    /// The profiles shipped in this build, by name.
    ///
    /// # Panics
    /// Never: a test parses every shipped profile.
    #[must_use]
    pub fn shipped() -> Vec<Arc<Self>> {
        (0..SHIPPED.len()).map(|at| load_shipped(at).expect("a test parses every shipped profile")).collect()
    }

    /// Returns the shipped profile called `name`, or reads the file `name` if it
    /// [names a file](Self::is_file).
    ///
    /// # Errors
    /// As [`named`](Self::named) and [`from_file`](Self::from_file).
    pub fn find(name: &str) -> Result<Arc<Self>> {
        if Self::is_file(name) { Self::from_file(Path::new(name)).map(Arc::new) } else { Self::named(name) }
    }

    /// Whether `name` names a file: it ends in `.toml` or contains a `/`.
    #[must_use]
    pub fn is_file(name: &str) -> bool {
        Path::new(name).extension().is_some_and(|extension| extension == "toml") || name.contains('/')
    }

    /// Returns the shipped profile called `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Profile`] with a hint that lists the shipped profiles.
    pub fn named(name: &str) -> Result<Arc<Self>> {
        SHIPPED
            .iter()
            .position(|(other, _)| *other == name)
            .ok_or_else(|| unknown_profile_error(name))
            .and_then(load_shipped)
    }

    /// Returns the TOML text of the shipped profile called `name`, including comments.
    ///
    /// # Errors
    /// [`ErrorKind::Profile`] with a hint that lists the shipped profiles.
    pub fn shipped_text(name: &str) -> Result<&'static str> {
        SHIPPED
            .iter()
            .find(|(other, _)| *other == name)
            .map(|(_, text)| *text)
            .ok_or_else(|| unknown_profile_error(name))
    }
}

/// Loads a shipped profile once per process: five profiles derive from the same base.
fn load_shipped(at: usize) -> Result<Arc<Profile>> {
    if let Some(profile) = LOADED[at].get() {
        return Ok(Arc::clone(profile));
    }
    let (name, text) = SHIPPED[at];
    let profile = Arc::new(Profile::from_toml(text, name)?);
    // Another thread may have initialized it first; both values are equal.
    Ok(Arc::clone(LOADED[at].get_or_init(|| profile)))
}

static LOADED: [OnceLock<Arc<Profile>>; SHIPPED.len()] = [const { OnceLock::new() }; SHIPPED.len()];

fn unknown_profile_error(name: &str) -> Error {
    let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
    Error::new(ErrorKind::Profile, format!("unknown browser profile `{}`", name.escape_debug()))
        .with_hint(format!("use a shipped profile: {}; or the path of a .toml file", names.join(", ")))
}

const SHIPPED: &[(&str, &str)] = &[
    ("plain", include_str!("../../profiles/browsers/plain.toml")),
    ("chrome-156-linux", include_str!("../../profiles/browsers/chrome-156-linux.toml")),
    ("google-chrome-156-linux", include_str!("../../profiles/browsers/google-chrome-156-linux.toml")),
    ("google-chrome-156-windows", include_str!("../../profiles/browsers/google-chrome-156-windows.toml")),
    ("google-chrome-156-macos", include_str!("../../profiles/browsers/google-chrome-156-macos.toml")),
    ("google-chrome-156-android", include_str!("../../profiles/browsers/google-chrome-156-android.toml")),
    ("edge-156-windows", include_str!("../../profiles/browsers/edge-156-windows.toml")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_profiles_have_the_name_they_are_listed_under() {
        for (name, _) in SHIPPED {
            assert_eq!(Profile::named(name).unwrap().name, *name);
        }
    }
}
