//! Figures by name, of a bounded number of names: those with the least are summed when there are too many.

use std::collections::HashMap;

/// What can be summed.
pub(super) trait Sum: Default {
    /// By this, the greatest are kept.
    fn weight(&self) -> u64;
    fn merge(&mut self, other: &Self);
}

/// Figures by name.
#[derive(Debug, Default)]
pub(super) struct Most<T> {
    named: HashMap<String, T>,
    /// The sum of those whose names are forgotten.
    rest: T,
    forgotten: usize,
}

/// The greatest, and the others in one.
pub(super) struct Top<'a, T> {
    pub(super) first: Vec<(&'a str, &'a T)>,
    pub(super) rest: T,
    /// How many names are in the rest; one that came again after it was forgotten counts twice.
    pub(super) others: usize,
}

impl<T: Sum> Most<T> {
    pub(super) fn of(&mut self, name: &str) -> &mut T {
        if !self.named.contains_key(name) {
            if self.named.len() >= NAMES {
                self.prune();
            }
            self.named.insert(name.to_owned(), T::default());
        }
        self.named.get_mut(name).expect("it was put there just now")
    }

    pub(super) fn top(&self, count: usize) -> Top<'_, T> {
        let mut all: Vec<_> = self.named.iter().map(|(name, figures)| (name.as_str(), figures)).collect();
        all.sort_by(|(a, x), (b, y)| y.weight().cmp(&x.weight()).then(a.cmp(b)));
        let others = all.split_off(count.min(all.len()));
        let mut rest = T::default();
        rest.merge(&self.rest);
        for (_, figures) in &others {
            rest.merge(figures);
        }
        Top { first: all, rest, others: others.len() + self.forgotten }
    }

    /// Forgets the lighter half.
    fn prune(&mut self) {
        let mut weights: Vec<u64> = self.named.values().map(Sum::weight).collect();
        weights.sort_unstable_by(|a, b| b.cmp(a));
        let least = weights[NAMES / 2];
        // What is left of the half for those that weigh as much as the first that has to go.
        let mut room = NAMES / 2 - weights.iter().take_while(|weight| **weight > least).count();
        let (rest, forgotten) = (&mut self.rest, &mut self.forgotten);
        self.named.retain(|_, figures| {
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
const NAMES: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Count(u64);

    impl Sum for Count {
        fn weight(&self) -> u64 {
            self.0
        }
        fn merge(&mut self, other: &Self) {
            self.0 += other.0;
        }
    }

    #[test]
    fn the_busiest_are_kept_and_the_rest_is_summed() {
        let mut most = Most::<Count>::default();
        for round in 0..20_000 {
            most.of("busy.example").0 += 1;
            most.of(&format!("{round}.example")).0 += 1;
        }
        assert!(most.named.len() <= NAMES);
        let top = most.top(3);
        assert_eq!(top.first.len(), 3);
        assert_eq!((top.first[0].0, top.first[0].1.0), ("busy.example", 20_000));
        let sum: u64 = top.first.iter().map(|(_, count)| count.0).sum();
        assert_eq!(sum + top.rest.0, 40_000, "nothing is lost");
        assert_eq!(top.others, 20_001 - 3);
    }
}
