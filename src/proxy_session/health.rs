//! Whether an exit is fit for use: quarantined after faults, and tried by one fetch when that is over. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::stats::FaultSource;

/// An exit's standing. Faults of its own put it into quarantine; so do doubtful ones, at several sites or very
/// many, with no answer between them.
#[derive(Debug, Default)]
pub(super) struct ProxyHealth {
    /// Faults of its own in a row.
    faults: u32,
    /// Doubtful faults in a row, and the sites of the first of them, each once.
    unclear_faults: u32,
    unclear_sites: Vec<String>,
    open_circuit: Option<OpenCircuit>,
}

#[derive(Debug)]
struct OpenCircuit {
    until: Instant,
    cooldown: Duration,
    /// When a fetch was sent to see whether it works again.
    probe_started: Option<Instant>,
}

/// Whether it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HealthState {
    Healthy,
    /// By one fetch, to see whether it works again.
    ProbeDue,
    /// Not for so long; zero while a probe is under way.
    Down(Duration),
}

impl ProxyHealth {
    pub(super) fn state(&self, now: Instant) -> HealthState {
        let Some(shut) = &self.open_circuit else { return HealthState::Healthy };
        let probing =
            shut.probe_started.is_some_and(|since| now.saturating_duration_since(since) < PROBE_TIMEOUT);
        if probing {
            return HealthState::Down(Duration::ZERO);
        }
        match shut.until.saturating_duration_since(now) {
            Duration::ZERO => HealthState::ProbeDue,
            wait => HealthState::Down(wait),
        }
    }

    /// The fetch that tries it goes.
    pub(super) fn begin_probe(&mut self, now: Instant) {
        if let Some(shut) = &mut self.open_circuit {
            shut.probe_started = Some(now);
        }
    }

    /// The probe came to nothing, either way.
    pub(super) fn cancel_probe(&mut self) {
        if let Some(shut) = &mut self.open_circuit {
            shut.probe_started = None;
        }
    }

    /// A site answered through it.
    pub(super) fn record_success(&mut self) {
        *self = Self::default();
    }

    /// A use met a fault on the way to `site`. Whether it is quarantined because of it.
    pub(super) fn record_fault(&mut self, blame: FaultSource, site: &str, probe: bool, now: Instant) -> bool {
        match blame {
            FaultSource::Proxy => self.faults = self.faults.saturating_add(1),
            FaultSource::Unclear => {
                self.unclear_faults = self.unclear_faults.saturating_add(1);
                if self.unclear_sites.len() < SITE_THRESHOLD
                    && !self.unclear_sites.iter().any(|seen| seen == site)
                {
                    self.unclear_sites.push(site.to_owned());
                }
            }
        }
        let enough = self.faults >= FAULT_THRESHOLD
            || self.unclear_sites.len() >= SITE_THRESHOLD
            || self.unclear_faults >= UNCLEAR_THRESHOLD;
        let lasts = match &self.open_circuit {
            Some(shut) if probe => (shut.cooldown * 2).min(MAX_COOLDOWN),
            None if enough => FIRST_COOLDOWN,
            // Too few yet, or what was under way when it was shut.
            _ => return false,
        };
        self.open_circuit = Some(OpenCircuit { until: now + lasts, cooldown: lasts, probe_started: None });
        true
    }
}

/// So many faults of its own in a row quarantine it.
const FAULT_THRESHOLD: u32 = 2;
/// So many sites, each with a doubtful fault and no answer between them, do the same.
const SITE_THRESHOLD: usize = 3;
/// So many doubtful faults in a row do so wherever they were met.
const UNCLEAR_THRESHOLD: u32 = 8;
/// How long the first quarantine lasts; each probe that fails doubles it.
const FIRST_COOLDOWN: Duration = Duration::from_secs(10);
const MAX_COOLDOWN: Duration = Duration::from_secs(300);
/// A probe that nobody heard of for so long is given to another fetch.
const PROBE_TIMEOUT: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn faults_in_a_row_quarantine_and_answers_between_them_begin_anew() {
        use FaultSource::{Proxy, Unclear};
        for (faults, shut) in [
            (vec![Some((Proxy, "a"))], false),
            (vec![Some((Proxy, "a")), Some((Proxy, "a"))], true),
            (vec![Some((Proxy, "a")), None, Some((Proxy, "a"))], false),
            (vec![Some((Unclear, "a")); 7], false),
            (vec![Some((Unclear, "a")); 8], true),
            (vec![Some((Unclear, "a")), Some((Unclear, "b")), Some((Unclear, "a"))], false),
            (vec![Some((Unclear, "a")), Some((Unclear, "b")), Some((Unclear, "c"))], true),
            (vec![Some((Unclear, "a")), Some((Unclear, "b")), None, Some((Unclear, "c"))], false),
        ] {
            let (mut standing, now) = (ProxyHealth::default(), Instant::now());
            for fault in &faults {
                match fault {
                    Some((blame, site)) => {
                        standing.record_fault(*blame, site, false, now);
                    }
                    None => standing.record_success(),
                }
            }
            let expected = if shut { HealthState::Down(FIRST_COOLDOWN) } else { HealthState::Healthy };
            assert_eq!(standing.state(now), expected, "{faults:?}");
        }
    }

    #[test]
    fn one_probe_goes_when_the_time_is_over_and_its_end_decides() {
        let (mut standing, mut now) = (ProxyHealth::default(), Instant::now());
        standing.record_fault(FaultSource::Proxy, "a", false, now);
        assert!(standing.record_fault(FaultSource::Proxy, "a", false, now));
        assert!(!standing.record_fault(FaultSource::Proxy, "a", false, now + seconds(9)), "it was under way");
        for wait in [10, 20, 40, 80, 160, 300, 300] {
            assert!(matches!(standing.state(now + seconds(wait) / 2), HealthState::Down(_)), "{wait}");
            now += seconds(wait);
            assert_eq!(standing.state(now), HealthState::ProbeDue, "{wait}");
            standing.begin_probe(now);
            assert_eq!(standing.state(now), HealthState::Down(Duration::ZERO), "one at a time");
            assert!(
                standing.record_fault(FaultSource::Unclear, "a", true, now),
                "a probe need not fail for sure"
            );
        }
        now += seconds(300);
        standing.begin_probe(now);
        standing.cancel_probe();
        assert_eq!(standing.state(now), HealthState::ProbeDue, "a dropped probe gives its turn to the next");
        standing.begin_probe(now);
        assert_eq!(
            standing.state(now + PROBE_TIMEOUT),
            HealthState::ProbeDue,
            "and so does one nobody hears of"
        );
        standing.record_success();
        assert_eq!(standing.state(now), HealthState::Healthy);
    }
}
