//! How many fetches work at once. One that only waits gives its place to another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The places of a batch.
#[derive(Debug)]
pub(super) struct ConcurrencyLimiter {
    limit: AtomicUsize,
    working: AtomicUsize,
    waiting: AtomicUsize,
    freed: Notify,
}

/// One place, held by one fetch.
#[derive(Debug)]
pub(super) struct ConcurrencySlot {
    limiter: Arc<ConcurrencyLimiter>,
    is_idle: AtomicBool,
}

impl ConcurrencyLimiter {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: AtomicUsize::new(limit),
            working: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
        }
    }

    /// Waits until there is room for one more. Who looks for a task with it does not work yet.
    pub(super) async fn wait_for_capacity(&self) {
        loop {
            let freed = self.freed.notified();
            if self.has_capacity() {
                return;
            }
            freed.await;
        }
    }

    /// Takes a place. There may be one too many then: room was a while ago.
    pub(super) fn acquire(self: &Arc<Self>) -> ConcurrencySlot {
        self.working.fetch_add(1, Ordering::Relaxed);
        ConcurrencySlot { limiter: Arc::clone(self), is_idle: AtomicBool::new(false) }
    }

    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        self.freed.notify_one();
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    pub(super) fn working(&self) -> usize {
        self.working.load(Ordering::Relaxed)
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn has_capacity(&self) -> bool {
        self.working() < self.limit() && self.waiting() < max_waiting(self.limit())
    }
}

impl ConcurrencySlot {
    /// The fetch works, or only waits. One that goes on works at once, though there be one too many then.
    pub(super) fn set_idle(&self, is_idle: bool) {
        if self.is_idle.swap(is_idle, Ordering::Relaxed) == is_idle {
            return;
        }
        let (from, to) = self.counters(!is_idle);
        from.fetch_sub(1, Ordering::Relaxed);
        to.fetch_add(1, Ordering::Relaxed);
        self.limiter.freed.notify_one();
    }

    pub(super) fn is_idle(&self) -> bool {
        self.is_idle.load(Ordering::Relaxed)
    }

    /// The one it is counted in while it is so, and the other.
    fn counters(&self, is_idle: bool) -> (&AtomicUsize, &AtomicUsize) {
        let ConcurrencyLimiter { working, waiting, .. } = &*self.limiter;
        if is_idle { (waiting, working) } else { (working, waiting) }
    }
}

impl Drop for ConcurrencySlot {
    fn drop(&mut self) {
        self.counters(self.is_idle()).0.fetch_sub(1, Ordering::Relaxed);
        self.limiter.freed.notify_one();
    }
}

/// So many fetches may wait beside those that work: they cost memory alone.
pub(super) const fn max_waiting(limit: usize) -> usize {
    limit.saturating_mul(4).saturating_add(64)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_fetch_that_waits_makes_room_for_another() {
        let slots = Arc::new(ConcurrencyLimiter::new(1));
        let taken = || slots.wait_for_capacity().now_or_never().map(|()| slots.acquire());
        assert!(slots.wait_for_capacity().now_or_never().is_some());
        assert_eq!(slots.working(), 0, "who looks for a task does not work");
        let first = taken().unwrap();
        assert!(taken().is_none());
        first.set_idle(true);
        let second = taken().unwrap();
        first.set_idle(false);
        assert_eq!((slots.working(), slots.waiting()), (2, 0), "it is not made to wait twice");
        drop(second);
        assert!(taken().is_none());
        first.set_idle(true);
        drop(first);
        assert_eq!((slots.working(), slots.waiting()), (0, 0));
    }

    #[test]
    fn those_that_wait_have_an_end_too() {
        let slots = Arc::new(ConcurrencyLimiter::new(1));
        let mut waiting = Vec::new();
        while slots.wait_for_capacity().now_or_never().is_some() {
            let slot = slots.acquire();
            slot.set_idle(true);
            waiting.push(slot);
        }
        assert_eq!(waiting.len(), max_waiting(1));
    }
}
