//! What happened when: slots of time that grow wider instead of more.

use std::time::Duration;

use super::histogram::Histogram;

/// Slots of time, one behind the other.
#[derive(Debug)]
pub(super) struct TimeSeries {
    width: Duration,
    buckets: Vec<TimeBucket>,
}

/// What happened within one slot.
#[derive(Clone, Debug, Default)]
pub(super) struct TimeBucket {
    /// Fetches that ended, by [`LANES`].
    pub(super) ended: [u32; LANES.len()],
    /// How long attempts took.
    pub(super) latency: Histogram,
}

impl TimeSeries {
    pub(super) const fn new() -> Self {
        Self { width: INITIAL_WIDTH, buckets: Vec::new() }
    }

    /// The slot of what happens `passed` after the beginning.
    pub(super) fn bucket_mut(&mut self, passed: Duration) -> &mut TimeBucket {
        while index(passed, self.width) >= MAX_BUCKETS {
            self.width *= 2;
            self.buckets = self.buckets.chunks(2).map(TimeBucket::sum).collect();
        }
        let at = index(passed, self.width);
        if self.buckets.len() <= at {
            self.buckets.resize_with(at + 1, TimeBucket::default);
        }
        &mut self.buckets[at]
    }

    pub(super) const fn width(&self) -> Duration {
        self.width
    }

    pub(super) fn buckets(&self) -> &[TimeBucket] {
        &self.buckets
    }
}

impl TimeBucket {
    fn sum(slots: &[Self]) -> Self {
        let mut sum = slots[0].clone();
        for slot in &slots[1..] {
            for (count, more) in sum.ended.iter_mut().zip(slot.ended) {
                *count = count.saturating_add(more);
            }
            sum.latency.merge(&slot.latency);
        }
        sum
    }
}

fn index(passed: Duration, width: Duration) -> usize {
    usize::try_from(passed.as_nanos() / width.as_nanos()).unwrap_or(usize::MAX)
}

/// How a fetch ends, as it is drawn: by a tier, or without a page.
pub(super) const LANES: [&str; 5] = ["plain", "impersonate", "browser", "blocked", "failed"];
/// How wide slots are at first.
const INITIAL_WIDTH: Duration = Duration::from_millis(250);
/// The most slots.
const MAX_BUCKETS: usize = 240;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_merge_and_nothing_is_lost() {
        let mut series = TimeSeries::new();
        for second in 0..100_000_u64 {
            let slot = series.bucket_mut(Duration::from_secs(second));
            slot.ended[0] += 1;
            slot.latency.add(Duration::from_millis(second % 10));
        }
        assert!(series.buckets().len() <= MAX_BUCKETS && series.buckets().len() > MAX_BUCKETS / 2 - 1);
        assert_eq!(series.buckets().iter().map(|slot| slot.ended[0]).sum::<u32>(), 100_000);
        assert_eq!(series.buckets().iter().map(|slot| slot.latency.total()).sum::<u64>(), 100_000);
        let wide = series.width().as_secs_f64();
        assert!(wide * 240.0 > 100_000.0 && wide * 120.0 <= 100_000.0, "{wide}");
        // What comes late is put where it belongs.
        series.bucket_mut(Duration::ZERO).ended[4] += 1;
        assert_eq!(series.buckets()[0].ended[4], 1);
    }
}
