//! Integration tests.

mod bad_input;
mod batch;
mod bounds;
#[cfg(feature = "browser")]
mod browser_page;
mod cancel;
mod capture;
#[cfg(feature = "browser")]
mod clearance;
#[cfg(feature = "browser")]
mod cleared;
mod corpus;
mod crawl;
mod credentials;
mod descriptors;
mod detect;
mod diagnose;
mod dialects;
#[cfg(feature = "browser")]
mod exits;
mod faults;
mod floors;
mod hostile_h2;
mod hygiene;
mod lab;
#[cfg(feature = "browser")]
mod ladder;
mod learned;
mod memory;
mod nginx;
#[cfg(feature = "otel")]
mod otel;
mod output;
mod politeness;
mod pool;
mod pool_program;
mod private;
mod profile;
mod proxies;
mod proxy_check;
mod readme;
mod router;
mod secrets;
mod seen;
#[cfg(feature = "browser")]
mod soak;
mod spans;
mod squid;
#[cfg(feature = "browser")]
mod stealth;
#[cfg(feature = "browser")]
mod stealth_window;
#[cfg(feature = "browser")]
mod stealth_wire;
mod support;
mod target;
mod tls;
mod verify;
mod wire;
