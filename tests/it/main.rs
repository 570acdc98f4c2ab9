//! Integration tests.

mod bad_input;
mod bounds;
mod floors;
mod hostile_h2;
#[cfg(feature = "browser")]
mod ladder;
mod nginx;
mod output;
mod readme;
mod router;
mod secrets;
mod squid;
mod support;
mod tls;
mod wire;
