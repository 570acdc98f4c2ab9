//! What SECURITY.md promises.

mod injection_and_bombs;
mod private_addresses;
mod secrets;
