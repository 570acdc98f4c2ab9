//! Limits the number of concurrently active fetches. A fetch that only waits frees its slot for another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The concurrency limit of a batch.
#[derive(Debug)]
pub(super) struct ConcurrencyLimiter {
    limit: AtomicUsize,
    working: AtomicUsize,
    waiting: AtomicUsize,
    freed: Notify,
}

/// The slot of one fetch.
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

    /// Waits until there is capacity for another fetch. It does not take a slot: a worker that waits for a task is not
    /// active.
    pub(super) async fn wait_for_capacity(&self) {
        loop {
            let freed = self.freed.notified();
            if self.has_capacity() {
                return;
            }
            freed.await;
        }
    }

    /// Takes a slot. The limit may be exceeded by one, because the capacity may have changed since the wait.
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
    /// Marks the fetch as waiting or active. A fetch becomes active immediately, even if that exceeds the limit.
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

    /// Returns the counter for this state, and the counter for the other state.
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

/// The maximum number of waiting fetches, in addition to active ones. They cost only memory.
pub(super) const fn max_waiting(limit: usize) -> usize {
    limit.saturating_mul(4).saturating_add(64)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_waiting_fetch_frees_its_slot() {
        let slots = Arc::new(ConcurrencyLimiter::new(1));
        let try_acquire = || slots.wait_for_capacity().now_or_never().map(|()| slots.acquire());
        assert!(slots.wait_for_capacity().now_or_never().is_some());
        assert_eq!(slots.working(), 0, "a worker without a task is not active");
        let first = try_acquire().unwrap();
        assert!(try_acquire().is_none());
        first.set_idle(true);
        let second = try_acquire().unwrap();
        first.set_idle(false);
        assert_eq!((slots.working(), slots.waiting()), (2, 0), "it becomes active without another wait");
        drop(second);
        assert!(try_acquire().is_none());
        first.set_idle(true);
        drop(first);
        assert_eq!((slots.working(), slots.waiting()), (0, 0));
    }

    #[test]
    fn the_number_of_waiting_fetches_is_bounded() {
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
