//! A browser on the wire: the profile that describes one, and the fingerprints that name one.

pub mod profile;

pub use profile::Profile;
