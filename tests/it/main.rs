//! Integration tests.

mod bad_input;
mod bounds;
mod floors;
mod hostile_h2;
mod lab;
#[cfg(feature = "browser")]
mod ladder;
mod nginx;
mod output;
mod profile;
mod readme;
mod router;
mod secrets;
#[cfg(feature = "browser")]
mod soak;
mod squid;
mod support;
mod tls;
mod verify;
mod wire;
