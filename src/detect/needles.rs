//! A quick look that nearly every genuine page passes: whether a body holds any of the texts that rules cannot fire without.

use std::collections::BTreeSet;

use aho_corasick::{AhoCorasick, BuildError, MatchKind};

use super::condition::Condition;
use super::rule::Rule;

/// A text shorter than this is in too many pages to tell any of them apart.
const MIN_LENGTH: usize = 4;

pub(super) struct Needles(AhoCorasick);

impl Needles {
    /// The needles of all `rules`, each of which learns whether it has some.
    pub(super) fn of(rules: &mut [Rule]) -> Result<Self, BuildError> {
        let mut texts = BTreeSet::new();
        for rule in rules {
            let needed = needed(rule).unwrap_or_default();
            texts.extend(needed.iter().map(|text| text.to_ascii_lowercase()));
            rule.is_needled = !needed.is_empty();
        }
        // Of this kind, and case-sensitive: some dozens are then looked for many bytes at a time.
        AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(texts).map(Self)
    }

    /// Whether one of them is in `body`, whatever the case of its ASCII letters.
    pub(super) fn are_in(&self, body: &[u8]) -> bool {
        self.0.is_match(&body.to_ascii_lowercase())
    }
}

/// Texts of which every body holds one that the rule fires on; those that tell most, where there is a choice.
/// `None` for a rule that needs no text, and for one that never fires on a 200: other answers are few.
fn needed(rule: &Rule) -> Option<Vec<&str>> {
    let may_be_ok = rule.all.iter().all(|condition| match condition {
        Condition::Status(ranges) => ranges.iter().any(|(from, to)| (*from..=*to).contains(&200)),
        _ => true,
    });
    let any: Option<Vec<&str>> =
        rule.any.iter().map(texts).collect::<Option<Vec<_>>>().map(|all| all.concat());
    let groups = rule.all.iter().filter_map(texts).chain(any);
    let shortest = |group: &Vec<&str>| group.iter().map(|text| text.len()).min().unwrap_or(0);
    groups.max_by_key(shortest).filter(|group| may_be_ok && shortest(group) >= MIN_LENGTH)
}

/// The texts one of which a body must hold for the condition to hold.
fn texts(condition: &Condition) -> Option<Vec<&str>> {
    match condition {
        Condition::Text { any, .. } => Some(any.iter().map(String::as_str).collect()),
        Condition::Css { selector, .. } => Some(vec![selector.token()]),
        _ => None,
    }
}
