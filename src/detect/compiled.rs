//! Rules with the automaton that searches for all their texts.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::condition::Condition;
use super::prefilter::Prefilter;
use super::rule::Rule;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;

pub(super) struct CompiledRules {
    pub(super) rules: Vec<Rule>,
    pub(super) patterns: Vec<TextPattern>,
    pub(super) automaton: AhoCorasick,
    pub(super) prefilter: Prefilter,
}

/// A text that a rule searches for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TextPattern {
    pub(super) text: String,
    pub(super) nocase: bool,
}

impl CompiledRules {
    pub(super) fn new(mut rules: Vec<Rule>) -> Result<Self> {
        let mut patterns = PatternTable::default();
        for condition in rules.iter_mut().flat_map(Rule::conditions_mut) {
            match condition {
                Condition::Text { any, nocase, patterns: ids } => {
                    *ids = any.iter().map(|text| patterns.id(text, *nocase)).collect();
                }
                Condition::Css { selector, pattern } => *pattern = patterns.id(selector.token(), true),
                _ => {}
            }
        }
        let too_large =
            |cause| rule_error("the block rules are too large to compile".to_owned()).with_source(cause);
        let prefilter = Prefilter::new(&mut rules).map_err(too_large)?;
        // Each hit is compared by case later, so one automaton finds both kinds of pattern in one pass.
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::DFA))
            .build(patterns.list.iter().map(|pattern| &pattern.text))
            .map_err(too_large)?;
        Ok(Self { rules, patterns: patterns.list, automaton, prefilter })
    }
}

#[derive(Default)]
struct PatternTable {
    list: Vec<TextPattern>,
    ids: HashMap<TextPattern, usize>,
}

impl PatternTable {
    fn id(&mut self, text: &str, nocase: bool) -> usize {
        let pattern = TextPattern { text: text.to_owned(), nocase };
        *self.ids.entry(pattern).or_insert_with_key(|pattern| {
            self.list.push(pattern.clone());
            self.list.len() - 1
        })
    }
}

pub(super) fn rule_error(message: String) -> Error {
    Error::new(ErrorKind::Profile, message)
}
