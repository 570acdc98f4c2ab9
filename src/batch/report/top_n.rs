//! Figures by name, of a bounded number of names: those with the least are summed when there are too many.

use std::collections::HashMap;

/// What can be summed.
pub(super) trait Aggregate: Default {
    /// By this, the greatest are kept.
    fn weight(&self) -> u64;
    fn merge(&mut self, other: &Self);
}

/// Figures by name.
#[derive(Debug, Default)]
pub(super) struct TopN<T> {
    entries: HashMap<String, T>,
    /// The sum of those whose names are forgotten.
    rest: T,
    forgotten: usize,
}

/// The greatest, and the others in one.
pub(super) struct TopEntries<'a, T> {
    pub(super) first: Vec<(&'a str, &'a T)>,
    pub(super) rest: T,
    /// How many names are in the rest; one that came again after it was forgotten counts twice.
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
        self.entries.get_mut(name).expect("it was put there just now")
    }

    pub(super) fn top(&self, count: usize) -> TopEntries<'_, T> {
        let mut all: Vec<_> = self.entries.iter().map(|(name, figures)| (name.as_str(), figures)).collect();
        all.sort_by(|(a, x), (b, y)| y.weight().cmp(&x.weight()).then(a.cmp(b)));
        let others = all.split_off(count.min(all.len()));
        let mut rest = T::default();
        rest.merge(&self.rest);
        for (_, figures) in &others {
            rest.merge(figures);
        }
        TopEntries { first: all, rest, others: others.len() + self.forgotten }
    }

    /// Forgets the lighter half.
    fn prune(&mut self) {
        let mut weights: Vec<u64> = self.entries.values().map(Aggregate::weight).collect();
        weights.sort_unstable_by(|a, b| b.cmp(a));
        let least = weights[MAX_NAMES / 2];
        // What is left of the half for those that weigh as much as the first that has to go.
        let mut room = MAX_NAMES / 2 - weights.iter().take_while(|weight| **weight > least).count();
        let (rest, forgotten) = (&mut self.rest, &mut self.forgotten);
        self.entries.retain(|_, figures| {
            let is_tied = figures.weight() == least && room > 0;
            room -= usize::from(is_tied);
            let stays = is_tied || figures.weight() > least;
            if !stays {
                rest.merge(figures);
                *forgotten += 1;
            }
            stays
        });
    }
}

/// The most names.
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
    fn the_busiest_are_kept_and_the_rest_is_summed() {
        let mut most = TopN::<Count>::default();
        for round in 0..20_000 {
            most.entry("busy.example").0 += 1;
            most.entry(&format!("{round}.example")).0 += 1;
        }
        assert!(most.entries.len() <= MAX_NAMES);
        let top = most.top(3);
        assert_eq!(top.first.len(), 3);
        assert_eq!((top.first[0].0, top.first[0].1.0), ("busy.example", 20_000));
        let sum: u64 = top.first.iter().map(|(_, count)| count.0).sum();
        assert_eq!(sum + top.rest.0, 40_000, "nothing is lost");
        assert_eq!(top.others, 20_001 - 3);
    }
}
