//! How many fetches work at once. One that only waits gives its place to another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The places of a batch.
#[derive(Debug)]
pub(super) struct Slots {
    limit: AtomicUsize,
    working: AtomicUsize,
    waiting: AtomicUsize,
    freed: Notify,
}

/// One place, held by one fetch.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    is_idle: AtomicBool,
}

impl Slots {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: AtomicUsize::new(limit),
            working: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
        }
    }

    /// Waits until there is room for one more. Who looks for a task with it does not work yet.
    pub(super) async fn room(&self) {
        loop {
            let freed = self.freed.notified();
            if self.has_room() {
                return;
            }
            freed.await;
        }
    }

    /// Takes a place. There may be one too many then: room was a while ago.
    pub(super) fn take(self: &Arc<Self>) -> Slot {
        self.working.fetch_add(1, Ordering::Relaxed);
        Slot { slots: Arc::clone(self), is_idle: AtomicBool::new(false) }
    }

    pub(super) fn set(&self, limit: usize) {
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

    fn has_room(&self) -> bool {
        self.working() < self.limit() && self.waiting() < most_waiting(self.limit())
    }
}

impl Slot {
    /// The fetch works, or only waits. One that goes on works at once, though there be one too many then.
    pub(super) fn idle(&self, is_idle: bool) {
        if self.is_idle.swap(is_idle, Ordering::Relaxed) == is_idle {
            return;
        }
        let (from, to) = self.counters(!is_idle);
        from.fetch_sub(1, Ordering::Relaxed);
        to.fetch_add(1, Ordering::Relaxed);
        self.slots.freed.notify_one();
    }

    pub(super) fn is_idle(&self) -> bool {
        self.is_idle.load(Ordering::Relaxed)
    }

    /// The one it is counted in while it is so, and the other.
    fn counters(&self, is_idle: bool) -> (&AtomicUsize, &AtomicUsize) {
        let Slots { working, waiting, .. } = &*self.slots;
        if is_idle { (waiting, working) } else { (working, waiting) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.counters(self.is_idle()).0.fetch_sub(1, Ordering::Relaxed);
        self.slots.freed.notify_one();
    }
}

/// So many fetches may wait beside those that work: they cost memory alone.
pub(super) const fn most_waiting(limit: usize) -> usize {
    limit.saturating_mul(4).saturating_add(64)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_fetch_that_waits_makes_room_for_another() {
        let slots = Arc::new(Slots::new(1));
        let taken = || slots.room().now_or_never().map(|()| slots.take());
        assert!(slots.room().now_or_never().is_some());
        assert_eq!(slots.working(), 0, "who looks for a task does not work");
        let first = taken().unwrap();
        assert!(taken().is_none());
        first.idle(true);
        let second = taken().unwrap();
        first.idle(false);
        assert_eq!((slots.working(), slots.waiting()), (2, 0), "it is not made to wait twice");
        drop(second);
        assert!(taken().is_none());
        first.idle(true);
        drop(first);
        assert_eq!((slots.working(), slots.waiting()), (0, 0));
    }

    #[test]
    fn those_that_wait_have_an_end_too() {
        let slots = Arc::new(Slots::new(1));
        let mut waiting = Vec::new();
        while slots.room().now_or_never().is_some() {
            let slot = slots.take();
            slot.idle(true);
            waiting.push(slot);
        }
        assert_eq!(waiting.len(), most_waiting(1));
    }
}
