//! A browser on the wire: the profile that describes one, and the fingerprints that name one.

pub mod akamai;
pub mod brands;
pub mod choice;
pub(crate) mod ciphers;
mod derive;
pub mod diff;
pub mod h2;
pub mod hello;
pub mod hpack;
pub(crate) mod hpack_tables;
pub mod ja;
mod languages;
pub mod lint;
pub(crate) mod pressed;
pub mod profile;
mod promise;
#[cfg(test)]
pub(crate) mod sample;
mod sent;
pub mod shape;

pub use akamai::H2Opening;
pub use h2::H2Reader;
pub use hello::ClientHello;
pub use ja::{Ja3, ja3, ja4, ja4_r};
pub(crate) use languages::is_language;
pub use profile::Profile;
pub use promise::Fingerprints;
pub use shape::Shape;
