//! When a host may be asked next. Pure: state, wish and time in, decision out.

use std::time::Duration;

use tokio::time::Instant;

use super::adaptive::AimdController;
use super::breaker::{Breaker, BreakerOpened, BreakerState, OpenReason};
use crate::error_kind::ErrorKind;
use crate::rate_limit::RateLimit;
use crate::tier::Tier;

/// What is known of one host.
#[derive(Debug, Default)]
pub(super) struct HostState {
    in_flight: u32,
    /// When the last request began.
    last_started: Option<Instant>,
    /// Until when the host asked to be left alone.
    rest_until: Option<Instant>,
    pacing: AimdController,
    /// One a tier.
    breakers: [Breaker; 3],
}

/// A request that wants to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct AdmissionRequest {
    pub(super) tier: Tier,
    pub(super) rate_limit: RateLimit,
    /// What robots.txt asks for between two requests, where it is obeyed.
    pub(super) crawl_delay: Duration,
    /// Where in the jitter this request lies, from 0 to 1.
    pub(super) jitter_draw: f64,
    /// The longest that the site may make it wait at once.
    pub(super) max_wait: Duration,
    /// When the whole fetch ends.
    pub(super) deadline: Option<Instant>,
}

/// What becomes of it now.
#[derive(Debug, PartialEq)]
pub(super) enum Admission {
    Granted {
        /// It is to see whether a failing host is back.
        is_probe: bool,
    },
    /// Ask again at this time.
    RetryAt(Instant),
    /// Ask again when a request has ended.
    AtCapacity,
    /// The site wants a longer wait than this request may make.
    TooLong(Duration),
    /// The host failed too often on this tier.
    CircuitOpen(OpenReason),
}

/// How a request that went has ended, as far as its host's pace is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    /// With an answer, the first byte after this long, where that is known.
    Answered(Option<Duration>),
    /// With the word that it came too soon.
    RateLimited,
    /// The host could not be reached, or did not speak properly.
    Fault(ErrorKind),
    /// With nothing that is the host's doing.
    Unknown,
}

/// How soon a host may be asked, as things stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostReadiness {
    /// How long it is to be left alone.
    pub(crate) wait: Duration,
    /// The least time between two requests.
    pub(crate) min_interval: Duration,
    /// How many at once.
    pub(crate) concurrency: u32,
    /// It failed too often; so long until it is tried again. Zero while it is being tried.
    pub(crate) circuit_open_for: Option<Duration>,
}

/// What became of a host on a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BreakerEvent {
    /// It failed too often, or its probe did.
    Opened(BreakerOpened),
    /// It answers again.
    Closed,
}

impl HostState {
    /// How soon a request may go, whatever its tier.
    pub(super) fn readiness(&self, now: Instant, pace: RateLimit, crawl_delay: Duration) -> HostReadiness {
        let gap = crawl_delay.max(pace.interval).max(self.pacing.min_interval()).min(MAX_REST);
        let next = self.last_started.filter(|_| !gap.is_zero()).map(|last| last + gap).max(self.rest_until);
        // A host that is shut on one tier may well be asked on another, but a fetch begins with the cheapest.
        let shut = match self.breakers[0].state(now) {
            BreakerState::Open(shut) => Some(shut.wait),
            BreakerState::Closed | BreakerState::HalfOpen => None,
        };
        HostReadiness {
            wait: next.map_or(Duration::ZERO, |at| at.saturating_duration_since(now)),
            min_interval: gap,
            concurrency: self.pacing.concurrency(pace.concurrency),
            circuit_open_for: shut,
        }
    }

    /// Decides, and counts a request that goes.
    pub(super) fn admit(&mut self, now: Instant, wish: &AdmissionRequest) -> Admission {
        let probe = match self.breaker(wish.tier).state(now) {
            BreakerState::Open(shut) => return Admission::CircuitOpen(shut),
            BreakerState::HalfOpen => true,
            BreakerState::Closed => false,
        };
        if let Some(wait) = self.excessive_wait(now, wish) {
            return Admission::TooLong(wait);
        }
        let earliest = self.earliest_start(wish.crawl_delay.max(wish.rate_limit.interval), wish);
        if let Some(at) = earliest.filter(|at| *at > now) {
            return Admission::RetryAt(at);
        }
        if self.in_flight >= self.pacing.concurrency(wish.rate_limit.concurrency) {
            return Admission::AtCapacity;
        }
        self.in_flight += 1;
        self.last_started = Some(now);
        if probe {
            self.breaker(wish.tier).begin_probe();
        }
        Admission::Granted { is_probe: probe }
    }

    /// How long the site makes this request wait, when that is longer than it may. The caller's own
    /// pace is no reason: that wait is wanted.
    pub(super) fn excessive_wait(&self, now: Instant, wish: &AdmissionRequest) -> Option<Duration> {
        let at = self.earliest_start(wish.crawl_delay, wish)?;
        let wait = at.saturating_duration_since(now);
        let is_late = wish.deadline.is_some_and(|ends| at > ends);
        (!wait.is_zero() && (wait > wish.max_wait || is_late)).then_some(wait)
    }

    /// How long the host is still to be left alone.
    pub(super) fn rest_remaining(&self, now: Instant) -> Duration {
        self.rest_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// The host wants to be left alone for `wait`.
    pub(super) fn extend_rest(&mut self, now: Instant, wait: Duration) {
        let until = now + wait.min(MAX_REST);
        self.rest_until = Some(self.rest_until.map_or(until, |rest| rest.max(until)));
    }

    /// A request that went makes room.
    pub(super) fn release(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// A request that went is over, and has made room: this is how. What that says of the host on its tier, where
    /// it is news.
    pub(super) fn record_outcome(
        &mut self,
        started: Instant,
        now: Instant,
        wish: &AdmissionRequest,
        probe: bool,
        how: RequestOutcome,
    ) -> Option<BreakerEvent> {
        match how {
            RequestOutcome::Answered(latency) => {
                self.pacing.on_success(started, now, latency, &wish.rate_limit)
            }
            RequestOutcome::RateLimited => self.pacing.on_rate_limited(started, now, &wish.rate_limit),
            RequestOutcome::Fault(kind) => {
                return self.breaker(wish.tier).record_fault(kind, probe, now).map(BreakerEvent::Opened);
            }
            RequestOutcome::Unknown => {
                if probe {
                    self.breaker(wish.tier).cancel_probe();
                }
                return None;
            }
        }
        self.breaker(wish.tier).record_success().then_some(BreakerEvent::Closed)
    }

    /// Another process found the host failing on `tier`.
    pub(super) fn import_circuit(&mut self, tier: Tier, opened: BreakerOpened, now: Instant) {
        self.breaker(tier).import(opened, now);
    }

    /// Whether nothing is known that matters to the next request.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.in_flight == 0
            && self.rest_remaining(now).is_zero()
            && self.last_started.is_none_or(|last| now.saturating_duration_since(last) > IDLE_TIMEOUT)
    }

    fn earliest_start(&self, gap: Duration, wish: &AdmissionRequest) -> Option<Instant> {
        let gap = gap
            .max(self.pacing.min_interval())
            .min(MAX_REST)
            .mul_f64(1.0 + wish.rate_limit.jitter * wish.jitter_draw);
        let next = self.last_started.filter(|_| !gap.is_zero()).map(|last| last + gap);
        next.max(self.rest_until)
    }

    fn breaker(&mut self, tier: Tier) -> &mut Breaker {
        &mut self.breakers[match tier {
            Tier::Plain => 0,
            Tier::Impersonate => 1,
            Tier::Browser => 2,
        }]
    }
}

/// A site is believed when it asks for up to a day.
const MAX_REST: Duration = Duration::from_secs(24 * 3600);
/// After so long without a request a host is as good as new.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn admission_request(pace: RateLimit) -> AdmissionRequest {
        let patience = seconds(60);
        AdmissionRequest {
            tier: Tier::Plain,
            rate_limit: pace,
            crawl_delay: Duration::ZERO,
            jitter_draw: 0.0,
            max_wait: patience,
            deadline: None,
        }
    }

    const GO: Admission = Admission::Granted { is_probe: false };

    #[test]
    fn no_more_than_wished_go_at_once_and_an_ended_one_makes_room() {
        let (mut state, now) = (HostState::default(), Instant::now());
        let wish = admission_request(RateLimit::new().concurrency(2));
        assert_eq!(state.admit(now, &wish), GO);
        assert_eq!(state.admit(now, &wish), GO);
        assert_eq!(state.admit(now, &wish), Admission::AtCapacity);
        state.release();
        assert_eq!(state.admit(now, &wish), GO);
    }

    #[test]
    fn the_longest_of_interval_crawl_delay_and_jitter_parts_two_requests() {
        for (interval, crawl_delay, jitter, draw, gap) in [
            (0, 0, 0.0, 0.0, 0),
            (2, 0, 0.0, 0.9, 2_000),
            (2, 0, 0.5, 0.0, 2_000),
            (2, 0, 0.5, 1.0, 3_000),
            (2, 5, 0.0, 0.0, 5_000),
            (7, 5, 0.0, 0.0, 7_000),
        ] {
            let (mut state, now) = (HostState::default(), Instant::now());
            let pace = RateLimit::new().interval(seconds(interval)).jitter(jitter);
            let wish = AdmissionRequest {
                crawl_delay: seconds(crawl_delay),
                jitter_draw: draw,
                ..admission_request(pace)
            };
            assert_eq!(state.admit(now, &wish), GO, "the first goes at once");
            let at = now + Duration::from_millis(gap);
            let expected = if gap == 0 { GO } else { Admission::RetryAt(at) };
            assert_eq!(state.admit(now, &wish), expected, "{interval} {crawl_delay} {jitter} {draw}");
            assert_eq!(state.admit(at, &wish), GO);
        }
    }

    #[test]
    fn a_host_that_asked_for_rest_gets_it_and_a_request_that_may_not_wait_fails() {
        let now = Instant::now();
        for (asked, patience, ends, expected) in [
            (10, 60, None, Admission::RetryAt(now + seconds(10))),
            (60, 60, None, Admission::RetryAt(now + seconds(60))),
            (61, 60, None, Admission::TooLong(seconds(61))),
            (10, 60, Some(11), Admission::RetryAt(now + seconds(10))),
            (10, 60, Some(9), Admission::TooLong(seconds(10))),
            (1_000_000, 60, None, Admission::TooLong(MAX_REST)),
        ] {
            let mut state = HostState::default();
            state.extend_rest(now, seconds(asked));
            state.extend_rest(now, seconds(1));
            let ends = ends.map(|ends| now + seconds(ends));
            let wish = AdmissionRequest {
                max_wait: seconds(patience),
                deadline: ends,
                ..admission_request(RateLimit::new())
            };
            assert_eq!(state.admit(now, &wish), expected, "{asked} {patience} {ends:?}");
            assert_eq!(state.admit(now + MAX_REST, &AdmissionRequest { deadline: None, ..wish }), GO);
        }
    }

    #[test]
    fn the_callers_own_pace_is_waited_for_however_long_and_the_sites_is_not() {
        let (mut state, now) = (HostState::default(), Instant::now());
        let own = admission_request(RateLimit::new().interval(seconds(600)));
        assert_eq!(state.admit(now, &own), GO);
        assert_eq!(state.admit(now, &own), Admission::RetryAt(now + seconds(600)));
        let theirs = AdmissionRequest { crawl_delay: seconds(600), ..admission_request(RateLimit::new()) };
        assert_eq!(state.admit(now, &theirs), Admission::TooLong(seconds(600)));
    }

    #[test]
    fn faults_shut_one_tier_and_neither_blocks_nor_other_tiers_do() {
        let (mut state, now) = (HostState::default(), Instant::now());
        let plain = admission_request(RateLimit::new());
        for how in [
            RequestOutcome::Answered(None),
            RequestOutcome::Unknown,
            RequestOutcome::Fault(ErrorKind::Connect),
        ] {
            for _ in 0..5 {
                assert_eq!(state.admit(now, &plain), GO, "{how:?}");
                state.release();
                state.record_outcome(now, now, &plain, false, how);
            }
        }
        assert!(matches!(state.admit(now, &plain), Admission::CircuitOpen(shut) if shut.faults == 5));
        assert_eq!(state.admit(now, &AdmissionRequest { tier: Tier::Impersonate, ..plain }), GO);
        let later = now + seconds(10);
        assert_eq!(state.admit(later, &plain), Admission::Granted { is_probe: true });
        assert!(matches!(state.admit(later, &plain), Admission::CircuitOpen(_)), "one probe at a time");
        state.release();
        state.record_outcome(later, later, &plain, true, RequestOutcome::Answered(None));
        assert_eq!(state.admit(later, &plain), GO);
    }
}
