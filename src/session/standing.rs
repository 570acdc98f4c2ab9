//! Whether an exit is fit for use: quarantined after faults, and tried by one fetch when that is over. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::tally::Blame;

/// An exit's standing. Faults of its own put it into quarantine; so do doubtful ones, at several sites or very
/// many, with no answer between them.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Faults of its own in a row.
    faults: u32,
    /// Doubtful faults in a row, and the sites of the first of them, each once.
    doubts: u32,
    sites: Vec<String>,
    shut: Option<Shut>,
}

#[derive(Debug)]
struct Shut {
    until: Instant,
    lasts: Duration,
    /// When a fetch was sent to see whether it works again.
    probed: Option<Instant>,
}

/// Whether it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fitness {
    Fit,
    /// By one fetch, to see whether it works again.
    Due,
    /// Not for so long; zero while a probe is under way.
    Down(Duration),
}

impl Standing {
    pub(super) fn fitness(&self, now: Instant) -> Fitness {
        let Some(shut) = &self.shut else { return Fitness::Fit };
        let probing = shut.probed.is_some_and(|since| now.saturating_duration_since(since) < PROBE);
        if probing {
            return Fitness::Down(Duration::ZERO);
        }
        match shut.until.saturating_duration_since(now) {
            Duration::ZERO => Fitness::Due,
            wait => Fitness::Down(wait),
        }
    }

    /// The fetch that tries it goes.
    pub(super) fn probe(&mut self, now: Instant) {
        if let Some(shut) = &mut self.shut {
            shut.probed = Some(now);
        }
    }

    /// The probe came to nothing, either way.
    pub(super) fn unprobed(&mut self) {
        if let Some(shut) = &mut self.shut {
            shut.probed = None;
        }
    }

    /// A site answered through it.
    pub(super) fn answered(&mut self) {
        *self = Self::default();
    }

    /// A use met a fault on the way to `site`. Whether it is quarantined because of it.
    pub(super) fn failed(&mut self, blame: Blame, site: &str, probe: bool, now: Instant) -> bool {
        match blame {
            Blame::Proxy => self.faults = self.faults.saturating_add(1),
            Blame::Unclear => {
                self.doubts = self.doubts.saturating_add(1);
                if self.sites.len() < SITES && !self.sites.iter().any(|seen| seen == site) {
                    self.sites.push(site.to_owned());
                }
            }
        }
        let enough = self.faults >= FAULTS || self.sites.len() >= SITES || self.doubts >= DOUBTS;
        let lasts = match &self.shut {
            Some(shut) if probe => (shut.lasts * 2).min(LONGEST),
            None if enough => FIRST,
            // Too few yet, or what was under way when it was shut.
            _ => return false,
        };
        self.shut = Some(Shut { until: now + lasts, lasts, probed: None });
        true
    }
}

/// So many faults of its own in a row quarantine it.
const FAULTS: u32 = 2;
/// So many sites, each with a doubtful fault and no answer between them, do the same.
const SITES: usize = 3;
/// So many doubtful faults in a row do so wherever they were met.
const DOUBTS: u32 = 8;
/// How long the first quarantine lasts; each probe that fails doubles it.
const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);
/// A probe that nobody heard of for so long is given to another fetch.
const PROBE: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn faults_in_a_row_quarantine_and_answers_between_them_begin_anew() {
        use Blame::{Proxy, Unclear};
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
            let (mut standing, now) = (Standing::default(), Instant::now());
            for fault in &faults {
                match fault {
                    Some((blame, site)) => {
                        standing.failed(*blame, site, false, now);
                    }
                    None => standing.answered(),
                }
            }
            let expected = if shut { Fitness::Down(FIRST) } else { Fitness::Fit };
            assert_eq!(standing.fitness(now), expected, "{faults:?}");
        }
    }

    #[test]
    fn one_probe_goes_when_the_time_is_over_and_its_end_decides() {
        let (mut standing, mut now) = (Standing::default(), Instant::now());
        standing.failed(Blame::Proxy, "a", false, now);
        assert!(standing.failed(Blame::Proxy, "a", false, now));
        assert!(!standing.failed(Blame::Proxy, "a", false, now + seconds(9)), "it was under way");
        for wait in [10, 20, 40, 80, 160, 300, 300] {
            assert!(matches!(standing.fitness(now + seconds(wait) / 2), Fitness::Down(_)), "{wait}");
            now += seconds(wait);
            assert_eq!(standing.fitness(now), Fitness::Due, "{wait}");
            standing.probe(now);
            assert_eq!(standing.fitness(now), Fitness::Down(Duration::ZERO), "one at a time");
            assert!(standing.failed(Blame::Unclear, "a", true, now), "a probe need not fail for sure");
        }
        now += seconds(300);
        standing.probe(now);
        standing.unprobed();
        assert_eq!(standing.fitness(now), Fitness::Due, "a dropped probe gives its turn to the next");
        standing.probe(now);
        assert_eq!(standing.fitness(now + PROBE), Fitness::Due, "and so does one nobody hears of");
        standing.answered();
        assert_eq!(standing.fitness(now), Fitness::Fit);
    }
}
