//! What SECURITY.md promises.

#[cfg(feature = "browser")]
mod browser_traffic;
mod credentials;
mod injection_and_bombs;
mod named_urls;
mod private_addresses;
mod secrets;
mod terminal;
