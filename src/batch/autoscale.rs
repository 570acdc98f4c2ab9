//! Adapts the number of concurrent fetches to the load of the machine. Pure: measurements in, a limit out.
//!
//! The limit starts at the configured maximum, or at 256 if the maximum is higher. It grows while growth increases
//! the throughput. Late timers and a shortage of memory or file descriptors mean overload.

use std::time::Duration;

/// Measurements since the last sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoadSample {
    /// Completed fetches per second.
    pub(super) rate: f64,
    /// Active fetches.
    pub(super) working: usize,
    /// The delay of a timer.
    pub(super) lag: Duration,
    /// The free part of memory, from 0 to 1, if known.
    pub(super) memory: Option<f64>,
    /// The free part of file descriptors, from 0 to 1, if known.
    pub(super) descriptors: Option<f64>,
}

/// The concurrency limit and the state that adapts it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Autoscaler {
    limit: usize,
    max: usize,
    /// The best rate at lower limits.
    best_rate: f64,
    /// Samples since the limit changed.
    samples_since_change: u32,
    /// Whether the machine was ever overloaded.
    was_overloaded: bool,
}

impl Autoscaler {
    pub(super) fn new(max: usize) -> Self {
        Self {
            limit: max.clamp(1, INITIAL_LIMIT),
            max: max.max(1),
            best_rate: 0.0,
            samples_since_change: 0,
            was_overloaded: false,
        }
    }

    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    /// Updates the limit with a sample, one every [`TICK`], and returns it.
    pub(super) fn update(&mut self, sample: &LoadSample) -> usize {
        self.samples_since_change += 1;
        if is_overloaded(sample) {
            if self.samples_since_change >= SETTLE_SAMPLES || !self.was_overloaded {
                self.limit = (self.limit * 3 / 4).max(MIN_LIMIT.min(self.max));
                (self.samples_since_change, self.best_rate, self.was_overloaded) = (0, 0.0, true);
            }
            return self.limit;
        }
        let is_full = sample.working >= self.limit;
        // Before the first fetches complete, the rate is zero.
        let helps = sample.rate <= 0.0 || sample.rate > self.best_rate * 1.05;
        let settle_samples = if self.was_overloaded { SETTLE_SAMPLES } else { 1 };
        if self.limit < self.max
            && is_full
            && self.samples_since_change >= settle_samples
            && (helps || self.samples_since_change >= RETRY_SAMPLES)
        {
            self.best_rate = self.best_rate.max(sample.rate);
            let more = if self.was_overloaded { self.limit / 8 + 1 } else { self.limit };
            self.limit = (self.limit + more).min(self.max);
            self.samples_since_change = 0;
        }
        self.limit
    }
}

fn is_overloaded(sample: &LoadSample) -> bool {
    let is_scarce = |left: Option<f64>| left.is_some_and(|left| left < MIN_FREE);
    sample.lag > MAX_LAG || is_scarce(sample.memory) || is_scarce(sample.descriptors)
}

/// The interval between samples.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// The highest initial limit.
const INITIAL_LIMIT: usize = 256;
/// The lowest limit under overload.
const MIN_LIMIT: usize = 4;
/// A later timer means overload.
const MAX_LAG: Duration = Duration::from_millis(100);
/// A smaller free part of memory or file descriptors means overload.
const MIN_FREE: f64 = 0.05;
/// Samples until the effect of a change is measurable.
const SETTLE_SAMPLES: u32 = 10;
/// Samples until growth is tried again after it did not help.
const RETRY_SAMPLES: u32 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rate: f64, working: usize) -> LoadSample {
        LoadSample { rate, working, lag: Duration::ZERO, memory: Some(0.5), descriptors: Some(0.5) }
    }

    #[test]
    fn the_limit_never_exceeds_the_maximum() {
        for (max, first) in [(0, 1), (1, 1), (64, 64), (256, 256), (1000, 256)] {
            let mut autoscaler = Autoscaler::new(max);
            assert_eq!(autoscaler.limit(), first, "{max}");
            for n in 0..100_u32 {
                let limit = autoscaler.update(&sample(f64::from(n) * 100.0, usize::MAX));
                assert!(limit <= max.max(1), "{limit} of {max}");
            }
            assert_eq!(autoscaler.limit(), max.max(1));
        }
    }

    #[test]
    fn the_limit_grows_while_the_rate_grows_and_all_slots_are_busy() {
        let mut autoscaler = Autoscaler::new(4096);
        assert_eq!(autoscaler.update(&sample(0.0, 256)), 512, "no fetch has completed");
        assert_eq!(autoscaler.update(&sample(1000.0, 300)), 512, "there are free slots");
        assert_eq!(autoscaler.update(&sample(1000.0, 512)), 1024);
        assert_eq!(autoscaler.update(&sample(2000.0, 1024)), 2048);
        for _ in 0..RETRY_SAMPLES - 1 {
            assert_eq!(autoscaler.update(&sample(2010.0, 2048)), 2048, "growth no longer helps");
        }
        assert_eq!(autoscaler.update(&sample(2010.0, 2048)), 4096, "growth is tried again after a while");
    }

    #[test]
    fn any_overload_lowers_the_limit_and_it_recovers_slowly() {
        let calm = sample(1000.0, 64);
        for overloaded in [
            LoadSample { lag: Duration::from_millis(150), ..calm },
            LoadSample { memory: Some(0.01), ..calm },
            LoadSample { descriptors: Some(0.01), ..calm },
        ] {
            let mut autoscaler = Autoscaler::new(64);
            assert_eq!(autoscaler.update(&overloaded), 48, "{overloaded:?}");
            for _ in 0..SETTLE_SAMPLES - 1 {
                assert_eq!(autoscaler.update(&overloaded), 48, "the last change needs time to take effect");
            }
            assert_eq!(autoscaler.update(&overloaded), 36);
            for _ in 0..10_000 {
                autoscaler.update(&overloaded);
            }
            assert_eq!(autoscaler.limit(), MIN_LIMIT);
            for _ in 0..SETTLE_SAMPLES {
                autoscaler.update(&calm);
            }
            assert_eq!(autoscaler.limit(), MIN_LIMIT + 1);
        }
        let unknown = LoadSample { memory: None, descriptors: None, ..calm };
        assert_eq!(Autoscaler::new(64).update(&unknown), 64);
    }
}
