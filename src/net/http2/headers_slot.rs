//! Stores a request's header fields until its HEADERS frame passes the rewriter.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use http::HeaderName;

use crate::fingerprint::profile::Priority;
use crate::net::headers::WireHeaders;
use crate::os::sync::lock_unpoisoned;

/// The header that contains a request's ticket. It is never sent.
pub(crate) const TICKET_HEADER: HeaderName = HeaderName::from_static("rungs-ticket");

/// The header fields of requests whose HEADERS frame has not been written yet.
#[derive(Clone, Default)]
pub(crate) struct PendingHeaders(Arc<PendingMap>);

#[derive(Default)]
struct PendingMap {
    next: AtomicU64,
    state: Mutex<PendingState>,
}

#[derive(Default)]
struct PendingState {
    headers: HashMap<u64, RequestHeaders>,
    /// Cancelled requests, oldest first. Their HEADERS frames may still arrive and must not be sent without
    /// fields, so the latest are kept.
    cancelled: VecDeque<u64>,
    /// Requests whose responses will not be read to their end.
    unread: Vec<u64>,
    /// Wakes the task that sends RST_STREAM for them.
    waker: Option<Waker>,
}

impl PendingMap {
    fn lock_state(&self) -> MutexGuard<'_, PendingState> {
        lock_unpoisoned(&self.state)
    }
}

/// The content of one request's HEADERS frame.
pub(in crate::net) struct RequestHeaders {
    pub(in crate::net) fields: WireHeaders,
    pub(in crate::net) priority: Option<Priority>,
}

/// Refers to stored header fields. Dropping it cancels the request.
pub(crate) struct HeadersTicket {
    number: u64,
    pending: Arc<PendingMap>,
}

impl PendingHeaders {
    /// Stores a request's fields until its HEADERS frame passes.
    pub(crate) fn insert(&self, fields: WireHeaders, priority: Option<Priority>) -> HeadersTicket {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.0.lock_state().headers.insert(number, RequestHeaders { fields, priority });
        HeadersTicket { number, pending: Arc::clone(&self.0) }
    }

    pub(in crate::net) fn take(&self, number: u64) -> Option<RequestHeaders> {
        self.0.lock_state().headers.remove(&number)
    }

    /// Registers the waker to call when a response will not be read to its end.
    pub(in crate::net) fn register_waker(&self, waker: &Waker) {
        self.0.lock_state().waker = Some(waker.clone());
    }

    /// Returns, once each, the requests whose responses will not be read to their end.
    pub(in crate::net) fn take_unread(&self) -> Vec<u64> {
        std::mem::take(&mut self.0.lock_state().unread)
    }
}

impl HeadersTicket {
    /// The ticket number, as the ticket header contains it.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Returns a handle that can cancel the response.
    pub(crate) fn response(&self) -> UnreadResponse {
        UnreadResponse { number: self.number, pending: Arc::clone(&self.pending) }
    }
}

/// A response in progress that may be cancelled.
#[derive(Clone)]
pub(crate) struct UnreadResponse {
    number: u64,
    pending: Arc<PendingMap>,
}

impl UnreadResponse {
    /// Cancels the rest of the response with RST_STREAM, even when it is complete. Chrome does this with
    /// redirect responses.
    pub(crate) fn cancel(self) {
        let mut state = self.pending.lock_state();
        state.unread.push(self.number);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

impl Drop for HeadersTicket {
    fn drop(&mut self) {
        let mut state = self.pending.lock_state();
        if !state.headers.contains_key(&self.number) {
            return;
        }
        state.cancelled.push_back(self.number);
        if state.cancelled.len() > MAX_CANCELLED
            && let Some(oldest) = state.cancelled.pop_front()
        {
            state.headers.remove(&oldest);
        }
    }
}

/// Far more than the frames that can be buffered between the HTTP/2 stack and the rewriter.
const MAX_CANCELLED: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancelled_requests_keep_their_fields_and_their_number_is_limited() {
        let pending = PendingHeaders::default();
        for _ in 0..10 * MAX_CANCELLED {
            drop(pending.insert(Vec::new(), None));
        }
        assert_eq!(pending.0.state.lock().unwrap().headers.len(), MAX_CANCELLED);
        let last = u64::try_from(10 * MAX_CANCELLED - 1).unwrap();
        assert!(pending.take(last).is_some(), "its frame may still arrive");
    }
}
