//! What happened when: slots of time that grow wider instead of more.

use std::time::Duration;

use super::spread::Spread;

/// Slots of time, one behind the other.
#[derive(Debug)]
pub(super) struct Series {
    width: Duration,
    slots: Vec<Slot>,
}

/// What happened within one slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    /// Fetches that ended, by [`LANES`].
    pub(super) ended: [u32; LANES.len()],
    /// How long attempts took.
    pub(super) took: Spread,
}

impl Series {
    pub(super) const fn new() -> Self {
        Self { width: FIRST, slots: Vec::new() }
    }

    /// The slot of what happens `passed` after the beginning.
    pub(super) fn at(&mut self, passed: Duration) -> &mut Slot {
        while index(passed, self.width) >= MOST {
            self.width *= 2;
            self.slots = self.slots.chunks(2).map(Slot::sum).collect();
        }
        let at = index(passed, self.width);
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, Slot::default);
        }
        &mut self.slots[at]
    }

    pub(super) const fn width(&self) -> Duration {
        self.width
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }
}

impl Slot {
    fn sum(slots: &[Self]) -> Self {
        let mut sum = slots[0].clone();
        for slot in &slots[1..] {
            for (count, more) in sum.ended.iter_mut().zip(slot.ended) {
                *count = count.saturating_add(more);
            }
            sum.took.merge(&slot.took);
        }
        sum
    }
}

fn index(passed: Duration, width: Duration) -> usize {
    usize::try_from(passed.as_nanos() / width.as_nanos()).unwrap_or(usize::MAX)
}

/// How a fetch ends, as it is drawn: by a tier, or without a page.
pub(super) const LANES: [&str; 5] = ["plain", "impersonate", "browser", "blocked", "failed"];
/// How wide slots are at first.
const FIRST: Duration = Duration::from_millis(250);
/// The most slots.
const MOST: usize = 240;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_merge_and_nothing_is_lost() {
        let mut series = Series::new();
        for second in 0..100_000_u64 {
            let slot = series.at(Duration::from_secs(second));
            slot.ended[0] += 1;
            slot.took.add(Duration::from_millis(second % 10));
        }
        assert!(series.slots().len() <= MOST && series.slots().len() > MOST / 2 - 1);
        assert_eq!(series.slots().iter().map(|slot| slot.ended[0]).sum::<u32>(), 100_000);
        assert_eq!(series.slots().iter().map(|slot| slot.took.total()).sum::<u64>(), 100_000);
        let wide = series.width().as_secs_f64();
        assert!(wide * 240.0 > 100_000.0 && wide * 120.0 <= 100_000.0, "{wide}");
        // What comes late is put where it belongs.
        series.at(Duration::ZERO).ended[4] += 1;
        assert_eq!(series.slots()[0].ended[4], 1);
    }
}
