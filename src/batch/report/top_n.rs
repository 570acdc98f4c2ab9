//! Values by name for a bounded number of names. Beyond the limit, the smallest values are summed up.

use std::collections::HashMap;

/// A value that can be summed up.
pub(super) trait Aggregate: Default {
    /// The weight by which entries are ranked.
    fn weight(&self) -> u64;
    fn merge(&mut self, other: &Self);
}

/// Values by name.
#[derive(Debug, Default)]
pub(super) struct TopN<T> {
    entries: HashMap<String, T>,
    /// The sum of the pruned entries.
    rest: T,
    forgotten: usize,
}

/// The greatest entries, and the sum of the others.
pub(super) struct TopEntries<'a, T> {
    pub(super) first: Vec<(&'a str, &'a T)>,
    pub(super) rest: T,
    /// The number of names in `rest`. A name that was pruned twice counts twice.
    pub(super) others: usize,
}

impl<T: Aggregate> TopN<T> {
    pub(super) fn entry(&mut self, name: &str) -> &mut T {
        if !self.entries.contains_key(name) {
            if self.entries.len() >= MAX_NAMES {
                self.prune();
            }
            self.entries.insert(name.to_owned(), T::default());
        }
        self.entries.get_mut(name).expect("it was inserted just now")
    }

    pub(super) fn top(&self, count: usize) -> TopEntries<'_, T> {
        let mut all: Vec<_> = self.entries.iter().map(|(name, value)| (name.as_str(), value)).collect();
        all.sort_by(|(a, x), (b, y)| y.weight().cmp(&x.weight()).then(a.cmp(b)));
        let others = all.split_off(count.min(all.len()));
        let mut rest = T::default();
        rest.merge(&self.rest);
        for (_, value) in &others {
            rest.merge(value);
        }
        TopEntries { first: all, rest, others: others.len() + self.forgotten }
    }

    /// Prunes the half with the smallest weights.
    fn prune(&mut self) {
        let mut weights: Vec<u64> = self.entries.values().map(Aggregate::weight).collect();
        weights.sort_unstable_by(|a, b| b.cmp(a));
        let threshold = weights[MAX_NAMES / 2];
        // The number of entries to keep among those whose weight equals the threshold.
        let mut room = MAX_NAMES / 2 - weights.iter().take_while(|weight| **weight > threshold).count();
        let (rest, forgotten) = (&mut self.rest, &mut self.forgotten);
        self.entries.retain(|_, value| {
            let is_tied = value.weight() == threshold && room > 0;
            room -= usize::from(is_tied);
            let stays = is_tied || value.weight() > threshold;
            if !stays {
                rest.merge(value);
                *forgotten += 1;
            }
            stays
        });
    }
}

/// The maximum number of names.
const MAX_NAMES: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Count(u64);

    impl Aggregate for Count {
        fn weight(&self) -> u64 {
            self.0
        }
        fn merge(&mut self, other: &Self) {
            self.0 += other.0;
        }
    }

    #[test]
    fn the_greatest_are_kept_and_the_rest_is_summed() {
        let mut top_n = TopN::<Count>::default();
        for round in 0..20_000 {
            top_n.entry("busy.example").0 += 1;
            top_n.entry(&format!("{round}.example")).0 += 1;
        }
        assert!(top_n.entries.len() <= MAX_NAMES);
        let top = top_n.top(3);
        assert_eq!(top.first.len(), 3);
        assert_eq!((top.first[0].0, top.first[0].1.0), ("busy.example", 20_000));
        let sum: u64 = top.first.iter().map(|(_, count)| count.0).sum();
        assert_eq!(sum + top.rest.0, 40_000, "nothing is lost");
        assert_eq!(top.others, 20_001 - 3);
    }
}
