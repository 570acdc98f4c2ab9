//! A host that keeps failing on a tier is left alone for a while. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::error_kind::ErrorKind;

/// One host's circuit on one tier. Faults open it, answers of any kind close it: a block is an answer.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Faults in a row.
    faults: u32,
    open: Option<OpenState>,
}

#[derive(Debug)]
struct OpenState {
    until: Instant,
    open_for: Duration,
    kind: ErrorKind,
    /// One request is on its way to see whether the host is back.
    is_probing: bool,
}

/// Whether a request may go.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BreakerState {
    Closed,
    /// It may, alone.
    HalfOpen,
    Open(OpenReason),
}

/// Why a request may not go.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OpenReason {
    pub(super) kind: ErrorKind,
    pub(super) faults: u32,
    /// When the next probe may go, from now; zero when one is on its way.
    pub(super) wait: Duration,
}

/// A circuit that opened, here or in another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BreakerOpened {
    pub(crate) kind: ErrorKind,
    pub(crate) faults: u32,
    /// When the next probe may go, from now.
    pub(crate) wait: Duration,
    /// How long it was open at last; a probe that fails doubles it.
    pub(crate) open_for: Duration,
}

impl Breaker {
    /// Whether a request may go now.
    pub(super) fn state(&self, now: Instant) -> BreakerState {
        match &self.open {
            None => BreakerState::Closed,
            Some(open) if !open.is_probing && open.until <= now => BreakerState::HalfOpen,
            Some(open) => BreakerState::Open(OpenReason {
                kind: open.kind,
                faults: self.faults,
                wait: open.until.saturating_duration_since(now),
            }),
        }
    }

    /// The probe goes.
    pub(super) fn begin_probe(&mut self) {
        if let Some(open) = &mut self.open {
            open.is_probing = true;
        }
    }

    /// The probe ended without telling anything.
    pub(super) fn cancel_probe(&mut self) {
        if let Some(open) = &mut self.open {
            open.is_probing = false;
        }
    }

    /// A request was answered. Whether the circuit was open.
    pub(super) fn record_success(&mut self) -> bool {
        std::mem::take(self).open.is_some()
    }

    /// Another process found the host failing.
    pub(super) fn import(&mut self, opened: BreakerOpened, now: Instant) {
        let until = now + opened.wait.min(MAX_COOLDOWN);
        if self.open.as_ref().is_none_or(|open| !open.is_probing && open.until < until) {
            let lasts = opened.open_for.clamp(FIRST_COOLDOWN, MAX_COOLDOWN);
            self.faults = self.faults.max(opened.faults);
            self.open = Some(OpenState { until, open_for: lasts, kind: opened.kind, is_probing: false });
        }
    }

    /// A request, perhaps the probe, met a fault. What opened by it, if anything did.
    pub(super) fn record_fault(
        &mut self,
        kind: ErrorKind,
        probe: bool,
        now: Instant,
    ) -> Option<BreakerOpened> {
        self.faults = self.faults.saturating_add(1);
        let lasts = match &self.open {
            Some(open) if probe => (open.open_for * 2).min(MAX_COOLDOWN),
            None if self.faults >= FAULT_THRESHOLD => FIRST_COOLDOWN,
            // Too few yet, or what was under way when it opened.
            _ => return None,
        };
        self.open = Some(OpenState { until: now + lasts, open_for: lasts, kind, is_probing: false });
        Some(BreakerOpened { kind, faults: self.faults, wait: lasts, open_for: lasts })
    }
}

/// So many faults in a row open it.
const FAULT_THRESHOLD: u32 = 5;
/// How long it is open at first; each probe that fails doubles it.
const FIRST_COOLDOWN: Duration = Duration::from_secs(10);
const MAX_COOLDOWN: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: ErrorKind = ErrorKind::Connect;

    fn fail(breaker: &mut Breaker, times: u32, now: Instant) {
        for _ in 0..times {
            breaker.record_fault(KIND, false, now);
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn five_faults_in_a_row_open_it_and_an_answer_between_them_begins_anew() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        fail(&mut breaker, 4, now);
        assert_eq!(breaker.state(now), BreakerState::Closed);
        breaker.record_success();
        fail(&mut breaker, 4, now);
        assert_eq!(breaker.state(now), BreakerState::Closed);
        fail(&mut breaker, 1, now);
        assert_eq!(
            breaker.state(now),
            BreakerState::Open(OpenReason { kind: KIND, faults: 5, wait: seconds(10) })
        );
    }

    #[test]
    fn one_probe_goes_when_the_time_is_over_and_its_end_decides() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        fail(&mut breaker, 5, now);
        for wait in [10, 20, 40, 80, 160, 300, 300] {
            assert!(matches!(breaker.state(now + seconds(wait) / 2), BreakerState::Open(_)));
            now += seconds(wait);
            assert_eq!(breaker.state(now), BreakerState::HalfOpen, "{wait}");
            breaker.begin_probe();
            assert!(
                matches!(breaker.state(now), BreakerState::Open(shut) if shut.wait.is_zero()),
                "one at a time"
            );
            breaker.record_fault(KIND, true, now);
        }
        now += seconds(300);
        breaker.begin_probe();
        breaker.cancel_probe();
        assert_eq!(breaker.state(now), BreakerState::HalfOpen, "a dropped probe gives its turn to the next");
        breaker.begin_probe();
        breaker.record_success();
        assert_eq!(breaker.state(now), BreakerState::Closed);
        fail(&mut breaker, 4, now);
        assert_eq!(breaker.state(now), BreakerState::Closed, "it begins anew");
    }

    #[test]
    fn what_another_process_heard_holds_here_and_doubles_from_there() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        let heard = BreakerOpened { kind: KIND, faults: 7, wait: seconds(40), open_for: seconds(80) };
        breaker.import(heard, now);
        assert_eq!(
            breaker.state(now),
            BreakerState::Open(OpenReason { kind: KIND, faults: 7, wait: seconds(40) })
        );
        breaker.import(BreakerOpened { wait: seconds(20), ..heard }, now);
        assert_eq!(
            breaker.state(now + seconds(39)),
            BreakerState::Open(OpenReason { kind: KIND, faults: 7, wait: seconds(1) })
        );
        assert_eq!(breaker.state(now + seconds(40)), BreakerState::HalfOpen);
        breaker.begin_probe();
        breaker.import(heard, now + seconds(40));
        let opened = breaker.record_fault(KIND, true, now + seconds(41)).unwrap();
        assert_eq!((opened.faults, opened.open_for), (8, seconds(160)), "the probe's end decides");
        assert!(breaker.record_success() && !breaker.record_success());
        breaker.import(BreakerOpened { wait: Duration::MAX, open_for: Duration::ZERO, ..heard }, now);
        assert!(
            matches!(breaker.state(now), BreakerState::Open(shut) if shut.wait == MAX_COOLDOWN),
            "a wrong clock"
        );
    }

    #[test]
    fn faults_that_were_under_way_do_not_lengthen_it() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        fail(&mut breaker, 5, now);
        fail(&mut breaker, 5, now + seconds(9));
        assert_eq!(breaker.state(now + seconds(10)), BreakerState::HalfOpen);
    }
}
