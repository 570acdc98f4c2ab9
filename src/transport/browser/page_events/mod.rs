//! What one page is doing, put together from its events.

mod events;
mod intercept;
mod state;

use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use bytes::Bytes;
use chromiumoxide::cdp::browser_protocol::fetch::{ContinueRequestParams, FailRequestParams};
use tokio::sync::Notify;

use crate::render::ResourceKind;
use crate::sync::lock_unpoisoned;

pub(super) use self::events::{NetworkResponse, ResourceTiming};
pub(super) use self::intercept::{InterceptRules, PausedResponse};
pub(super) use self::state::{MainDocument, PageState};

/// A page's state, shared between who reads the events and who waits for the page.
pub(super) struct PageWatcher {
    state: Mutex<PageState>,
    changed: Notify,
}

/// What an event calls for at once.
pub(super) enum EventReply {
    Dialog { accept: bool },
    Continue(Box<ContinueRequestParams>),
    Fail(Box<FailRequestParams>),
}

/// What an event of a frame calls for that has a session of its own and does not load what is in `block`.
pub(super) fn react_in_frame(method: &str, params: &str, block: &[ResourceKind]) -> Option<EventReply> {
    let paused = (method == "Fetch.requestPaused").then(|| serde_json::from_str(params).ok()).flatten()?;
    Some(intercept::intercept_in_frame(paused, block))
}

impl PageWatcher {
    pub(super) fn new(frame: &str) -> Self {
        Self { state: Mutex::new(PageState::new(frame)), changed: Notify::new() }
    }

    /// What the page and the frames within do not load.
    pub(super) fn blocked(&self) -> Vec<ResourceKind> {
        self.lock().rules.block.clone()
    }

    /// Takes one event.
    pub(super) fn on_event(&self, method: &str, params: &str, now: Instant) -> Option<EventReply> {
        let reaction = self.lock().on_event(method, params, now);
        self.changed.notify_waiters();
        reaction
    }

    /// What becomes of the page's requests and answers from now on.
    pub(super) fn set_rules(&self, orders: InterceptRules) {
        self.lock().rules = orders;
    }

    /// The body of the document `loader`, as the server sent it.
    pub(super) fn store_raw_body(&self, loader: &str, body: Bytes) {
        self.lock().raw_body = Some((loader.to_owned(), body));
    }

    /// The answer that was held back, if one was; it is held no longer.
    pub(super) fn take_paused(&self) -> Option<PausedResponse> {
        self.lock().paused.take()
    }

    /// The first request for a document that waits for leave.
    pub(super) fn take_pending_request(&self) -> Option<(String, Box<ContinueRequestParams>)> {
        self.lock().pending_requests.pop_front()
    }

    /// Forgets the navigation that failed, so that the page can be sent off anew.
    pub(super) fn reset(&self, orders: InterceptRules) {
        self.lock().reset(orders);
    }

    /// The target is gone.
    pub(super) fn mark_closed(&self) {
        self.lock().closed = true;
        self.changed.notify_waiters();
    }

    /// Waits until `check` has an answer, asking it at every event and whenever it said to.
    pub(super) async fn wait_until<T>(&self, mut check: impl FnMut(&PageState, Instant) -> WaitStep<T>) -> T {
        loop {
            let changed = self.changed.notified();
            let step = check(&self.lock(), Instant::now());
            match step {
                WaitStep::Done(value) => return value,
                WaitStep::Event => changed.await,
                WaitStep::At(when) => {
                    // Either way the question is asked again.
                    let _ = tokio::time::timeout_at(when.into(), changed).await;
                }
            }
        }
    }

    /// Reads something of the state now.
    pub(super) fn with_state<T>(&self, look: impl FnOnce(&PageState) -> T) -> T {
        look(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, PageState> {
        lock_unpoisoned(&self.state)
    }
}

/// What a question to the state was answered with.
pub(super) enum WaitStep<T> {
    Done(T),
    /// Ask again at the next event.
    Event,
    /// Ask again then, or at the next event.
    At(Instant),
}
