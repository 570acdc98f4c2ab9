//! A request as a tier takes it, and the callbacks of its caller.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use url::Url;

use crate::exchange::error::Result;
use crate::exchange::phase::FetchPhase;
use crate::exchange::request::Request;
use crate::exchange::response::SentRequest;
use crate::exchange::tier::Tier;
use crate::identity::Identity;
use crate::settings::limits::Limits;
use crate::settings::render::RenderOptions;

/// One attempt for a tier to make: the request, the identity and the limits.
#[derive(Clone, Copy)]
pub(crate) struct AttemptRequest<'a> {
    pub(crate) request: &'a Request,
    pub(crate) identity: &'a Identity,
    pub(crate) limits: &'a Limits,
    /// How the browser renders the page. The other tiers ignore it.
    #[cfg_attr(not(feature = "browser"), expect(dead_code, reason = "only the browser tier reads it"))]
    pub(crate) render: &'a RenderOptions,
    /// The body streams to a file: its size and idle time are limited, its total time is not.
    pub(crate) streaming: bool,
    /// Decides whether a redirect may be followed. The browser consults it only when it is strict.
    pub(crate) hooks: Option<&'a dyn RequestHooks>,
}

impl AttemptRequest<'_> {
    /// Reports that the attempt is in this phase of its tier now.
    pub(crate) fn report_phase(&self, phase: fn(Tier) -> FetchPhase) {
        if let Some(hooks) = self.hooks {
            hooks.on_phase(phase);
        }
    }

    /// Whether the identity is a browser's.
    pub(super) fn is_browser(&self) -> bool {
        self.identity.profile().browser.is_some()
    }
}

/// Callbacks of one request: they approve redirects and observe progress.
pub(crate) trait RequestHooks: Send + Sync {
    /// Whether the browser tier, where Chromium follows redirects by itself, must also call `before_request`
    /// for each document.
    #[cfg_attr(not(feature = "browser"), expect(dead_code, reason = "only the browser tier reads it"))]
    fn is_strict(&self) -> bool {
        false
    }

    /// Waits until `url` may be requested.
    ///
    /// # Errors
    /// Why `url` may not be requested.
    fn before_request<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<()>>;

    /// Whether a response is a page of the site, and not a block, so that its refresh may be followed. `body` is its
    /// start; `is_complete`, whether it is all.
    fn is_genuine<'a>(
        &'a self,
        head: &'a ResponseHead<'a>,
        body: &'a Bytes,
        is_complete: bool,
    ) -> BoxFuture<'a, bool> {
        let _ = (head, body, is_complete);
        std::future::ready(true).boxed()
    }

    /// Whether [`on_request_sent`](Self::on_request_sent) is used. Otherwise no request is captured.
    fn wants_request_capture(&self) -> bool {
        false
    }

    /// Called with each request when it is sent.
    fn on_request_sent(&self, request: SentRequest) {
        let _ = request;
    }

    /// Called when the attempt enters a phase.
    fn on_phase(&self, phase: fn(Tier) -> FetchPhase) {
        let _ = phase;
    }
}

/// The head of a response.
pub(crate) struct ResponseHead<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) url: &'a Url,
}
