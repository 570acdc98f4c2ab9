//! rungs fetches a page on the cheapest tier that the site allows: a plain HTTP client, the same client that
//! impersonates the installed Chrome on the wire, or a headless Chromium.
//!
//! Start at [`Fetcher`]. A page is an `Ok` [`Response`], whatever its status. If all allowed [`Tier`]s are blocked, the
//! result is an [`Error`] that [`is_blocked`](Error::is_blocked). Both carry a [`Trace`] of the attempts.
//!
//! # Features
//!
//! Without features, the library has the plain and the impersonate tier, and detection. The default features are
//! those of the program.
//!
//! | feature | adds |
//! |---|---|
//! | `browser` | the browser tier |
//! | `memory` | [`memory`], the memory file that later runs and other processes use |
//! | `extract` | [`extract`], fields, links and text of pages |
//! | `batch` | [`batch`], runs over many URLs, with `extract` |
//! | `report` | [`batch::Report`], the HTML report of a batch, with `batch` |
//! | `lab` | [`lab`], a recorder of client traffic and the demo sites |
//! | `cli` | the program, with all of the above but `browser` |
//! | `otel` | the export of the program's spans to an OpenTelemetry collector |

// With fewer features, some helpers have no caller.
#![cfg_attr(
    not(all(
        feature = "batch",
        feature = "browser",
        feature = "extract",
        feature = "lab",
        feature = "memory",
        feature = "report"
    )),
    allow(dead_code, unreachable_pub, unused_imports)
)]

#[cfg(windows)]
compile_error!("rungs does not support Windows; build it on Linux or macOS, or in WSL");

pub mod fingerprint;
#[cfg(feature = "lab")]
pub mod lab;

mod address_rule;
#[cfg(feature = "batch")]
pub mod batch;
mod budget;
mod charset;
#[cfg(any(feature = "browser", feature = "lab"))]
mod child_environment;
mod client_hints;
mod cookies;
mod cooldown;
mod credentials;
pub mod detect;
pub mod diagnose;
mod digest_auth;
pub mod doctor;
mod error;
mod error_kind;
#[cfg(feature = "extract")]
pub mod extract;
mod fetcher;
#[doc(hidden)]
pub mod fuzz_parts;
mod geo;
mod hex;
mod host_limiter;
mod hsts;
mod html;
mod identity;
mod limits;
#[cfg(feature = "memory")]
pub mod memory;
#[cfg(not(feature = "memory"))]
mod memory;
mod net;
#[doc(hidden)]
pub mod output_file;
mod paths;
mod phase;
mod provenance;
mod proxy;
mod proxy_session;
mod quoted_string;
mod rate_limit;
pub mod redact;
mod registrable_domain;
mod render;
mod request;
mod response;
mod retry;
pub mod retry_after;
pub mod robots;
mod router;
mod session_tickets;
mod sync;
pub mod target;
mod tier;
mod toml_file;
mod trace;
mod traffic;
mod transport;
mod units;
mod verdict;

pub use budget::Budget;
pub use cookies::{Cookie, CookieJar};
pub use error::{Error, Result};
pub use error_kind::ErrorKind;
pub use fetcher::{Fetcher, FetcherBuilder, InFlight, RequestBuilder, Response, default_profile};
pub use geo::{Coordinates, LocationOverride};
pub use hsts::{HstsHost, HstsStore};
pub use identity::Identity;
pub use limits::Limits;
#[doc(hidden)]
pub use net::is_private_literal;
pub use phase::FetchPhase;
pub use proxy::{
    CredentialRequest, Dialect, GatewayRotation, GeoTarget, NoProxy, Proxy, ProxyRules, ProxyScheme,
};
pub use proxy_session::{ProxyAccount, ProxyPool, ProxyStats, RotationMode};
pub use rate_limit::{RateLimit, RobotsPolicy};
pub use redact::Secret;
pub use render::{BodySource, ResourceKind};
pub use request::{ClientCertificate, Context, FormPart, Multipart, Request, RequestBody, parse_url};
pub use response::{BrowserUse, FrameDocument, HttpVersion, Redirect, SentRequest};
pub use retry::RetryPolicy;
pub use tier::Tier;
pub use trace::{Attempt, AttemptError, DetectionLayer, Diagnosis, Timings, Trace};
pub use traffic::Traffic;
pub use verdict::{Evidence, Verdict, VerdictKind};

/// Compiles the code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
