//! rungs gets a page by the cheapest means the site allows: an honest HTTP client, then the same
//! engine as the installed Chrome on the wire, then that Chromium itself.
//!
//! Start at [`Fetcher`]. A page is an `Ok` [`Page`], whatever its status; a block on every
//! [`Tier`] allowed is an [`Error`] that [`is_blocked`](Error::is_blocked), and both carry a
//! [`Trace`] of what was tried.

pub mod fingerprint;
#[cfg(feature = "lab")]
pub mod lab;

pub mod batch;
mod bounds;
mod budget;
mod cookies;
mod credentials;
pub mod detect;
pub mod diagnose;
pub mod doctor;
mod error;
pub mod extract;
mod fetcher;
mod folder;
mod hex;
mod hints;
mod identity;
mod kind;
mod limit;
mod lock;
pub mod memory;
mod net;
mod place;
mod politeness;
mod provenance;
mod proxy;
pub mod redact;
mod request;
mod response;
pub mod retry_after;
pub mod robots;
mod router;
mod schedule;
mod session;
mod site;
mod stage;
pub mod target;
mod tickets;
mod tier;
mod toml_error;
mod toml_keys;
mod trace;
mod traffic;
mod transport;
mod units;
mod verdict;
mod view;

pub use bounds::Bounds;
pub use budget::Budget;
pub use cookies::{Cookie, Jar};
pub use error::{Error, Result};
pub use fetcher::{Fetcher, FetcherBuilder, InFlight, Page, RequestBuilder, default_profile};
pub use identity::Identity;
pub use kind::ErrorKind;
pub use place::{Place, Position};
pub use politeness::{Pace, Robots};
pub use proxy::{Ask, Bypass, Dialect, Geo, Proxy, ProxyScheme, Rotation, Route};
pub use redact::Secret;
pub use request::{Context, Request, parse_url};
pub use response::{BrowserUse, Hop, HttpVersion, Sent};
pub use schedule::Schedule;
pub use session::{ExitReport, Mode, ProxyAccount, ProxyPool};
pub use stage::Stage;
pub use tier::Tier;
pub use trace::{Attempt, AttemptError, Diagnosis, Layer, Timings, Trace};
pub use traffic::Traffic;
pub use verdict::{Evidence, Verdict, VerdictKind};
pub use view::{BodyForm, Load};

/// The README's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
