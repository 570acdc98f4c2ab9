//! Where the fields of a request wait until its bare HEADERS frame passes.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use crate::fingerprint::profile::Priority;
use crate::lock::lock;
use crate::net::dress::Fields;

/// The fields of requests that are on their way to the wire.
#[derive(Clone, Default)]
pub(crate) struct Counter(Arc<Shelf>);

#[derive(Default)]
struct Shelf {
    next: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    deposits: HashMap<u64, Deposit>,
    /// Whose requests were given up, oldest first. Their frames may still be on the way here, and
    /// must not leave bare: the latest are kept.
    given_up: VecDeque<u64>,
    /// Whose answers are not read to their end.
    unread: Vec<u64>,
    /// Who sends their resets.
    sender: Option<Waker>,
}

impl Shelf {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }
}

/// What one request's HEADERS frame is made of.
pub(super) struct Deposit {
    pub(super) fields: Fields,
    pub(super) priority: Option<Priority>,
}

/// A claim on deposited fields. Dropping it gives the request up.
pub(crate) struct Ticket {
    number: u64,
    shelf: Arc<Shelf>,
}

impl Counter {
    /// Leaves a request's fields here until its HEADERS frame passes.
    pub(crate) fn deposit(&self, fields: Fields, priority: Option<Priority>) -> Ticket {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.0.waiting().deposits.insert(number, Deposit { fields, priority });
        Ticket { number, shelf: Arc::clone(&self.0) }
    }

    pub(super) fn collect(&self, number: u64) -> Option<Deposit> {
        self.0.waiting().deposits.remove(&number)
    }

    /// Wakes this one when an answer is not read to its end.
    pub(super) fn wake(&self, sender: &Waker) {
        self.0.waiting().sender = Some(sender.clone());
    }

    /// The requests whose answers are not read to their end, once.
    pub(super) fn unread(&self) -> Vec<u64> {
        std::mem::take(&mut self.0.waiting().unread)
    }
}

impl Ticket {
    /// The number, as the header's value.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// The answer to it.
    pub(crate) fn answer(&self) -> Unread {
        Unread { number: self.number, shelf: Arc::clone(&self.shelf) }
    }
}

/// One request's answer under way, which may be left unread.
#[derive(Clone)]
pub(crate) struct Unread {
    number: u64,
    shelf: Arc<Shelf>,
}

impl Unread {
    /// Tells the server that the rest of the answer is not wanted, even when there is no rest: so
    /// does Chrome with an answer that redirects.
    pub(crate) fn cancel(self) {
        let mut waiting = self.shelf.waiting();
        waiting.unread.push(self.number);
        if let Some(sender) = waiting.sender.take() {
            sender.wake();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut waiting = self.shelf.waiting();
        if !waiting.deposits.contains_key(&self.number) {
            return;
        }
        waiting.given_up.push_back(self.number);
        if waiting.given_up.len() > GIVEN_UP_KEPT
            && let Some(oldest) = waiting.given_up.pop_front()
        {
            waiting.deposits.remove(&oldest);
        }
    }
}

/// Far more than the frames that can be between the stack and this layer.
const GIVEN_UP_KEPT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_given_up_keep_their_fields_for_a_while_and_do_not_pile_up() {
        let counter = Counter::default();
        for _ in 0..10 * GIVEN_UP_KEPT {
            drop(counter.deposit(Vec::new(), None));
        }
        assert_eq!(counter.0.waiting.lock().unwrap().deposits.len(), GIVEN_UP_KEPT);
        let last = u64::try_from(10 * GIVEN_UP_KEPT - 1).unwrap();
        assert!(counter.collect(last).is_some(), "its frame may still pass");
    }
}
