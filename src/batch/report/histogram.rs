//! A histogram of durations with logarithmic buckets. Quantiles are accurate within 5 %.

use std::time::Duration;

/// A histogram of durations.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    /// The counts up to the last non-empty bucket.
    counts: Vec<u32>,
    total: u64,
}

impl Histogram {
    pub(super) fn add(&mut self, took: Duration) {
        let at = bucket_index(took);
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] = self.counts[at].saturating_add(1);
        self.total += 1;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
        self.total += other.total;
    }

    #[cfg(test)]
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    /// Returns the quantile `part`, from 0 to 1. `None` if the histogram is empty.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank among counts"
    )]
    pub(super) fn quantile(&self, part: f64) -> Option<Duration> {
        let rank = ((self.total as f64 * part).ceil() as u64).max(1);
        let mut below = 0;
        let at = self.counts.iter().position(|count| {
            below += u64::from(*count);
            below >= rank
        })?;
        Some(bucket_midpoint(at))
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the bucket is bounded"
)]
fn bucket_index(took: Duration) -> usize {
    let least = took.as_micros() as f64 / MIN_MICROS;
    if least < 1.0 { 0 } else { ((least.log2() * BUCKETS_PER_DOUBLING) as usize).min(LAST_BUCKET) }
}

#[expect(clippy::cast_precision_loss, reason = "the bucket is bounded")]
fn bucket_midpoint(bucket: usize) -> Duration {
    Duration::from_secs_f64(MIN_MICROS * ((bucket as f64 + 0.5) / BUCKETS_PER_DOUBLING).exp2() / 1e6)
}

/// The start of the first bucket, in microseconds. Shorter durations count there too.
const MIN_MICROS: f64 = 100.0;
/// Buckets for each doubling of the duration.
const BUCKETS_PER_DOUBLING: f64 = 8.0;
/// The last bucket: about two hours, and all longer durations.
const LAST_BUCKET: usize = 8 * 26;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_accurate_within_5_percent() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for ms in 1..=1000 {
            histogram.add(Duration::from_millis(ms));
        }
        for (part, ms) in [(0.5, 500.0), (0.95, 950.0), (1.0, 1000.0), (0.01, 10.0)] {
            let found = histogram.quantile(part).unwrap().as_secs_f64() * 1000.0;
            assert!((found / ms - 1.0).abs() < 0.05, "{part}: {found} for {ms}");
        }
    }

    #[test]
    fn merged_histograms_contain_all_durations() {
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        one.add(Duration::from_millis(1));
        other.add(Duration::from_secs(10));
        other.add(Duration::MAX);
        one.merge(&other);
        assert_eq!(one.total(), 3);
        assert!(one.quantile(0.1).unwrap() < Duration::from_millis(2));
        assert!(one.quantile(0.5).unwrap() > Duration::from_secs(9));
        assert!(one.quantile(1.0).unwrap() > Duration::from_secs(3600));
    }
}
