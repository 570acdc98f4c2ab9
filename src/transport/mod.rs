//! The three tiers behind one trait.

use futures_util::future::BoxFuture;

use crate::bounds::Bounds;
use crate::error::Result;
use crate::identity::Identity;
use crate::net::{Call, Gate};
use crate::request::Request;
use crate::response::Answer;
#[cfg(feature = "browser")]
use crate::stage::Stage;
use crate::tier::Tier;
use crate::view::View;

#[cfg(feature = "browser")]
pub(crate) mod browser;
pub(crate) mod http;

/// What a tier is asked to do: one request, as one identity, within bounds.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    pub request: &'a Request,
    pub identity: &'a Identity,
    pub bounds: &'a Bounds,
    /// What is wanted of the page in the browser. The other tiers ignore it.
    #[cfg_attr(not(feature = "browser"), expect(dead_code, reason = "the browser tier alone reads it"))]
    pub view: &'a View,
    /// The body streams to a file: its total time is not bounded, only its idle time and size.
    pub streaming: bool,
    /// Who says whether a redirect may be followed. The browser follows them by itself, unless it is strict.
    pub gate: Option<&'a dyn Gate>,
}

impl<'a> Job<'a> {
    /// It is at this stage of its tier now.
    #[cfg(feature = "browser")]
    fn at(&self, stage: fn(Tier) -> Stage) {
        if let Some(gate) = self.gate {
            gate.at(stage);
        }
    }

    /// What of it the HTTP engine needs.
    fn call(self) -> Call<'a> {
        Call {
            request: self.request,
            identity: self.identity,
            bounds: self.bounds,
            streaming: self.streaming,
            gate: self.gate,
        }
    }
}

/// One means of getting a page.
pub(crate) trait Transport: Send + Sync {
    fn tier(&self) -> Tier;

    /// The identity of this key asks no more: what is kept for it may go.
    fn forget(&self, _identity: u64) {}

    /// Makes one attempt. Dropping the future frees what it held.
    fn attempt<'a>(&'a self, job: Job<'a>) -> BoxFuture<'a, Result<Answer>>;
}
