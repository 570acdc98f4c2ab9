//! What one page is doing, put together from its events.

mod events;
mod pause;
mod state;

use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use bytes::Bytes;
use chromiumoxide::cdp::browser_protocol::fetch::{ContinueRequestParams, FailRequestParams};
use tokio::sync::Notify;

use crate::lock::lock;
use crate::view::Load;

pub(super) use self::events::{Response, Timing};
pub(super) use self::pause::{Held, Orders};
pub(super) use self::state::{Document, PageState};

/// A page's state, shared between who reads the events and who waits for the page.
pub(super) struct Watch {
    state: Mutex<PageState>,
    changed: Notify,
}

/// What an event calls for at once.
pub(super) enum Reaction {
    Dialog { accept: bool },
    Continue(Box<ContinueRequestParams>),
    Refuse(Box<FailRequestParams>),
}

/// What an event of a frame calls for that has a session of its own and does not load what is in `block`.
pub(super) fn react_in_frame(method: &str, params: &str, block: &[Load]) -> Option<Reaction> {
    let paused = (method == "Fetch.requestPaused").then(|| serde_json::from_str(params).ok()).flatten()?;
    Some(pause::of_frame(paused, block))
}

impl Watch {
    pub(super) fn new(frame: &str) -> Self {
        Self { state: Mutex::new(PageState::new(frame)), changed: Notify::new() }
    }

    /// What the page and the frames within do not load.
    pub(super) fn block(&self) -> Vec<Load> {
        self.lock().orders.block.clone()
    }

    /// Takes one event.
    pub(super) fn on(&self, method: &str, params: &str, now: Instant) -> Option<Reaction> {
        let reaction = self.lock().on(method, params, now);
        self.changed.notify_waiters();
        reaction
    }

    /// What becomes of the page's requests and answers from now on.
    pub(super) fn order(&self, orders: Orders) {
        self.lock().orders = orders;
    }

    /// The body of the document `loader`, as the server sent it.
    pub(super) fn keep_raw(&self, loader: &str, body: Bytes) {
        self.lock().raw = Some((loader.to_owned(), body));
    }

    /// The answer that was held back, if one was; it is held no longer.
    pub(super) fn take_held(&self) -> Option<Held> {
        self.lock().held.take()
    }

    /// The first request for a document that waits for leave.
    pub(super) fn take_waiting(&self) -> Option<(String, Box<ContinueRequestParams>)> {
        self.lock().waiting.pop_front()
    }

    /// Forgets the navigation that failed, so that the page can be sent off anew.
    pub(super) fn again(&self, orders: Orders) {
        self.lock().again(orders);
    }

    /// The target is gone.
    pub(super) fn closed(&self) {
        self.lock().closed = true;
        self.changed.notify_waiters();
    }

    /// Waits until `check` has an answer, asking it at every event and whenever it said to.
    pub(super) async fn until<T>(&self, mut check: impl FnMut(&PageState, Instant) -> Step<T>) -> T {
        loop {
            let changed = self.changed.notified();
            let step = check(&self.lock(), Instant::now());
            match step {
                Step::Done(value) => return value,
                Step::Event => changed.await,
                Step::At(when) => {
                    // Either way the question is asked again.
                    let _ = tokio::time::timeout_at(when.into(), changed).await;
                }
            }
        }
    }

    /// Reads something of the state now.
    pub(super) fn read<T>(&self, look: impl FnOnce(&PageState) -> T) -> T {
        look(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, PageState> {
        lock(&self.state)
    }
}

/// What a question to the state was answered with.
pub(super) enum Step<T> {
    Done(T),
    /// Ask again at the next event.
    Event,
    /// Ask again then, or at the next event.
    At(Instant),
}
