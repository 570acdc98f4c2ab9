//! When a host may be asked next. Pure: state, wish and time in, decision out.

use std::time::Duration;

use tokio::time::Instant;

use super::breaker::{Breaker, Opened, Shut, Way};
use super::speed::Speed;
use crate::kind::ErrorKind;
use crate::politeness::Pace;
use crate::tier::Tier;

/// What is known of one host.
#[derive(Debug, Default)]
pub(super) struct State {
    in_flight: u32,
    /// When the last request began.
    last: Option<Instant>,
    /// Until when the host asked to be left alone.
    rest: Option<Instant>,
    speed: Speed,
    /// One a tier.
    breakers: [Breaker; 3],
}

/// A request that wants to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) tier: Tier,
    pub(super) pace: Pace,
    /// What robots.txt asks for between two requests, where it is obeyed.
    pub(super) crawl_delay: Duration,
    /// Where in the jitter this request lies, from 0 to 1.
    pub(super) draw: f64,
    /// The longest that the site may make it wait at once.
    pub(super) patience: Duration,
    /// When the whole fetch ends.
    pub(super) ends: Option<Instant>,
}

/// What becomes of it now.
#[derive(Debug, PartialEq)]
pub(super) enum Decision {
    Go {
        /// It is to see whether a failing host is back.
        probe: bool,
    },
    /// Ask again at this time.
    At(Instant),
    /// Ask again when a request has ended.
    Full,
    /// The site wants a longer wait than this request may make.
    TooLong(Duration),
    /// The host failed too often on this tier.
    Shut(Shut),
}

/// How a request that went has ended, as far as its host's pace is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With an answer, the first byte after this long, where that is known.
    Answered(Option<Duration>),
    /// With the word that it came too soon.
    TooFast,
    /// The host could not be reached, or did not speak properly.
    Fault(ErrorKind),
    /// With nothing that is the host's doing.
    Untold,
}

/// How soon a host may be asked, as things stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leave {
    /// How long it is to be left alone.
    pub(crate) wait: Duration,
    /// The least time between two requests.
    pub(crate) gap: Duration,
    /// How many at once.
    pub(crate) at_once: u32,
    /// It failed too often; so long until it is tried again. Zero while it is being tried.
    pub(crate) shut: Option<Duration>,
}

/// What became of a host on a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It failed too often, or its probe did.
    Opened(Opened),
    /// It answers again.
    Closed,
}

impl State {
    /// How soon a request may go, whatever its tier.
    pub(super) fn leave(&self, now: Instant, pace: Pace, crawl_delay: Duration) -> Leave {
        let gap = crawl_delay.max(pace.interval).max(self.speed.gap()).min(LONGEST_REST);
        let next = self.last.filter(|_| !gap.is_zero()).map(|last| last + gap).max(self.rest);
        // A host that is shut on one tier may well be asked on another, but a fetch begins with the cheapest.
        let shut = match self.breakers[0].way(now) {
            Way::Shut(shut) => Some(shut.wait),
            Way::Clear | Way::Probe => None,
        };
        Leave {
            wait: next.map_or(Duration::ZERO, |at| at.saturating_duration_since(now)),
            gap,
            at_once: self.speed.at_once(pace.concurrency),
            shut,
        }
    }

    /// Decides, and counts a request that goes.
    pub(super) fn decide(&mut self, now: Instant, wish: &Wish) -> Decision {
        let probe = match self.breaker(wish.tier).way(now) {
            Way::Shut(shut) => return Decision::Shut(shut),
            Way::Probe => true,
            Way::Clear => false,
        };
        if let Some(wait) = self.too_long(now, wish) {
            return Decision::TooLong(wait);
        }
        let earliest = self.earliest(wish.crawl_delay.max(wish.pace.interval), wish);
        if let Some(at) = earliest.filter(|at| *at > now) {
            return Decision::At(at);
        }
        if self.in_flight >= self.speed.at_once(wish.pace.concurrency) {
            return Decision::Full;
        }
        self.in_flight += 1;
        self.last = Some(now);
        if probe {
            self.breaker(wish.tier).probe();
        }
        Decision::Go { probe }
    }

    /// How long the site makes this request wait, when that is longer than it may. The caller's own
    /// pace is no reason: that wait is wanted.
    pub(super) fn too_long(&self, now: Instant, wish: &Wish) -> Option<Duration> {
        let at = self.earliest(wish.crawl_delay, wish)?;
        let wait = at.saturating_duration_since(now);
        let is_late = wish.ends.is_some_and(|ends| at > ends);
        (!wait.is_zero() && (wait > wish.patience || is_late)).then_some(wait)
    }

    /// How long the host is still to be left alone.
    pub(super) fn resting(&self, now: Instant) -> Duration {
        self.rest.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// The host wants to be left alone for `wait`.
    pub(super) fn rest(&mut self, now: Instant, wait: Duration) {
        let until = now + wait.min(LONGEST_REST);
        self.rest = Some(self.rest.map_or(until, |rest| rest.max(until)));
    }

    /// A request that went makes room.
    pub(super) fn left(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// A request that went is over, and has made room: this is how. What that says of the host on its tier, where
    /// it is news.
    pub(super) fn ended(
        &mut self,
        started: Instant,
        now: Instant,
        wish: &Wish,
        probe: bool,
        how: Ended,
    ) -> Option<Turn> {
        match how {
            Ended::Answered(latency) => self.speed.answered(started, now, latency, &wish.pace),
            Ended::TooFast => self.speed.refused(started, now, &wish.pace),
            Ended::Fault(kind) => return self.breaker(wish.tier).failed(kind, probe, now).map(Turn::Opened),
            Ended::Untold => {
                if probe {
                    self.breaker(wish.tier).unprobed();
                }
                return None;
            }
        }
        self.breaker(wish.tier).answered().then_some(Turn::Closed)
    }

    /// Another process found the host failing on `tier`.
    pub(super) fn heard(&mut self, tier: Tier, opened: Opened, now: Instant) {
        self.breaker(tier).heard(opened, now);
    }

    /// Whether nothing is known that matters to the next request.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.in_flight == 0
            && self.resting(now).is_zero()
            && self.last.is_none_or(|last| now.saturating_duration_since(last) > IDLE)
    }

    fn earliest(&self, gap: Duration, wish: &Wish) -> Option<Instant> {
        let gap = gap.max(self.speed.gap()).min(LONGEST_REST).mul_f64(1.0 + wish.pace.jitter * wish.draw);
        let next = self.last.filter(|_| !gap.is_zero()).map(|last| last + gap);
        next.max(self.rest)
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
const LONGEST_REST: Duration = Duration::from_secs(24 * 3600);
/// After so long without a request a host is as good as new.
const IDLE: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn wish(pace: Pace) -> Wish {
        let patience = seconds(60);
        Wish { tier: Tier::Plain, pace, crawl_delay: Duration::ZERO, draw: 0.0, patience, ends: None }
    }

    const GO: Decision = Decision::Go { probe: false };

    #[test]
    fn no_more_than_wished_go_at_once_and_an_ended_one_makes_room() {
        let (mut state, now) = (State::default(), Instant::now());
        let wish = wish(Pace::new().concurrency(2));
        assert_eq!(state.decide(now, &wish), GO);
        assert_eq!(state.decide(now, &wish), GO);
        assert_eq!(state.decide(now, &wish), Decision::Full);
        state.left();
        assert_eq!(state.decide(now, &wish), GO);
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
            let (mut state, now) = (State::default(), Instant::now());
            let pace = Pace::new().interval(seconds(interval)).jitter(jitter);
            let wish = Wish { crawl_delay: seconds(crawl_delay), draw, ..wish(pace) };
            assert_eq!(state.decide(now, &wish), GO, "the first goes at once");
            let at = now + Duration::from_millis(gap);
            let expected = if gap == 0 { GO } else { Decision::At(at) };
            assert_eq!(state.decide(now, &wish), expected, "{interval} {crawl_delay} {jitter} {draw}");
            assert_eq!(state.decide(at, &wish), GO);
        }
    }

    #[test]
    fn a_host_that_asked_for_rest_gets_it_and_who_may_not_wait_is_told() {
        let now = Instant::now();
        for (asked, patience, ends, expected) in [
            (10, 60, None, Decision::At(now + seconds(10))),
            (60, 60, None, Decision::At(now + seconds(60))),
            (61, 60, None, Decision::TooLong(seconds(61))),
            (10, 60, Some(11), Decision::At(now + seconds(10))),
            (10, 60, Some(9), Decision::TooLong(seconds(10))),
            (1_000_000, 60, None, Decision::TooLong(LONGEST_REST)),
        ] {
            let mut state = State::default();
            state.rest(now, seconds(asked));
            state.rest(now, seconds(1));
            let ends = ends.map(|ends| now + seconds(ends));
            let wish = Wish { patience: seconds(patience), ends, ..wish(Pace::new()) };
            assert_eq!(state.decide(now, &wish), expected, "{asked} {patience} {ends:?}");
            assert_eq!(state.decide(now + LONGEST_REST, &Wish { ends: None, ..wish }), GO);
        }
    }

    #[test]
    fn the_callers_own_pace_is_waited_for_however_long_and_the_sites_is_not() {
        let (mut state, now) = (State::default(), Instant::now());
        let own = wish(Pace::new().interval(seconds(600)));
        assert_eq!(state.decide(now, &own), GO);
        assert_eq!(state.decide(now, &own), Decision::At(now + seconds(600)));
        let theirs = Wish { crawl_delay: seconds(600), ..wish(Pace::new()) };
        assert_eq!(state.decide(now, &theirs), Decision::TooLong(seconds(600)));
    }

    #[test]
    fn faults_shut_one_tier_and_neither_blocks_nor_other_tiers_do() {
        let (mut state, now) = (State::default(), Instant::now());
        let plain = wish(Pace::new());
        for how in [Ended::Answered(None), Ended::Untold, Ended::Fault(ErrorKind::Connect)] {
            for _ in 0..5 {
                assert_eq!(state.decide(now, &plain), GO, "{how:?}");
                state.left();
                state.ended(now, now, &plain, false, how);
            }
        }
        assert!(matches!(state.decide(now, &plain), Decision::Shut(shut) if shut.faults == 5));
        assert_eq!(state.decide(now, &Wish { tier: Tier::Impersonate, ..plain }), GO);
        let later = now + seconds(10);
        assert_eq!(state.decide(later, &plain), Decision::Go { probe: true });
        assert!(matches!(state.decide(later, &plain), Decision::Shut(_)), "one probe at a time");
        state.left();
        state.ended(later, later, &plain, true, Ended::Answered(None));
        assert_eq!(state.decide(later, &plain), GO);
    }
}
