//! A recording becomes a profile.

use super::drive::Recording;
use crate::error::Result;

/// The profile `name` of the recorded browser, as TOML.
///
/// # Errors
/// Later.
pub fn capture(recording: &Recording, name: &str, today: &str) -> Result<String> {
    let _ = (name, today);
    Ok(recording.client.clone())
}
