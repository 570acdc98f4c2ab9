//! Where the fields of a request wait until its bare HEADERS frame passes.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use crate::fingerprint::profile::Priority;
use crate::net::headers::WireHeaders;
use crate::sync::lock_unpoisoned;

/// The fields of requests that are on their way to the wire.
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
    /// Whose requests were given up, oldest first. Their frames may still be on the way here, and
    /// must not leave bare: the latest are kept.
    cancelled: VecDeque<u64>,
    /// Whose answers are not read to their end.
    unread: Vec<u64>,
    /// Who sends their resets.
    waker: Option<Waker>,
}

impl PendingMap {
    fn lock_state(&self) -> MutexGuard<'_, PendingState> {
        lock_unpoisoned(&self.state)
    }
}

/// What one request's HEADERS frame is made of.
pub(in crate::net) struct RequestHeaders {
    pub(in crate::net) fields: WireHeaders,
    pub(in crate::net) priority: Option<Priority>,
}

/// A claim on deposited fields. Dropping it gives the request up.
pub(crate) struct HeadersTicket {
    number: u64,
    pending: Arc<PendingMap>,
}

impl PendingHeaders {
    /// Leaves a request's fields here until its HEADERS frame passes.
    pub(crate) fn insert(&self, fields: WireHeaders, priority: Option<Priority>) -> HeadersTicket {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.0.lock_state().headers.insert(number, RequestHeaders { fields, priority });
        HeadersTicket { number, pending: Arc::clone(&self.0) }
    }

    pub(in crate::net) fn take(&self, number: u64) -> Option<RequestHeaders> {
        self.0.lock_state().headers.remove(&number)
    }

    /// Wakes this one when an answer is not read to its end.
    pub(in crate::net) fn register_waker(&self, sender: &Waker) {
        self.0.lock_state().waker = Some(sender.clone());
    }

    /// The requests whose answers are not read to their end, once.
    pub(in crate::net) fn take_unread(&self) -> Vec<u64> {
        std::mem::take(&mut self.0.lock_state().unread)
    }
}

impl HeadersTicket {
    /// The number, as the header's value.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// The answer to it.
    pub(crate) fn response(&self) -> UnreadResponse {
        UnreadResponse { number: self.number, pending: Arc::clone(&self.pending) }
    }
}

/// One request's answer under way, which may be left unread.
#[derive(Clone)]
pub(crate) struct UnreadResponse {
    number: u64,
    pending: Arc<PendingMap>,
}

impl UnreadResponse {
    /// Tells the server that the rest of the answer is not wanted, even when there is no rest: so
    /// does Chrome with an answer that redirects.
    pub(crate) fn cancel(self) {
        let mut waiting = self.pending.lock_state();
        waiting.unread.push(self.number);
        if let Some(sender) = waiting.waker.take() {
            sender.wake();
        }
    }
}

impl Drop for HeadersTicket {
    fn drop(&mut self) {
        let mut waiting = self.pending.lock_state();
        if !waiting.headers.contains_key(&self.number) {
            return;
        }
        waiting.cancelled.push_back(self.number);
        if waiting.cancelled.len() > MAX_CANCELLED
            && let Some(oldest) = waiting.cancelled.pop_front()
        {
            waiting.headers.remove(&oldest);
        }
    }
}

/// Far more than the frames that can be between the stack and this layer.
const MAX_CANCELLED: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_given_up_keep_their_fields_for_a_while_and_do_not_pile_up() {
        let counter = PendingHeaders::default();
        for _ in 0..10 * MAX_CANCELLED {
            drop(counter.insert(Vec::new(), None));
        }
        assert_eq!(counter.0.state.lock().unwrap().headers.len(), MAX_CANCELLED);
        let last = u64::try_from(10 * MAX_CANCELLED - 1).unwrap();
        assert!(counter.take(last).is_some(), "its frame may still pass");
    }
}
