//! Selects a proxy endpoint: healthy ones first, and among those by weight. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::health::HealthState;

/// The state of an endpoint for one fetch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) health: HealthState,
    /// When the endpoint's cooldown for the site ends.
    pub(super) cooldown_until: Option<Instant>,
    /// The number of fetches that use it at present.
    pub(super) load: usize,
    /// Whether its concurrency limit is reached.
    pub(super) is_full: bool,
    /// The weight by its statistics.
    pub(super) weight: f64,
    /// Whether the fetch has just left this endpoint.
    pub(super) was_left: bool,
}

/// The result of a selection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// The endpoint at this index.
    Endpoint(usize),
    /// The endpoint at this index, as a probe.
    Probe(usize),
    /// No endpoint works; the next probe is due after this time.
    Unavailable(Duration),
}

/// Selects by `draw`, from 0 to 1. `probing`: the fetch may probe an endpoint that failed before. An endpoint
/// that the fetch has just left is selected only when there is no other.
pub(super) fn select(candidates: &[Candidate], probing: bool, draw: f64) -> Selection {
    let due = |was_left| {
        let is_due = |one: &Candidate| one.health == HealthState::ProbeDue && one.was_left == was_left;
        candidates.iter().position(is_due).map(Selection::Probe)
    };
    let healthy = |was_left: bool| {
        let healthy = |one: &&Candidate| one.health == HealthState::Healthy && one.was_left == was_left;
        candidates
            .iter()
            .any(|one| healthy(&one))
            .then(|| select_healthy(candidates, healthy, draw))
            .flatten()
    };
    let first = if probing { due(false) } else { None };
    first
        .or_else(|| healthy(false).map(Selection::Endpoint))
        .or_else(|| due(false))
        .or_else(|| healthy(true).map(Selection::Endpoint))
        .or_else(|| due(true))
        .unwrap_or_else(|| Selection::Unavailable(shortest_wait(candidates)))
}

/// Selects among the healthy: first those with capacity that the site has not refused, then any that the site
/// has not refused. If the site refused all, selects the one whose cooldown ends first.
fn select_healthy(
    candidates: &[Candidate],
    is_match: impl Fn(&&Candidate) -> bool,
    draw: f64,
) -> Option<usize> {
    let not_refused = |one: &Candidate| one.cooldown_until.is_none();
    let indices = |condition: &dyn Fn(&Candidate) -> bool| -> Vec<usize> {
        let found = candidates.iter().enumerate().filter(|(_, one)| is_match(one) && condition(one));
        found.map(|(at, _)| at).collect()
    };
    let with_capacity = indices(&|one| not_refused(one) && !one.is_full);
    if !with_capacity.is_empty() {
        return pick_weighted(candidates, &with_capacity, draw);
    }
    let not_refused = indices(&not_refused);
    if !not_refused.is_empty() {
        return pick_weighted(candidates, &not_refused, draw);
    }
    indices(&|_| true).into_iter().min_by_key(|at| candidates[*at].cooldown_until)
}

fn pick_weighted(candidates: &[Candidate], among: &[usize], draw: f64) -> Option<usize> {
    #[expect(clippy::cast_precision_loss, reason = "far fewer fetches than 2^53")]
    let weight = |at: usize| candidates[at].weight / (1 + candidates[at].load) as f64;
    let best = among.iter().map(|at| weight(*at)).fold(0.0, f64::max);
    // The worst endpoint still gets a few requests. Otherwise its recovery would not be noticed.
    let weights: Vec<f64> = among.iter().map(|at| weight(*at).max(best * MIN_SHARE)).collect();
    let mut remaining = draw * weights.iter().sum::<f64>();
    for (at, weight) in among.iter().zip(&weights) {
        remaining -= weight;
        if remaining < 0.0 {
            return Some(*at);
        }
    }
    among.last().copied()
}

/// The time until the next probe of an endpoint that is down.
fn shortest_wait(candidates: &[Candidate]) -> Duration {
    let waits = candidates.iter().filter_map(|one| match one.health {
        HealthState::Down(wait) => Some(wait),
        HealthState::Healthy | HealthState::ProbeDue => None,
    });
    waits.min().unwrap_or_default()
}

/// The smallest share of an endpoint, as a part of the best one's share.
const MIN_SHARE: f64 = 0.02;

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Candidate = Candidate {
        health: HealthState::Healthy,
        cooldown_until: None,
        load: 0,
        is_full: false,
        weight: 1.0,
        was_left: false,
    };

    fn down(seconds: u64) -> Candidate {
        Candidate { health: HealthState::Down(Duration::from_secs(seconds)), ..GOOD }
    }

    #[test]
    fn healthy_endpoints_come_first_then_those_with_capacity_that_the_site_has_not_refused() {
        let now = Instant::now();
        let cooling =
            |seconds| Candidate { cooldown_until: Some(now + Duration::from_secs(seconds)), ..GOOD };
        let full = Candidate { is_full: true, ..GOOD };
        let due = Candidate { health: HealthState::ProbeDue, ..GOOD };
        let replaced = Candidate { was_left: true, ..GOOD };
        for (candidates, probing, expected) in [
            (vec![down(5), GOOD], true, Selection::Endpoint(1)),
            (vec![full, GOOD], true, Selection::Endpoint(1)),
            (vec![full, cooling(9)], true, Selection::Endpoint(0)),
            (vec![cooling(9), GOOD], true, Selection::Endpoint(1)),
            (vec![cooling(9), cooling(5)], true, Selection::Endpoint(1)),
            (vec![cooling(9), down(1)], true, Selection::Endpoint(0)),
            (vec![GOOD, due], true, Selection::Probe(1)),
            (vec![GOOD, due], false, Selection::Endpoint(0)),
            (vec![down(5), due], false, Selection::Probe(1)),
            (vec![replaced, GOOD], false, Selection::Endpoint(1)),
            (vec![replaced, cooling(9)], false, Selection::Endpoint(1)),
            (vec![replaced, due], false, Selection::Probe(1)),
            (vec![replaced, down(5)], false, Selection::Endpoint(0)),
            (vec![down(7), down(5)], true, Selection::Unavailable(Duration::from_secs(5))),
            (vec![], true, Selection::Unavailable(Duration::ZERO)),
        ] {
            assert_eq!(select(&candidates, probing, 0.0), expected, "{candidates:?}");
        }
    }

    #[test]
    fn shares_follow_weight_and_load_and_no_endpoint_is_starved() {
        let candidate_with = |weight, load| Candidate { load, weight, ..GOOD };
        for (candidates, shares) in [
            (vec![candidate_with(1.0, 0), candidate_with(1.0, 0)], vec![500, 500]),
            (vec![candidate_with(3.0, 0), candidate_with(1.0, 0)], vec![750, 250]),
            (vec![candidate_with(1.0, 0), candidate_with(1.0, 3)], vec![800, 200]),
            (vec![candidate_with(1.0, 0), candidate_with(0.0, 0)], vec![980, 20]),
        ] {
            let mut found = vec![0; candidates.len()];
            for draw in 0..1000 {
                let Selection::Endpoint(at) = select(&candidates, true, f64::from(draw) / 1000.0) else {
                    panic!()
                };
                found[at] += 1;
            }
            for (found, share) in found.iter().zip(&shares) {
                assert!(i32::abs(*found - *share) <= 1, "{candidates:?} {found} {share}");
            }
        }
    }
}
