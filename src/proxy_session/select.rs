//! Which exit is taken: the fit before the unfit, and among those by weight. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::health::HealthState;

/// An exit as it stands for one fetch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) health: HealthState,
    /// Until when it had better leave the site alone.
    pub(super) cooldown_until: Option<Instant>,
    /// How many fetches use it now.
    pub(super) load: usize,
    /// It takes no more at once.
    pub(super) is_full: bool,
    /// How much it is preferred, by its health.
    pub(super) weight: f64,
    /// The fetch has just left it.
    pub(super) was_left: bool,
}

/// What a choice came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// The exit at this place.
    Endpoint(usize),
    /// The same, to see whether it works again.
    Probe(usize),
    /// None works; the next is tried again in so long.
    Unavailable(Duration),
}

/// Chooses by `draw`, from 0 to 1. `probing`: the fetch may try one that did not work. One that the fetch has
/// just left is taken again only when there is no other.
pub(super) fn select(candidates: &[Candidate], probing: bool, draw: f64) -> Selection {
    let due = |left| {
        let is_due = |one: &Candidate| one.health == HealthState::ProbeDue && one.was_left == left;
        candidates.iter().position(is_due).map(Selection::Probe)
    };
    let fit = |left: bool| {
        let fit = |one: &&Candidate| one.health == HealthState::Healthy && one.was_left == left;
        candidates.iter().any(|one| fit(&one)).then(|| select_healthy(candidates, fit, draw)).flatten()
    };
    let first = if probing { due(false) } else { None };
    first
        .or_else(|| fit(false).map(Selection::Endpoint))
        .or_else(|| due(false))
        .or_else(|| fit(true).map(Selection::Endpoint))
        .or_else(|| due(true))
        .unwrap_or_else(|| Selection::Unavailable(shortest_wait(candidates)))
}

/// One of the fit: those with room that the site has not refused, else those with room, else any; where all
/// were refused, the one whose time is over first.
fn select_healthy(candidates: &[Candidate], fit: impl Fn(&&Candidate) -> bool, draw: f64) -> Option<usize> {
    let warm = |one: &Candidate| one.cooldown_until.is_none();
    let of = |wanted: &dyn Fn(&Candidate) -> bool| -> Vec<usize> {
        let found = candidates.iter().enumerate().filter(|(_, one)| fit(one) && wanted(one));
        found.map(|(at, _)| at).collect()
    };
    let with_room = of(&|one| warm(one) && !one.is_full);
    if !with_room.is_empty() {
        return pick_weighted(candidates, &with_room, draw);
    }
    let warm = of(&warm);
    if !warm.is_empty() {
        return pick_weighted(candidates, &warm, draw);
    }
    of(&|_| true).into_iter().min_by_key(|at| candidates[*at].cooldown_until)
}

fn pick_weighted(candidates: &[Candidate], among: &[usize], draw: f64) -> Option<usize> {
    #[expect(clippy::cast_precision_loss, reason = "far fewer fetches than 2^53")]
    let weight = |at: usize| candidates[at].weight / (1 + candidates[at].load) as f64;
    let best = among.iter().map(|at| weight(*at)).fold(0.0, f64::max);
    // The worst is still asked now and then: how else would it be seen to get better?
    let weights: Vec<f64> = among.iter().map(|at| weight(*at).max(best * MIN_SHARE)).collect();
    let mut left = draw * weights.iter().sum::<f64>();
    for (at, weight) in among.iter().zip(&weights) {
        left -= weight;
        if left < 0.0 {
            return Some(*at);
        }
    }
    among.last().copied()
}

/// When the next of those that are down is tried again.
fn shortest_wait(candidates: &[Candidate]) -> Duration {
    let waits = candidates.iter().filter_map(|one| match one.health {
        HealthState::Down(wait) => Some(wait),
        HealthState::Healthy | HealthState::ProbeDue => None,
    });
    waits.min().unwrap_or_default()
}

/// No exit gets less than this part of the best one's share.
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
    fn the_fit_come_first_then_those_with_room_then_those_the_site_has_not_refused() {
        let now = Instant::now();
        let cooling =
            |seconds| Candidate { cooldown_until: Some(now + Duration::from_secs(seconds)), ..GOOD };
        let full = Candidate { is_full: true, ..GOOD };
        let due = Candidate { health: HealthState::ProbeDue, ..GOOD };
        let left = Candidate { was_left: true, ..GOOD };
        for (candidates, probing, chosen) in [
            (vec![down(5), GOOD], true, Selection::Endpoint(1)),
            (vec![full, GOOD], true, Selection::Endpoint(1)),
            (vec![full, cooling(9)], true, Selection::Endpoint(0)),
            (vec![cooling(9), GOOD], true, Selection::Endpoint(1)),
            (vec![cooling(9), cooling(5)], true, Selection::Endpoint(1)),
            (vec![cooling(9), down(1)], true, Selection::Endpoint(0)),
            (vec![GOOD, due], true, Selection::Probe(1)),
            (vec![GOOD, due], false, Selection::Endpoint(0)),
            (vec![down(5), due], false, Selection::Probe(1)),
            (vec![left, GOOD], false, Selection::Endpoint(1)),
            (vec![left, cooling(9)], false, Selection::Endpoint(1)),
            (vec![left, due], false, Selection::Probe(1)),
            (vec![left, down(5)], false, Selection::Endpoint(0)),
            (vec![down(7), down(5)], true, Selection::Unavailable(Duration::from_secs(5))),
            (vec![], true, Selection::Unavailable(Duration::ZERO)),
        ] {
            assert_eq!(select(&candidates, probing, 0.0), chosen, "{candidates:?}");
        }
    }

    #[test]
    fn shares_follow_weight_and_load_and_no_endpoint_is_starved() {
        let of = |weight, load| Candidate { load, weight, ..GOOD };
        for (candidates, shares) in [
            (vec![of(1.0, 0), of(1.0, 0)], vec![500, 500]),
            (vec![of(3.0, 0), of(1.0, 0)], vec![750, 250]),
            (vec![of(1.0, 0), of(1.0, 3)], vec![800, 200]),
            (vec![of(1.0, 0), of(0.0, 0)], vec![980, 20]),
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
