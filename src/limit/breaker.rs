//! A host that keeps failing on a tier is left alone for a while. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::kind::ErrorKind;

/// One host's circuit on one tier. Faults open it, answers of any kind close it: a block is an answer.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Faults in a row.
    faults: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until: Instant,
    lasts: Duration,
    kind: ErrorKind,
    /// One request is on its way to see whether the host is back.
    probing: bool,
}

/// Whether a request may go.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    Clear,
    /// It may, alone.
    Probe,
    Shut(Shut),
}

/// Why a request may not go.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shut {
    pub(super) kind: ErrorKind,
    pub(super) faults: u32,
    /// When the next probe may go, from now; zero when one is on its way.
    pub(super) wait: Duration,
}

/// A circuit that opened, here or in another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) kind: ErrorKind,
    pub(crate) faults: u32,
    /// When the next probe may go, from now.
    pub(crate) wait: Duration,
    /// How long it was open at last; a probe that fails doubles it.
    pub(crate) lasts: Duration,
}

impl Breaker {
    /// Whether a request may go now.
    pub(super) fn way(&self, now: Instant) -> Way {
        match &self.open {
            None => Way::Clear,
            Some(open) if !open.probing && open.until <= now => Way::Probe,
            Some(open) => Way::Shut(Shut {
                kind: open.kind,
                faults: self.faults,
                wait: open.until.saturating_duration_since(now),
            }),
        }
    }

    /// The probe goes.
    pub(super) fn probe(&mut self) {
        if let Some(open) = &mut self.open {
            open.probing = true;
        }
    }

    /// The probe ended without telling anything.
    pub(super) fn unprobed(&mut self) {
        if let Some(open) = &mut self.open {
            open.probing = false;
        }
    }

    /// A request was answered. Whether the circuit was open.
    pub(super) fn answered(&mut self) -> bool {
        std::mem::take(self).open.is_some()
    }

    /// Another process found the host failing.
    pub(super) fn heard(&mut self, opened: Opened, now: Instant) {
        let until = now + opened.wait.min(LONGEST);
        if self.open.as_ref().is_none_or(|open| !open.probing && open.until < until) {
            let lasts = opened.lasts.clamp(FIRST, LONGEST);
            self.faults = self.faults.max(opened.faults);
            self.open = Some(Open { until, lasts, kind: opened.kind, probing: false });
        }
    }

    /// A request, perhaps the probe, met a fault. What opened by it, if anything did.
    pub(super) fn failed(&mut self, kind: ErrorKind, probe: bool, now: Instant) -> Option<Opened> {
        self.faults = self.faults.saturating_add(1);
        let lasts = match &self.open {
            Some(open) if probe => (open.lasts * 2).min(LONGEST),
            None if self.faults >= FAULTS => FIRST,
            // Too few yet, or what was under way when it opened.
            _ => return None,
        };
        self.open = Some(Open { until: now + lasts, lasts, kind, probing: false });
        Some(Opened { kind, faults: self.faults, wait: lasts, lasts })
    }
}

/// So many faults in a row open it.
const FAULTS: u32 = 5;
/// How long it is open at first; each probe that fails doubles it.
const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: ErrorKind = ErrorKind::Connect;

    fn fail(breaker: &mut Breaker, times: u32, now: Instant) {
        for _ in 0..times {
            breaker.failed(KIND, false, now);
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn five_faults_in_a_row_open_it_and_an_answer_between_them_begins_anew() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        fail(&mut breaker, 4, now);
        assert_eq!(breaker.way(now), Way::Clear);
        breaker.answered();
        fail(&mut breaker, 4, now);
        assert_eq!(breaker.way(now), Way::Clear);
        fail(&mut breaker, 1, now);
        assert_eq!(breaker.way(now), Way::Shut(Shut { kind: KIND, faults: 5, wait: seconds(10) }));
    }

    #[test]
    fn one_probe_goes_when_the_time_is_over_and_its_end_decides() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        fail(&mut breaker, 5, now);
        for wait in [10, 20, 40, 80, 160, 300, 300] {
            assert!(matches!(breaker.way(now + seconds(wait) / 2), Way::Shut(_)));
            now += seconds(wait);
            assert_eq!(breaker.way(now), Way::Probe, "{wait}");
            breaker.probe();
            assert!(matches!(breaker.way(now), Way::Shut(shut) if shut.wait.is_zero()), "one at a time");
            breaker.failed(KIND, true, now);
        }
        now += seconds(300);
        breaker.probe();
        breaker.unprobed();
        assert_eq!(breaker.way(now), Way::Probe, "a dropped probe gives its turn to the next");
        breaker.probe();
        breaker.answered();
        assert_eq!(breaker.way(now), Way::Clear);
        fail(&mut breaker, 4, now);
        assert_eq!(breaker.way(now), Way::Clear, "it begins anew");
    }

    #[test]
    fn what_another_process_heard_holds_here_and_doubles_from_there() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        let heard = Opened { kind: KIND, faults: 7, wait: seconds(40), lasts: seconds(80) };
        breaker.heard(heard, now);
        assert_eq!(breaker.way(now), Way::Shut(Shut { kind: KIND, faults: 7, wait: seconds(40) }));
        breaker.heard(Opened { wait: seconds(20), ..heard }, now);
        assert_eq!(
            breaker.way(now + seconds(39)),
            Way::Shut(Shut { kind: KIND, faults: 7, wait: seconds(1) })
        );
        assert_eq!(breaker.way(now + seconds(40)), Way::Probe);
        breaker.probe();
        breaker.heard(heard, now + seconds(40));
        let opened = breaker.failed(KIND, true, now + seconds(41)).unwrap();
        assert_eq!((opened.faults, opened.lasts), (8, seconds(160)), "the probe's end decides");
        assert!(breaker.answered() && !breaker.answered());
        breaker.heard(Opened { wait: Duration::MAX, lasts: Duration::ZERO, ..heard }, now);
        assert!(matches!(breaker.way(now), Way::Shut(shut) if shut.wait == LONGEST), "a wrong clock");
    }

    #[test]
    fn faults_that_were_under_way_do_not_lengthen_it() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        fail(&mut breaker, 5, now);
        fail(&mut breaker, 5, now + seconds(9));
        assert_eq!(breaker.way(now + seconds(10)), Way::Probe);
    }
}
