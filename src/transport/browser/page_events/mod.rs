//! The state of one page, derived from its events.

mod document;
mod events;
mod intercept;
mod paused_response;
mod repeat;
mod scheduled;
mod state;
mod traffic;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use bytes::Bytes;
use chromiumoxide_cdp::cdp::browser_protocol::fetch::{
    ContinueRequestParams, ContinueWithAuthParams, FailRequestParams,
};
use tokio::sync::Notify;

use crate::os::sync::lock_unpoisoned;
use crate::settings::render::ResourceKind;
use crate::transport::chromium::page_memory::MemoryExcess;

pub(super) use self::document::{DocumentExchange, DocumentRequest, MainDocument, WireResponse};
pub(super) use self::events::{NetworkResponse, ResourceTiming};
pub(super) use self::paused_response::{InterceptRules, OfferedFile, PausedResponse, RequestContent};
pub(super) use self::state::PageState;

/// A page's state, shared by the thread that reads events and the task that waits for the page.
pub(super) struct PageWatcher {
    state: Mutex<PageState>,
    changed: Notify,
}

/// The command that an event requires at once.
pub(super) enum EventReply {
    Dialog { accept: bool },
    Continue(Box<ContinueRequestParams>),
    Fail(Box<FailRequestParams>),
    Authenticate(Box<ContinueWithAuthParams>),
}

/// Returns the command for an event of a frame that has its own session and does not load `block`.
pub(super) fn react_in_frame(method: &str, params: &str, block: &[ResourceKind]) -> Option<EventReply> {
    let paused = (method == "Fetch.requestPaused").then(|| serde_json::from_str(params).ok()).flatten()?;
    Some(intercept::intercept_in_frame(paused, block))
}

impl PageWatcher {
    pub(super) fn new(frame: &str) -> Self {
        Self { state: Mutex::new(PageState::new(frame)), changed: Notify::new() }
    }

    /// Returns the resources that the page and its frames do not load.
    pub(super) fn blocked(&self) -> Vec<ResourceKind> {
        self.lock().rules.block.clone()
    }

    /// Handles one event.
    pub(super) fn on_event(&self, method: &str, params: &str, now: Instant) -> Option<EventReply> {
        let reply = self.lock().on_event(method, params, now);
        self.changed.notify_waiters();
        reply
    }

    /// Handles an event of a worker of this page, or of a worker that several pages share.
    pub(super) fn on_worker_event(&self, session: &str, method: &str, params: &str, now: Instant) {
        self.lock().traffic.on_worker_event(session, method, params, now);
        self.changed.notify_waiters();
    }

    /// Handles the end of such a worker.
    pub(super) fn on_worker_ended(&self, session: &str, now: Instant) {
        self.lock().traffic.on_worker_ended(session, now);
        self.changed.notify_waiters();
    }

    /// Lets the next request of the URL have the caller's method and body again, because a challenge was the answer.
    pub(super) fn repeat_request(&self) {
        self.lock().repeat_request();
    }

    /// Sets the rules for the page's later requests and responses.
    pub(super) fn set_rules(&self, rules: InterceptRules) {
        self.lock().rules = rules;
    }

    /// Stores the body of the document `loader` as the server sent it.
    pub(super) fn store_raw_body(&self, loader: &str, body: Bytes) {
        self.lock().raw_body = Some((loader.to_owned(), body));
    }

    /// Takes the paused response, if there is one.
    pub(super) fn take_paused(&self) -> Option<PausedResponse> {
        self.lock().paused.take()
    }

    /// Takes the first document request that waits for the hooks.
    pub(super) fn take_pending_request(&self) -> Option<(String, Box<ContinueRequestParams>)> {
        self.lock().pending_requests.pop_front()
    }

    /// Resets the state after a failed navigation, so that the page can navigate again.
    pub(super) fn reset(&self, rules: InterceptRules) {
        self.lock().reset(rules);
    }

    /// Records that the target is closed.
    pub(super) fn mark_closed(&self) {
        self.lock().closed = true;
        self.changed.notify_waiters();
    }

    /// Ends the page, because `excess` ended its process or a part of it. The first reason stays.
    pub(super) fn mark_over_memory(&self, excess: &Arc<MemoryExcess>) {
        let mut state = self.lock();
        if state.memory_excess.is_none() {
            excess.add_page();
            state.memory_excess = Some(Arc::clone(excess));
        }
        state.crashed = true;
        drop(state);
        self.changed.notify_waiters();
    }

    /// Waits until `check` returns [`WaitStep::Done`]. Calls it at every event and at the times it returned.
    pub(super) async fn wait_until<T>(&self, mut check: impl FnMut(&PageState, Instant) -> WaitStep<T>) -> T {
        loop {
            let changed = self.changed.notified();
            let step = check(&self.lock(), Instant::now());
            match step {
                WaitStep::Done(value) => return value,
                WaitStep::Event => changed.await,
                WaitStep::At(when) => {
                    // `check` runs again after the timeout too.
                    let _ = tokio::time::timeout_at(when.into(), changed).await;
                }
            }
        }
    }

    /// Clears the download that the browser started.
    pub(super) fn forget_download(&self) {
        self.lock().download = None;
    }

    /// Reads the current state.
    pub(super) fn with_state<T>(&self, read: impl FnOnce(&PageState) -> T) -> T {
        read(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, PageState> {
        lock_unpoisoned(&self.state)
    }
}

/// The result of one check of the state.
pub(super) enum WaitStep<T> {
    Done(T),
    /// Check again at the next event.
    Event,
    /// Check again at this time, or at the next event.
    At(Instant),
}
