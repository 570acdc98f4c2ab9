//! The time that reading one page may take.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The time for all work on one page: parsing, selecting and reading text. The work asks it regularly, and stops when
/// it is over.
#[derive(Debug)]
pub(crate) struct WorkLimit {
    end: Instant,
    is_over: Cell<bool>,
}

impl WorkLimit {
    /// Starts now. The work ends at `deadline`, at the latest after `max`. It has at least [`MIN_TIME`].
    pub(crate) fn start(max: Duration, deadline: Option<Instant>) -> Self {
        let now = Instant::now();
        let end = deadline.map_or(now + max, |deadline| deadline.max(now + MIN_TIME).min(now + max));
        Self { end, is_over: Cell::new(false) }
    }

    /// Whether the time is over.
    pub(crate) fn is_over(&self) -> bool {
        if !self.is_over.get() && Instant::now() >= self.end {
            self.is_over.set(true);
        }
        self.is_over.get()
    }

    /// Whether a call found that the time is over, so that its result is incomplete.
    pub(crate) const fn was_over(&self) -> bool {
        self.is_over.get()
    }
}

/// The time for a page that arrived at the end of its fetch.
const MIN_TIME: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_ends_at_the_deadline_but_not_at_once() {
        let hour = Duration::from_secs(3600);
        let now = Instant::now();
        let end = |max, deadline| WorkLimit::start(max, deadline).end - now;
        assert!(end(hour, None) >= hour);
        let second = end(hour, Some(now + Duration::from_secs(1)));
        assert!(second == Duration::from_secs(1), "{second:?}");
        let late = end(hour, Some(now));
        assert!(late >= MIN_TIME && late < hour, "{late:?}");
        let work = WorkLimit::start(Duration::ZERO, None);
        assert!(!work.was_over() && work.is_over() && work.was_over());
    }
}
