//! Integration tests.

mod bad_input;
mod bounds;
#[cfg(feature = "browser")]
#[cfg(feature = "browser")]
mod browser_page;
mod capture;
#[cfg(feature = "browser")]
mod clearance;
#[cfg(feature = "browser")]
mod cleared;
mod corpus;
mod detect;
#[cfg(feature = "browser")]
mod exits;
mod floors;
mod hostile_h2;
mod lab;
#[cfg(feature = "browser")]
mod ladder;
mod memory;
mod nginx;
mod output;
mod private;
mod profile;
mod proxies;
mod readme;
mod router;
mod secrets;
mod squid;
mod support;
mod tls;
mod verify;
mod wire;
