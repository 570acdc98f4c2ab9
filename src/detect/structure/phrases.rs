//! Sets of phrases, found in one pass over a text.

use std::collections::{BTreeMap, HashMap};

use aho_corasick::AhoCorasick;

/// All sets of phrases.
pub(super) struct PhraseTable {
    automaton: AhoCorasick,
    /// Each phrase's sets, as bits.
    masks: Vec<u128>,
    phrases: Vec<String>,
    /// The bit of each set.
    sets: HashMap<String, u32>,
}

/// The sets of which a text contains a phrase.
pub(super) struct FoundSets<'a> {
    table: &'a PhraseTable,
    mask: u128,
}

impl PhraseTable {
    pub(super) fn new(sets: &BTreeMap<String, Vec<String>>) -> Result<Self, String> {
        if sets.len() > u128::BITS as usize {
            return Err(format!("`phrases` has more than {} sets", u128::BITS));
        }
        let mut masks: BTreeMap<&str, u128> = BTreeMap::new();
        for (bit, (name, phrases)) in sets.iter().enumerate() {
            for phrase in phrases {
                if phrase.is_empty() || phrase.to_lowercase() != *phrase {
                    return Err(format!("phrases.{name}: `{phrase}` is empty or not in lower case"));
                }
                *masks.entry(phrase).or_default() |= 1 << bit;
            }
        }
        let automaton = AhoCorasick::new(masks.keys()).map_err(|cause| format!("`phrases`: {cause}"))?;
        Ok(Self {
            automaton,
            phrases: masks.keys().map(|&phrase| phrase.to_owned()).collect(),
            masks: masks.into_values().collect(),
            sets: sets.keys().cloned().zip(0..).collect(),
        })
    }

    /// Searches a text in lower case for all phrases.
    pub(super) fn find(&self, text: &str) -> FoundSets<'_> {
        let found = self.automaton.find_overlapping_iter(text);
        let mask = found.fold(0, |mask, found| mask | self.masks[found.pattern().as_usize()]);
        FoundSets { table: self, mask }
    }

    /// Returns the phrases of these sets in a text in lower case.
    pub(super) fn phrases_of<'a>(&'a self, sets: &[&str], text: &'a str) -> impl Iterator<Item = &'a str> {
        let bits = sets.iter().fold(0, |bits, set| bits | self.bit(set));
        let found = self.automaton.find_overlapping_iter(text).map(|found| found.pattern().as_usize());
        found.filter(move |id| self.masks[*id] & bits != 0).map(|id| self.phrases[id].as_str())
    }

    fn bit(&self, set: &str) -> u128 {
        self.sets.get(set).map_or(0, |bit| 1 << bit)
    }
}

impl FoundSets<'_> {
    pub(super) fn has(&self, set: &str) -> bool {
        self.mask & self.table.bit(set) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(sets: &[(&str, &[&str])]) -> Result<PhraseTable, String> {
        let sets = sets
            .iter()
            .map(|(name, list)| ((*name).to_owned(), list.iter().map(|&p| p.to_owned()).collect()));
        PhraseTable::new(&sets.collect())
    }

    #[test]
    fn a_phrase_counts_for_each_of_its_sets_and_inside_another() {
        let table = table(&[("a", &["not a robot", "robot"]), ("b", &["robot"]), ("c", &["капча"])]).unwrap();
        let found = table.find("i am not a robot");
        assert_eq!(["a", "b", "c", "d"].map(|set| found.has(set)), [true, true, false, false]);
        assert_eq!(table.phrases_of(&["a"], "not a robot").collect::<Vec<_>>(), ["not a robot", "robot"]);
        assert!(table.find("введите капча").has("c"));
    }

    #[test]
    fn phrases_are_in_lower_case() {
        for bad in ["Robot", ""] {
            assert!(table(&[("a", &[bad])]).is_err_and(|message| message.contains("phrases.a")));
        }
    }
}
