//! The circuit breaker of one proxy endpoint. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::stats::FaultSource;
use crate::settings::cooldown::{Cooldown, CooldownPolicy, CooldownState};

/// The health of one endpoint. Faults of the proxy open the circuit. Unclear faults open it when they occur
/// at several sites, or very often, with no answer between them.
#[derive(Debug, Default)]
pub(super) struct ProxyHealth {
    /// Faults of the proxy itself, in a row.
    faults: u32,
    /// Unclear faults in a row, and the first distinct sites where they occurred.
    unclear_faults: u32,
    unclear_sites: Vec<String>,
    open_circuit: Option<Cooldown>,
}

/// Whether the endpoint may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HealthState {
    Healthy,
    /// One fetch may use it, as a probe.
    ProbeDue,
    /// Unusable for this long; zero while a probe is running.
    Down(Duration),
}

impl ProxyHealth {
    pub(super) fn state(&self, now: Instant) -> HealthState {
        match self.open_circuit.map(|cooldown| cooldown.state(now)) {
            None => HealthState::Healthy,
            Some(CooldownState::ProbeDue) => HealthState::ProbeDue,
            Some(CooldownState::Probing) => HealthState::Down(Duration::ZERO),
            Some(CooldownState::Waiting(wait)) => HealthState::Down(wait),
        }
    }

    /// Records that a probe begins.
    pub(super) fn begin_probe(&mut self, now: Instant) {
        if let Some(open) = &mut self.open_circuit {
            open.begin_probe(now);
        }
    }

    /// Records that the probe ended without a result.
    pub(super) fn cancel_probe(&mut self) {
        if let Some(open) = &mut self.open_circuit {
            open.cancel_probe();
        }
    }

    /// Records that a site answered through the endpoint. Closes the circuit.
    pub(super) fn record_success(&mut self) {
        *self = Self::default();
    }

    /// Records a fault of a request to `site`. Returns whether the fault opened the circuit.
    pub(super) fn record_fault(
        &mut self,
        source: FaultSource,
        site: &str,
        probe: bool,
        now: Instant,
    ) -> bool {
        match source {
            FaultSource::Proxy => self.faults = self.faults.saturating_add(1),
            FaultSource::Unclear => {
                self.unclear_faults = self.unclear_faults.saturating_add(1);
                if self.unclear_sites.len() < SITE_THRESHOLD
                    && !self.unclear_sites.iter().any(|known| known == site)
                {
                    self.unclear_sites.push(site.to_owned());
                }
            }
        }
        let enough = self.faults >= FAULT_THRESHOLD
            || self.unclear_sites.len() >= SITE_THRESHOLD
            || self.unclear_faults >= UNCLEAR_THRESHOLD;
        let cooldown = match self.open_circuit {
            Some(open) if probe => open.doubled(now),
            None if enough => COOLDOWNS.begin(now),
            // Too few faults yet, or a request that began before the circuit opened.
            _ => return false,
        };
        self.open_circuit = Some(cooldown);
        true
    }
}

/// The number of the proxy's own faults in a row that opens the circuit.
const FAULT_THRESHOLD: u32 = 2;
/// The number of sites with unclear faults, and no answer between them, that opens the circuit.
const SITE_THRESHOLD: usize = 3;
/// The number of unclear faults in a row, at any sites, that opens the circuit.
const UNCLEAR_THRESHOLD: u32 = 8;
static COOLDOWNS: CooldownPolicy = CooldownPolicy {
    first: Duration::from_secs(10),
    max: Duration::from_secs(300),
    probe_timeout: Some(Duration::from_secs(120)),
};

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn faults_in_a_row_open_the_circuit_and_an_answer_between_them_resets_the_count() {
        use FaultSource::{Proxy, Unclear};
        for (faults, opens) in [
            (vec![Some((Proxy, "a"))], false),
            (vec![Some((Proxy, "a")), Some((Proxy, "a"))], true),
            (vec![Some((Proxy, "a")), None, Some((Proxy, "a"))], false),
            (vec![Some((Unclear, "a")); 7], false),
            (vec![Some((Unclear, "a")); 8], true),
            (vec![Some((Unclear, "a")), Some((Unclear, "b")), Some((Unclear, "a"))], false),
            (vec![Some((Unclear, "a")), Some((Unclear, "b")), Some((Unclear, "c"))], true),
            (vec![Some((Unclear, "a")), Some((Unclear, "b")), None, Some((Unclear, "c"))], false),
        ] {
            let (mut health, now) = (ProxyHealth::default(), Instant::now());
            for fault in &faults {
                match fault {
                    Some((source, site)) => {
                        health.record_fault(*source, site, false, now);
                    }
                    None => health.record_success(),
                }
            }
            let expected = if opens { HealthState::Down(COOLDOWNS.first) } else { HealthState::Healthy };
            assert_eq!(health.state(now), expected, "{faults:?}");
        }
    }

    #[test]
    fn one_probe_is_sent_after_the_cooldown_and_its_outcome_decides() {
        let (mut health, mut now) = (ProxyHealth::default(), Instant::now());
        health.record_fault(FaultSource::Proxy, "a", false, now);
        assert!(health.record_fault(FaultSource::Proxy, "a", false, now));
        assert!(
            !health.record_fault(FaultSource::Proxy, "a", false, now + seconds(9)),
            "the request began before the circuit opened"
        );
        for wait in [10, 20, 40, 80, 160, 300, 300] {
            assert!(matches!(health.state(now + seconds(wait) / 2), HealthState::Down(_)), "{wait}");
            now += seconds(wait);
            assert_eq!(health.state(now), HealthState::ProbeDue, "{wait}");
            health.begin_probe(now);
            assert_eq!(health.state(now), HealthState::Down(Duration::ZERO), "one at a time");
            assert!(
                health.record_fault(FaultSource::Unclear, "a", true, now),
                "an unclear fault of a probe counts too"
            );
        }
        now += seconds(300);
        health.begin_probe(now);
        health.cancel_probe();
        assert_eq!(health.state(now), HealthState::ProbeDue, "a dropped probe allows the next one");
        health.begin_probe(now);
        assert_eq!(
            health.state(now + seconds(120)),
            HealthState::ProbeDue,
            "so does a probe without a result"
        );
        health.record_success();
        assert_eq!(health.state(now), HealthState::Healthy);
    }
}
