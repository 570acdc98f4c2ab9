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
mod squid;
mod stealth;
mod support;
mod tls;
mod verify;
mod wire;
