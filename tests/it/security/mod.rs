//! What SECURITY.md promises.

mod credentials;
mod injection_and_bombs;
mod private_addresses;
mod secrets;
