//! The profile of the installed Chromium, captured once in a run of the tests. Tests compare with it, so that a newer
//! Chromium than the shipped profile changes nothing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rungs::fingerprint::Profile;

use super::Program;

/// The file of the captured profile.
pub(crate) fn captured_profile_file() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("captured-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the captured profile");
        // The name of the shipped profile, so that the two can be compared.
        let file = folder.join("chrome-156-linux.toml");
        capture_profile(&file);
        file
    })
}

/// The captured profile.
pub(crate) fn captured_profile() -> Arc<Profile> {
    Arc::new(Profile::from_file(captured_profile_file()).expect("a captured profile is valid"))
}

/// Captures the installed browser into `file`, and returns the profile's text.
pub(crate) fn capture_profile(file: &Path) -> String {
    let name = file.to_str().expect("a plain path");
    let program = Program::new().limit(Duration::from_secs(600));
    let run = program.run(["profile", "capture", "-q", "-o", name]);
    assert_eq!(run.code, 0, "{run}");
    std::fs::read_to_string(file).expect("the profile was written")
}
