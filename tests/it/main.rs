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
#[cfg(feature = "browser")]
mod stealth;
#[cfg(feature = "browser")]
mod stealth_window;
#[cfg(feature = "browser")]
mod stealth_wire;
mod support;
mod tls;
mod verify;
mod wire;
