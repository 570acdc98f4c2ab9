//! How many fetches at once do good. Pure: what was measured in, a number out.
//!
//! It begins at the wished number, or at 256 where that is more, and grows while growing helps. A machine that
//! comes late to its own clock, or runs out of memory or of file descriptors, has too much to do.

use std::time::Duration;

/// What was measured since the last time.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoadSample {
    /// Fetches that ended, a second.
    pub(super) rate: f64,
    /// Fetches that work now.
    pub(super) working: usize,
    /// How late a timer was.
    pub(super) lag: Duration,
    /// The part of memory that is left, from 0 to 1, where that is known.
    pub(super) memory: Option<f64>,
    /// The part of file descriptors that is left, likewise.
    pub(super) descriptors: Option<f64>,
}

/// The number and what it was found by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Autoscaler {
    limit: usize,
    max: usize,
    /// The best rate at fewer than now.
    best_rate: f64,
    /// Samples since it changed.
    samples_since_change: u32,
    /// Whether it was ever too much.
    was_overloaded: bool,
}

impl Autoscaler {
    pub(super) fn new(most: usize) -> Self {
        Self {
            limit: most.clamp(1, INITIAL_LIMIT),
            max: most.max(1),
            best_rate: 0.0,
            samples_since_change: 0,
            was_overloaded: false,
        }
    }

    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    /// Takes a sample in, one every [`TICK`].
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
        // Until the first fetches have ended there is no rate to go by.
        let helps = sample.rate <= 0.0 || sample.rate > self.best_rate * 1.05;
        let patience = if self.was_overloaded { SETTLE_SAMPLES } else { 1 };
        if self.limit < self.max
            && is_full
            && self.samples_since_change >= patience
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
    let scarce = |left: Option<f64>| left.is_some_and(|left| left < MIN_FREE);
    sample.lag > MAX_LAG || scarce(sample.memory) || scarce(sample.descriptors)
}

/// How often it is asked.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// Where it begins.
const INITIAL_LIMIT: usize = 256;
/// It goes no lower.
const MIN_LIMIT: usize = 4;
/// A timer this late tells of too much to do.
const MAX_LAG: Duration = Duration::from_millis(100);
/// This part of memory or of file descriptors must stay free.
const MIN_FREE: f64 = 0.05;
/// Samples until a change has shown what it does.
const SETTLE_SAMPLES: u32 = 10;
/// Samples until growing is tried again where it did not help.
const RETRY_SAMPLES: u32 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rate: f64, working: usize) -> LoadSample {
        LoadSample { rate, working, lag: Duration::ZERO, memory: Some(0.5), descriptors: Some(0.5) }
    }

    #[test]
    fn it_begins_at_the_wished_number_and_never_goes_above_it() {
        for (most, first) in [(0, 1), (1, 1), (64, 64), (256, 256), (1000, 256)] {
            let mut throttle = Autoscaler::new(most);
            assert_eq!(throttle.limit(), first, "{most}");
            for n in 0..100_u32 {
                let limit = throttle.update(&sample(f64::from(n) * 100.0, usize::MAX));
                assert!(limit <= most.max(1), "{limit} of {most}");
            }
            assert_eq!(throttle.limit(), most.max(1));
        }
    }

    #[test]
    fn it_grows_while_growing_helps_and_only_when_all_are_busy() {
        let mut throttle = Autoscaler::new(4096);
        assert_eq!(throttle.update(&sample(0.0, 256)), 512, "nothing has ended yet");
        assert_eq!(throttle.update(&sample(1000.0, 300)), 512, "there are places free");
        assert_eq!(throttle.update(&sample(1000.0, 512)), 1024);
        assert_eq!(throttle.update(&sample(2000.0, 1024)), 2048);
        for _ in 0..RETRY_SAMPLES - 1 {
            assert_eq!(throttle.update(&sample(2010.0, 2048)), 2048, "it no longer helps");
        }
        assert_eq!(throttle.update(&sample(2010.0, 2048)), 4096, "it is tried again after a while");
    }

    #[test]
    fn pressure_of_any_kind_makes_it_smaller_and_it_comes_back_slowly() {
        let calm = sample(1000.0, 64);
        for pressed in [
            LoadSample { lag: Duration::from_millis(150), ..calm },
            LoadSample { memory: Some(0.01), ..calm },
            LoadSample { descriptors: Some(0.01), ..calm },
        ] {
            let mut throttle = Autoscaler::new(64);
            assert_eq!(throttle.update(&pressed), 48, "{pressed:?}");
            for _ in 0..SETTLE_SAMPLES - 1 {
                assert_eq!(throttle.update(&pressed), 48, "what was done is given time to show");
            }
            assert_eq!(throttle.update(&pressed), 36);
            for _ in 0..10_000 {
                throttle.update(&pressed);
            }
            assert_eq!(throttle.limit(), MIN_LIMIT);
            for _ in 0..SETTLE_SAMPLES {
                throttle.update(&calm);
            }
            assert_eq!(throttle.limit(), MIN_LIMIT + 1);
        }
        let unknown = LoadSample { memory: None, descriptors: None, ..calm };
        assert_eq!(Autoscaler::new(64).update(&unknown), 64);
    }
}
