//! The three tiers behind one trait.

use futures_util::future::BoxFuture;

use crate::error::Result;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::net::{ClientRequest, RequestHooks};
#[cfg(feature = "browser")]
use crate::phase::FetchPhase;
use crate::render::RenderOptions;
use crate::request::Request;
use crate::response::RawResponse;
use crate::tier::Tier;

#[cfg(feature = "browser")]
pub(crate) mod browser;
pub(crate) mod http;

/// What a tier is asked to do: one request, as one identity, within bounds.
#[derive(Clone, Copy)]
pub(crate) struct AttemptRequest<'a> {
    pub request: &'a Request,
    pub identity: &'a Identity,
    pub limits: &'a Limits,
    /// What is wanted of the page in the browser. The other tiers ignore it.
    #[cfg_attr(not(feature = "browser"), expect(dead_code, reason = "the browser tier alone reads it"))]
    pub render: &'a RenderOptions,
    /// The body streams to a file: its total time is not bounded, only its idle time and size.
    pub streaming: bool,
    /// Who says whether a redirect may be followed. The browser follows them by itself, unless it is strict.
    pub hooks: Option<&'a dyn RequestHooks>,
}

impl<'a> AttemptRequest<'a> {
    /// It is at this stage of its tier now.
    #[cfg(feature = "browser")]
    fn enter_phase(&self, stage: fn(Tier) -> FetchPhase) {
        if let Some(gate) = self.hooks {
            gate.on_phase(stage);
        }
    }

    /// What of it the HTTP engine needs.
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

/// One means of getting a page.
pub(crate) trait Transport: Send + Sync {
    fn tier(&self) -> Tier;

    /// The identity of this key asks no more: what is kept for it may go.
    fn drop_identity(&self, _identity: u64) {}

    /// Makes one attempt. Dropping the future frees what it held.
    fn execute<'a>(&'a self, job: AttemptRequest<'a>) -> BoxFuture<'a, Result<RawResponse>>;
}
