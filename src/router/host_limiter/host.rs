//! Decides when a host may be requested next. Pure: state, request and time in, decision out.

use std::time::Duration;

use tokio::time::Instant;

use super::adaptive::AimdController;
use super::breaker::{Breaker, BreakerOpened, BreakerState, OpenReason};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::tier::Tier;
use crate::settings::rate_limit::RateLimit;

/// The state of one host.
#[derive(Debug, Default)]
pub(super) struct HostState {
    in_flight: u32,
    /// When the last request began.
    last_started: Option<Instant>,
    /// The end of the delay that the host requested (`Retry-After`).
    retry_after_until: Option<Instant>,
    pacing: AimdController,
    /// One per tier.
    breakers: [Breaker; 3],
}

/// A request that waits for admission.
#[derive(Clone, Copy, Debug)]
pub(super) struct AdmissionRequest {
    pub(super) tier: Tier,
    pub(super) rate_limit: RateLimit,
    /// The `Crawl-delay` of robots.txt, where it is obeyed.
    pub(super) crawl_delay: Duration,
    /// The random position in the jitter, from 0 to 1.
    pub(super) jitter_draw: f64,
    /// The longest delay that the site may impose.
    pub(super) max_wait: Duration,
    /// The deadline of the whole fetch.
    pub(super) deadline: Option<Instant>,
}

/// The decision on a request.
#[derive(Debug, PartialEq)]
pub(super) enum Admission {
    Granted {
        /// Whether the request probes a host that failed before.
        is_probe: bool,
    },
    /// Try again at this time.
    RetryAt(Instant),
    /// Try again when a request has ended.
    AtCapacity,
    /// The site imposes a longer delay than this request may wait.
    TooLong(Duration),
    /// The host's circuit is open on this tier.
    CircuitOpen(OpenReason),
}

/// How an admitted request ended, as far as the host's rate is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    /// The host responded; the time to the first byte, if known.
    Answered(Option<Duration>),
    /// The host responded that requests come too fast.
    RateLimited,
    /// The host could not be reached, or violated the protocol.
    Fault(ErrorKind),
    /// The outcome says nothing about the host.
    Unknown,
}

/// When and how often a host may be requested at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostReadiness {
    /// The time until the next request may be sent.
    pub(crate) wait: Duration,
    /// The minimum time between two requests.
    pub(crate) min_interval: Duration,
    /// The allowed concurrency.
    pub(crate) concurrency: u32,
    /// The time until the host is probed, while its circuit is open. Zero while the probe is running.
    pub(crate) circuit_open_for: Option<Duration>,
}

/// A change of a host's circuit on one tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BreakerEvent {
    /// The circuit opened, because of too many faults or a failed probe.
    Opened(BreakerOpened),
    /// The circuit closed: the host responds again.
    Closed,
}

impl HostState {
    /// Returns when and how often the host may be requested, on any tier.
    pub(super) fn readiness(
        &self,
        now: Instant,
        rate_limit: RateLimit,
        crawl_delay: Duration,
    ) -> HostReadiness {
        let interval =
            crawl_delay.max(rate_limit.interval).max(self.pacing.min_interval()).min(MAX_RETRY_AFTER);
        let earliest = self
            .last_started
            .filter(|_| !interval.is_zero())
            .map(|last| last + interval)
            .max(self.retry_after_until);
        // Only the circuit of the cheapest tier counts, because a fetch begins with it.
        let open = match self.breakers[0].state(now) {
            BreakerState::Open(open) => Some(open.wait),
            BreakerState::Closed | BreakerState::HalfOpen => None,
        };
        HostReadiness {
            wait: earliest.map_or(Duration::ZERO, |at| at.saturating_duration_since(now)),
            min_interval: interval,
            concurrency: self.pacing.concurrency(rate_limit.concurrency),
            circuit_open_for: open,
        }
    }

    /// Decides on a request, and counts it when it is admitted.
    pub(super) fn admit(&mut self, now: Instant, request: &AdmissionRequest) -> Admission {
        let is_probe = match self.breaker(request.tier).state(now) {
            BreakerState::Open(reason) => return Admission::CircuitOpen(reason),
            BreakerState::HalfOpen => true,
            BreakerState::Closed => false,
        };
        if let Some(wait) = self.excessive_wait(now, request) {
            return Admission::TooLong(wait);
        }
        let earliest = self.earliest_start(request.crawl_delay.max(request.rate_limit.interval), request);
        if let Some(at) = earliest.filter(|at| *at > now) {
            return Admission::RetryAt(at);
        }
        if self.in_flight >= self.pacing.concurrency(request.rate_limit.concurrency) {
            return Admission::AtCapacity;
        }
        self.in_flight += 1;
        self.last_started = Some(now);
        if is_probe {
            self.breaker(request.tier).begin_probe(now);
        }
        Admission::Granted { is_probe }
    }

    /// The delay that the site imposes on this request, when the request may not wait so long. The caller's
    /// own rate limit does not count: that delay is intended.
    pub(super) fn excessive_wait(&self, now: Instant, request: &AdmissionRequest) -> Option<Duration> {
        let at = self.earliest_start(request.crawl_delay, request)?;
        let wait = at.saturating_duration_since(now);
        let is_late = request.deadline.is_some_and(|deadline| at > deadline);
        (!wait.is_zero() && (wait > request.max_wait || is_late)).then_some(wait)
    }

    /// The remaining delay that the host requested.
    pub(super) fn retry_after_remaining(&self, now: Instant) -> Duration {
        self.retry_after_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Records that the host requested a delay of `wait`.
    pub(super) fn extend_retry_after(&mut self, now: Instant, wait: Duration) {
        let until = now + wait.min(MAX_RETRY_AFTER);
        self.retry_after_until = Some(self.retry_after_until.map_or(until, |rest| rest.max(until)));
    }

    /// Frees the concurrency slot of an admitted request.
    pub(super) fn release(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Records how an admitted request ended. Its slot is freed already. Returns a change of the host's
    /// circuit, if any.
    pub(super) fn record_outcome(
        &mut self,
        started: Instant,
        now: Instant,
        request: &AdmissionRequest,
        is_probe: bool,
        outcome: RequestOutcome,
    ) -> Option<BreakerEvent> {
        match outcome {
            RequestOutcome::Answered(latency) => {
                self.pacing.on_success(started, now, latency, &request.rate_limit);
            }
            RequestOutcome::RateLimited => self.pacing.on_rate_limited(started, now, &request.rate_limit),
            RequestOutcome::Fault(kind) => {
                return self
                    .breaker(request.tier)
                    .record_fault(kind, is_probe, now)
                    .map(BreakerEvent::Opened);
            }
            RequestOutcome::Unknown => {
                if is_probe {
                    self.breaker(request.tier).cancel_probe();
                }
                return None;
            }
        }
        self.breaker(request.tier).record_success().then_some(BreakerEvent::Closed)
    }

    /// Adopts a circuit that another process opened on `tier`.
    pub(super) fn import_circuit(&mut self, tier: Tier, opened: BreakerOpened, now: Instant) {
        self.breaker(tier).import(opened, now);
    }

    /// Whether the state has no effect on the next request.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.in_flight == 0
            && self.retry_after_remaining(now).is_zero()
            && self.last_started.is_none_or(|last| now.saturating_duration_since(last) > IDLE_TIMEOUT)
    }

    fn earliest_start(&self, interval: Duration, request: &AdmissionRequest) -> Option<Instant> {
        let interval = interval
            .max(self.pacing.min_interval())
            .min(MAX_RETRY_AFTER)
            .mul_f64(1.0 + request.rate_limit.jitter * request.jitter_draw);
        let next = self.last_started.filter(|_| !interval.is_zero()).map(|last| last + interval);
        next.max(self.retry_after_until)
    }

    fn breaker(&mut self, tier: Tier) -> &mut Breaker {
        &mut self.breakers[match tier {
            Tier::Plain => 0,
            Tier::Impersonate => 1,
            Tier::Browser => 2,
        }]
    }
}

/// The longest delay that a site may request.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);
/// After this long without a request, a host's state is dropped.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn admission_request(rate_limit: RateLimit) -> AdmissionRequest {
        let max_wait = seconds(60);
        AdmissionRequest {
            tier: Tier::Plain,
            rate_limit,
            crawl_delay: Duration::ZERO,
            jitter_draw: 0.0,
            max_wait,
            deadline: None,
        }
    }

    const GRANTED: Admission = Admission::Granted { is_probe: false };

    #[test]
    fn concurrency_is_limited_and_a_released_slot_admits_the_next_request() {
        let (mut state, now) = (HostState::default(), Instant::now());
        let request = admission_request(RateLimit::new().concurrency(2));
        assert_eq!(state.admit(now, &request), GRANTED);
        assert_eq!(state.admit(now, &request), GRANTED);
        assert_eq!(state.admit(now, &request), Admission::AtCapacity);
        state.release();
        assert_eq!(state.admit(now, &request), GRANTED);
    }

    #[test]
    fn requests_are_spaced_by_the_longest_of_interval_crawl_delay_and_jitter() {
        for (interval, crawl_delay, jitter, draw, gap) in [
            (0, 0, 0.0, 0.0, 0),
            (2, 0, 0.0, 0.9, 2_000),
            (2, 0, 0.5, 0.0, 2_000),
            (2, 0, 0.5, 1.0, 3_000),
            (2, 5, 0.0, 0.0, 5_000),
            (7, 5, 0.0, 0.0, 7_000),
        ] {
            let (mut state, now) = (HostState::default(), Instant::now());
            let rate_limit = RateLimit::new().interval(seconds(interval)).jitter(jitter);
            let request = AdmissionRequest {
                crawl_delay: seconds(crawl_delay),
                jitter_draw: draw,
                ..admission_request(rate_limit)
            };
            assert_eq!(state.admit(now, &request), GRANTED, "the first is sent at once");
            let at = now + Duration::from_millis(gap);
            let expected = if gap == 0 { GRANTED } else { Admission::RetryAt(at) };
            assert_eq!(state.admit(now, &request), expected, "{interval} {crawl_delay} {jitter} {draw}");
            assert_eq!(state.admit(at, &request), GRANTED);
        }
    }

    #[test]
    fn a_requested_delay_is_kept_and_a_request_that_may_not_wait_fails() {
        let now = Instant::now();
        for (asked, max_wait, deadline, expected) in [
            (10, 60, None, Admission::RetryAt(now + seconds(10))),
            (60, 60, None, Admission::RetryAt(now + seconds(60))),
            (61, 60, None, Admission::TooLong(seconds(61))),
            (10, 60, Some(11), Admission::RetryAt(now + seconds(10))),
            (10, 60, Some(9), Admission::TooLong(seconds(10))),
            (1_000_000, 60, None, Admission::TooLong(MAX_RETRY_AFTER)),
        ] {
            let mut state = HostState::default();
            state.extend_retry_after(now, seconds(asked));
            state.extend_retry_after(now, seconds(1));
            let deadline = deadline.map(|deadline| now + seconds(deadline));
            let request = AdmissionRequest {
                max_wait: seconds(max_wait),
                deadline,
                ..admission_request(RateLimit::new())
            };
            assert_eq!(state.admit(now, &request), expected, "{asked} {max_wait} {deadline:?}");
            assert_eq!(
                state.admit(now + MAX_RETRY_AFTER, &AdmissionRequest { deadline: None, ..request }),
                GRANTED
            );
        }
    }

    #[test]
    fn the_callers_own_interval_may_be_longer_than_the_delay_a_site_may_impose() {
        let (mut state, now) = (HostState::default(), Instant::now());
        let own = admission_request(RateLimit::new().interval(seconds(600)));
        assert_eq!(state.admit(now, &own), GRANTED);
        assert_eq!(state.admit(now, &own), Admission::RetryAt(now + seconds(600)));
        let theirs = AdmissionRequest { crawl_delay: seconds(600), ..admission_request(RateLimit::new()) };
        assert_eq!(state.admit(now, &theirs), Admission::TooLong(seconds(600)));
    }

    #[test]
    fn faults_open_the_circuit_of_one_tier_only_and_responses_do_not() {
        let (mut state, now) = (HostState::default(), Instant::now());
        let plain = admission_request(RateLimit::new());
        for outcome in [
            RequestOutcome::Answered(None),
            RequestOutcome::Unknown,
            RequestOutcome::Fault(ErrorKind::Connect),
        ] {
            for _ in 0..5 {
                assert_eq!(state.admit(now, &plain), GRANTED, "{outcome:?}");
                state.release();
                state.record_outcome(now, now, &plain, false, outcome);
            }
        }
        assert!(matches!(state.admit(now, &plain), Admission::CircuitOpen(reason) if reason.faults == 5));
        assert_eq!(state.admit(now, &AdmissionRequest { tier: Tier::Impersonate, ..plain }), GRANTED);
        let later = now + seconds(10);
        assert_eq!(state.admit(later, &plain), Admission::Granted { is_probe: true });
        assert!(matches!(state.admit(later, &plain), Admission::CircuitOpen(_)), "one probe at a time");
        state.release();
        state.record_outcome(later, later, &plain, true, RequestOutcome::Answered(None));
        assert_eq!(state.admit(later, &plain), GRANTED);
    }
}
