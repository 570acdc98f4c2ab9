//! The circuit breaker of one host on one tier. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::exchange::error_kind::ErrorKind;
use crate::settings::cooldown::{Cooldown, CooldownPolicy, CooldownState};

/// The circuit breaker of one host on one tier. Faults open it. Any response closes it: a block is a response
/// too.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Faults in a row.
    faults: u32,
    /// The cooldown of an open circuit, and the fault that opened it.
    open: Option<(Cooldown, ErrorKind)>,
}

/// The state of a circuit breaker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BreakerState {
    Closed,
    /// One probe may be sent.
    HalfOpen,
    Open(OpenReason),
}

/// Why a circuit is open.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OpenReason {
    pub(super) kind: ErrorKind,
    pub(super) faults: u32,
    /// The time until the next probe; zero while one is running.
    pub(super) wait: Duration,
}

/// A circuit that opened, in this process or in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BreakerOpened {
    pub(crate) kind: ErrorKind,
    pub(crate) faults: u32,
    /// The time until the next probe.
    pub(crate) wait: Duration,
    /// The length of the cooldown. A probe that fails doubles it.
    pub(crate) open_for: Duration,
}

impl Breaker {
    /// Returns the state at `now`.
    pub(super) fn state(&self, now: Instant) -> BreakerState {
        let Some((cooldown, kind)) = self.open else { return BreakerState::Closed };
        let open = |wait| BreakerState::Open(OpenReason { kind, faults: self.faults, wait });
        match cooldown.state(now) {
            CooldownState::ProbeDue => BreakerState::HalfOpen,
            CooldownState::Probing => open(Duration::ZERO),
            CooldownState::Waiting(wait) => open(wait),
        }
    }

    /// Records that the probe is sent.
    pub(super) fn begin_probe(&mut self, now: Instant) {
        if let Some((cooldown, _)) = &mut self.open {
            cooldown.begin_probe(now);
        }
    }

    /// Records that the probe ended without a result.
    pub(super) fn cancel_probe(&mut self) {
        if let Some((cooldown, _)) = &mut self.open {
            cooldown.cancel_probe();
        }
    }

    /// Records a response and closes the circuit. Returns whether it was open.
    pub(super) fn record_success(&mut self) -> bool {
        std::mem::take(self).open.is_some()
    }

    /// Adopts a circuit that another process opened.
    pub(super) fn import(&mut self, opened: BreakerOpened, now: Instant) {
        let imported = COOLDOWNS.resume(opened.wait, opened.open_for, now);
        let is_later = self.open.is_none_or(|(own, _)| {
            own.state(now) != CooldownState::Probing && own.until() < imported.until()
        });
        if is_later {
            self.faults = self.faults.max(opened.faults);
            self.open = Some((imported, opened.kind));
        }
    }

    /// Records a fault. Returns the circuit that it opened, if any.
    pub(super) fn record_fault(
        &mut self,
        kind: ErrorKind,
        probe: bool,
        now: Instant,
    ) -> Option<BreakerOpened> {
        self.faults = self.faults.saturating_add(1);
        let cooldown = match self.open {
            Some((cooldown, _)) if probe => cooldown.doubled(now),
            None if self.faults >= FAULT_THRESHOLD => COOLDOWNS.begin(now),
            // Too few faults yet, or a request that began before the circuit opened.
            _ => return None,
        };
        self.open = Some((cooldown, kind));
        let lasts = cooldown.length();
        Some(BreakerOpened { kind, faults: self.faults, wait: lasts, open_for: lasts })
    }
}

/// The number of faults in a row that opens the circuit.
const FAULT_THRESHOLD: u32 = 5;
static COOLDOWNS: CooldownPolicy =
    CooldownPolicy { first: Duration::from_secs(10), max: Duration::from_secs(300), probe_timeout: None };

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
    fn five_faults_in_a_row_open_the_circuit_and_a_response_resets_the_count() {
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
    fn one_probe_is_sent_after_the_cooldown_and_its_outcome_decides() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        fail(&mut breaker, 5, now);
        for wait in [10, 20, 40, 80, 160, 300, 300] {
            assert!(matches!(breaker.state(now + seconds(wait) / 2), BreakerState::Open(_)));
            now += seconds(wait);
            assert_eq!(breaker.state(now), BreakerState::HalfOpen, "{wait}");
            breaker.begin_probe(now);
            assert!(
                matches!(breaker.state(now), BreakerState::Open(reason) if reason.wait.is_zero()),
                "one at a time"
            );
            breaker.record_fault(KIND, true, now);
        }
        now += seconds(300);
        breaker.begin_probe(now);
        breaker.cancel_probe();
        assert_eq!(breaker.state(now), BreakerState::HalfOpen, "a dropped probe allows the next one");
        breaker.begin_probe(now);
        breaker.record_success();
        assert_eq!(breaker.state(now), BreakerState::Closed);
        fail(&mut breaker, 4, now);
        assert_eq!(breaker.state(now), BreakerState::Closed, "the count starts again");
    }

    #[test]
    fn a_circuit_opened_by_another_process_is_adopted_and_its_cooldown_doubles() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        let imported = BreakerOpened { kind: KIND, faults: 7, wait: seconds(40), open_for: seconds(80) };
        breaker.import(imported, now);
        assert_eq!(
            breaker.state(now),
            BreakerState::Open(OpenReason { kind: KIND, faults: 7, wait: seconds(40) })
        );
        breaker.import(BreakerOpened { wait: seconds(20), ..imported }, now);
        assert_eq!(
            breaker.state(now + seconds(39)),
            BreakerState::Open(OpenReason { kind: KIND, faults: 7, wait: seconds(1) })
        );
        assert_eq!(breaker.state(now + seconds(40)), BreakerState::HalfOpen);
        breaker.begin_probe(now + seconds(40));
        breaker.import(imported, now + seconds(40));
        let opened = breaker.record_fault(KIND, true, now + seconds(41)).unwrap();
        assert_eq!((opened.faults, opened.open_for), (8, seconds(160)), "the probe's outcome decides");
        assert!(breaker.record_success() && !breaker.record_success());
        breaker.import(BreakerOpened { wait: Duration::MAX, open_for: Duration::ZERO, ..imported }, now);
        assert!(
            matches!(breaker.state(now), BreakerState::Open(reason) if reason.wait == COOLDOWNS.max),
            "a wrong clock"
        );
    }

    #[test]
    fn faults_of_requests_begun_before_the_circuit_opened_do_not_extend_the_cooldown() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        fail(&mut breaker, 5, now);
        fail(&mut breaker, 5, now + seconds(9));
        assert_eq!(breaker.state(now + seconds(10)), BreakerState::HalfOpen);
    }
}
