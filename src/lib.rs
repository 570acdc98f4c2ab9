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

#[cfg(feature = "batch")]
pub mod batch;
pub mod detect;
mod exchange;
#[cfg(feature = "extract")]
pub mod extract;
mod fetcher;
pub mod fingerprint;
mod identity;
#[cfg(feature = "lab")]
pub mod lab;
#[cfg(feature = "memory")]
pub mod memory;
#[cfg(not(feature = "memory"))]
mod memory;
mod net;
mod os;
mod proxy;
mod router;
mod settings;
pub mod target;
mod text;
mod transport;

pub use exchange::error::{Error, Result};
pub use exchange::error_kind::ErrorKind;
pub use exchange::phase::FetchPhase;
pub use exchange::request::{
    ClientCertificate, Context, FormPart, Multipart, Request, RequestBody, parse_url,
};
pub use exchange::response::{BrowserUse, FrameDocument, HttpVersion, Redirect, SentRequest};
pub use exchange::robots_policy::RobotsPolicy;
pub use exchange::tier::Tier;
pub use exchange::trace::{Attempt, AttemptError, DetectionLayer, Diagnosis, Timings, Trace};
pub use exchange::verdict::{Evidence, Verdict, VerdictKind};
pub use fetcher::{Fetcher, FetcherBuilder, InFlight, RequestBuilder, Response, default_profile};
pub use fetcher::{diagnose, doctor};
pub use identity::Identity;
pub use identity::cookies::{Cookie, CookieJar};
pub use identity::geo::{Coordinates, LocationOverride};
pub use identity::hsts::{HstsHost, HstsStore};
pub use identity::traffic::Traffic;
#[doc(hidden)]
pub use net::{fuzz_parts, head_reader, is_private_literal};
#[doc(hidden)]
pub use os::output_file;
pub use proxy::session::{ProxyAccount, ProxyPool, ProxyStats, RotationMode};
pub use proxy::{
    CredentialRequest, Dialect, GatewayRotation, GeoTarget, NoProxy, Proxy, ProxyRules, ProxyScheme,
};
pub use router::robots;
pub use settings::budget::Budget;
pub use settings::limits::Limits;
pub use settings::rate_limit::RateLimit;
pub use settings::render::{BodySource, ResourceKind};
pub use settings::retry::RetryPolicy;
pub use settings::retry_after;
pub use text::redact;
pub use text::redact::Secret;

/// Compiles the code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
