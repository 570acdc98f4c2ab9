//! A time series of fixed size: buckets become wider instead of more numerous.

use std::time::Duration;

use super::histogram::Histogram;

/// Consecutive time buckets of equal width.
#[derive(Debug)]
pub(super) struct TimeSeries {
    width: Duration,
    buckets: Vec<TimeBucket>,
}

/// The events within one bucket.
#[derive(Clone, Debug, Default)]
pub(super) struct TimeBucket {
    /// Completed fetches, indexed as [`LANES`].
    pub(super) ended: [u32; LANES.len()],
    /// The durations of attempts.
    pub(super) latency: Histogram,
}

impl TimeSeries {
    pub(super) const fn new() -> Self {
        Self { width: INITIAL_WIDTH, buckets: Vec::new() }
    }

    /// Returns the bucket at `elapsed` after the start.
    pub(super) fn bucket_mut(&mut self, elapsed: Duration) -> &mut TimeBucket {
        while index(elapsed, self.width) >= MAX_BUCKETS {
            self.width *= 2;
            self.buckets = self.buckets.chunks(2).map(TimeBucket::sum).collect();
        }
        let at = index(elapsed, self.width);
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
    fn sum(buckets: &[Self]) -> Self {
        let mut sum = buckets[0].clone();
        for bucket in &buckets[1..] {
            for (count, more) in sum.ended.iter_mut().zip(bucket.ended) {
                *count = count.saturating_add(more);
            }
            sum.latency.merge(&bucket.latency);
        }
        sum
    }
}

fn index(elapsed: Duration, width: Duration) -> usize {
    usize::try_from(elapsed.as_nanos() / width.as_nanos()).unwrap_or(usize::MAX)
}

/// The outcomes of a fetch, as displayed: a tier, or a failure.
pub(super) const LANES: [&str; 5] = ["plain", "impersonate", "browser", "blocked", "failed"];
/// The initial width of a bucket.
const INITIAL_WIDTH: Duration = Duration::from_millis(250);
/// The maximum number of buckets.
const MAX_BUCKETS: usize = 240;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_merged_without_loss() {
        let mut series = TimeSeries::new();
        for second in 0..100_000_u64 {
            let bucket = series.bucket_mut(Duration::from_secs(second));
            bucket.ended[0] += 1;
            bucket.latency.add(Duration::from_millis(second % 10));
        }
        assert!(series.buckets().len() <= MAX_BUCKETS && series.buckets().len() > MAX_BUCKETS / 2 - 1);
        assert_eq!(series.buckets().iter().map(|bucket| bucket.ended[0]).sum::<u32>(), 100_000);
        assert_eq!(series.buckets().iter().map(|bucket| bucket.latency.total()).sum::<u64>(), 100_000);
        let wide = series.width().as_secs_f64();
        assert!(wide * 240.0 > 100_000.0 && wide * 120.0 <= 100_000.0, "{wide}");
        // A late event is counted in its bucket.
        series.bucket_mut(Duration::ZERO).ended[4] += 1;
        assert_eq!(series.buckets()[0].ended[4], 1);
    }
}
