//! The three tiers, behind one trait.

use futures_util::future::BoxFuture;

use crate::exchange::error::Result;
#[cfg(feature = "browser")]
use crate::exchange::phase::FetchPhase;
use crate::exchange::request::Request;
use crate::exchange::response::RawResponse;
use crate::exchange::tier::Tier;
use crate::identity::Identity;
use crate::net::{ClientRequest, RequestHooks};
use crate::settings::limits::Limits;
use crate::settings::render::RenderOptions;

#[cfg(feature = "browser")]
pub(crate) mod browser;
#[cfg(any(feature = "browser", feature = "lab"))]
pub(crate) mod chromium;
pub(crate) mod http;

/// One attempt for a tier to make: the request, the identity and the limits.
#[derive(Clone, Copy)]
pub(crate) struct AttemptRequest<'a> {
    pub request: &'a Request,
    pub identity: &'a Identity,
    pub limits: &'a Limits,
    /// How the browser renders the page. The other tiers ignore it.
    #[cfg_attr(not(feature = "browser"), expect(dead_code, reason = "only the browser tier reads it"))]
    pub render: &'a RenderOptions,
    /// The body streams to a file: its size and idle time are limited, its total time is not.
    pub streaming: bool,
    /// Decides whether a redirect may be followed. The browser consults it only when it is strict.
    pub hooks: Option<&'a dyn RequestHooks>,
}

impl<'a> AttemptRequest<'a> {
    /// Reports that the attempt is in this phase of its tier now.
    #[cfg(feature = "browser")]
    fn enter_phase(&self, phase: fn(Tier) -> FetchPhase) {
        if let Some(hooks) = self.hooks {
            hooks.on_phase(phase);
        }
    }

    /// Returns the part that the HTTP engine needs.
    fn to_call(self) -> ClientRequest<'a> {
        ClientRequest {
            request: self.request,
            identity: self.identity,
            limits: self.limits,
            streaming: self.streaming,
            hooks: self.hooks,
        }
    }
}

/// Executes the attempts of one tier.
pub(crate) trait Transport: Send + Sync {
    fn tier(&self) -> Tier;

    /// Drops all state of the identity with this key, which makes no more requests.
    fn drop_identity(&self, _identity: u64) {}

    /// Makes one attempt. Dropping the future releases its resources.
    fn execute<'a>(&'a self, job: AttemptRequest<'a>) -> BoxFuture<'a, Result<RawResponse>>;
}
