//! rungs gets a page by the cheapest means the site allows.

pub mod detect;
pub mod fingerprint;
#[cfg(feature = "lab")]
pub mod lab;

mod bounds;
mod cookies;
mod error;
mod identity;
mod kind;
mod proxy;
pub mod redact;
mod request;
mod response;
mod tier;
mod toml_error;
mod trace;
mod transport;
mod verdict;

pub use bounds::Bounds;
pub use cookies::{Cookie, Jar};
pub use error::{Error, Result};
pub use identity::Identity;
pub use kind::ErrorKind;
pub use proxy::Proxy;
pub use redact::Secret;
pub use request::{Context, Request, parse_url};
pub use response::{Hop, HttpVersion};
pub use tier::Tier;
pub use trace::{Attempt, AttemptError, Timings, Trace};
pub use verdict::{Evidence, Verdict, VerdictKind};
