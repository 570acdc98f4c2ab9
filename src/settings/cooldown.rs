//! A wait that doubles as long as its cause lasts: circuit breakers, proxies and sites that refuse. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// How long cooldowns of one kind last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CooldownPolicy {
    /// The length of the first cooldown. Each failure after a cooldown doubles it.
    pub(crate) first: Duration,
    pub(crate) max: Duration,
    /// After this long without a result, another probe may be sent. `None`: never.
    pub(crate) probe_timeout: Option<Duration>,
}

impl CooldownPolicy {
    /// Returns the length of the cooldown after `failures` failures in a row.
    pub(crate) fn length(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.max)
    }

    /// Begins a first cooldown.
    pub(crate) fn begin(&'static self, now: Instant) -> Cooldown {
        self.resume(self.first, self.first, now)
    }

    /// Begins a cooldown of length `lasts`, of which `wait` is left. Values outside the policy's limits are clamped.
    pub(crate) fn resume(&'static self, wait: Duration, lasts: Duration, now: Instant) -> Cooldown {
        let lasts = lasts.clamp(self.first, self.max);
        Cooldown { policy: self, until: now + wait.min(self.max), lasts, probe_started: None }
    }
}

/// A running cooldown, and the probe after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cooldown {
    policy: &'static CooldownPolicy,
    until: Instant,
    lasts: Duration,
    probe_started: Option<Instant>,
}

/// The state of a cooldown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CooldownState {
    /// It ends after this time.
    Waiting(Duration),
    /// It is over. One probe may be sent.
    ProbeDue,
    /// A probe is running.
    Probing,
}

impl Cooldown {
    /// Returns the state at `now`.
    pub(crate) fn state(&self, now: Instant) -> CooldownState {
        let is_current = |since| {
            self.policy.probe_timeout.is_none_or(|limit| now.saturating_duration_since(since) < limit)
        };
        if self.probe_started.is_some_and(is_current) {
            return CooldownState::Probing;
        }
        match self.until.saturating_duration_since(now) {
            Duration::ZERO => CooldownState::ProbeDue,
            wait => CooldownState::Waiting(wait),
        }
    }

    /// Returns when the cooldown ends.
    pub(crate) const fn until(&self) -> Instant {
        self.until
    }

    /// Returns the whole length of the cooldown.
    pub(crate) const fn length(&self) -> Duration {
        self.lasts
    }

    /// Records that a probe is sent.
    pub(crate) const fn begin_probe(&mut self, now: Instant) {
        self.probe_started = Some(now);
    }

    /// Records that the probe ended without a result.
    pub(crate) const fn cancel_probe(&mut self) {
        self.probe_started = None;
    }

    /// Begins the next cooldown, twice as long, because the probe failed.
    #[must_use]
    pub(crate) fn doubled(self, now: Instant) -> Self {
        let lasts = self.lasts.saturating_mul(2).min(self.policy.max);
        Self { until: now + lasts, lasts, probe_started: None, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static POLICY: CooldownPolicy = CooldownPolicy {
        first: Duration::from_secs(10),
        max: Duration::from_secs(60),
        probe_timeout: Some(Duration::from_secs(5)),
    };

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn each_failed_probe_doubles_the_length_up_to_the_limit() {
        let mut now = Instant::now();
        let mut cooldown = POLICY.begin(now);
        for (failures, length) in [(1, 10), (2, 20), (3, 40), (4, 60), (5, 60)] {
            let length = seconds(length);
            assert_eq!((cooldown.length(), POLICY.length(failures)), (length, length));
            assert_eq!(cooldown.state(now), CooldownState::Waiting(length));
            now += length;
            assert_eq!(cooldown.state(now), CooldownState::ProbeDue);
            cooldown = cooldown.doubled(now);
        }
        assert_eq!((POLICY.length(0), POLICY.length(u32::MAX)), (seconds(10), seconds(60)));
    }

    #[test]
    fn one_probe_runs_at_a_time_until_it_ends_or_takes_too_long() {
        let now = Instant::now();
        let mut cooldown = POLICY.begin(now);
        let now = now + seconds(10);
        cooldown.begin_probe(now);
        assert_eq!(cooldown.state(now + seconds(4)), CooldownState::Probing);
        assert_eq!(cooldown.state(now + seconds(5)), CooldownState::ProbeDue);
        cooldown.cancel_probe();
        assert_eq!(cooldown.state(now), CooldownState::ProbeDue);
    }

    #[test]
    fn a_cooldown_from_elsewhere_is_clamped() {
        let now = Instant::now();
        let cooldown = POLICY.resume(Duration::MAX, Duration::ZERO, now);
        assert_eq!(cooldown.state(now), CooldownState::Waiting(seconds(60)));
        assert_eq!(cooldown.doubled(now).length(), seconds(20));
    }
}
