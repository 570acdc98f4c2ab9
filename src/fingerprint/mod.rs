//! Browser fingerprints: profiles that describe one browser on the wire, and the JA3, JA4 and Akamai names.

pub mod akamai;
pub mod brands;
pub mod choice;
pub(crate) mod ciphers;
mod derive;
pub mod diff;
mod expected;
mod extension_bodies;
pub mod h2;
pub(crate) mod header_template;
pub mod hello;
pub mod hpack;
pub(crate) mod hpack_tables;
pub mod ja;
mod languages;
pub mod lint;
mod load;
pub mod profile;
#[cfg(test)]
pub(crate) mod sample;
pub mod shape;

pub use akamai::Http2Fingerprint;
pub use expected::Fingerprints;
pub use h2::H2Reader;
pub use hello::ClientHello;
pub use ja::{Ja3, ja3, ja4, ja4_r};
pub(crate) use languages::is_language;
pub use profile::Profile;
pub use shape::HelloShape;
