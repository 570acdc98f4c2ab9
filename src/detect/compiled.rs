//! Rules with the automaton that searches for all their texts.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;

use super::ResponseView;
use super::condition::Condition;
use super::content_kind::ContentKind;
use super::prefilter::Prefilter;
use super::rule::{Rule, rule_error};
use super::structure::StructuralDetector;
use crate::exchange::error::Result;
use crate::exchange::verdict::{STRUCTURE_RULES, Verdict, VerdictKind};

pub(super) struct CompiledRules {
    pub(super) rules: Vec<Rule>,
    pub(super) patterns: Vec<TextPattern>,
    pub(super) automaton: AhoCorasick,
    pub(super) prefilter: Prefilter,
    /// Asked when no rule is sure.
    pub(super) structure: StructureSwitch,
}

/// The structural detector, and the kinds that a user has disabled.
#[derive(Clone, Debug)]
pub(super) enum StructureSwitch {
    Off,
    On { disabled: Vec<VerdictKind> },
}

impl Default for StructureSwitch {
    fn default() -> Self {
        Self::On { disabled: Vec::new() }
    }
}

impl StructureSwitch {
    /// Disables a kind: `structure/geo`, `structure/login-wall`. Returns whether `id` is one.
    pub(super) fn disable(&mut self, id: &str) -> bool {
        let parse = |name: String| -> Result<VerdictKind, serde::de::value::Error> {
            VerdictKind::deserialize(name.into_deserializer())
        };
        let kind = id.strip_prefix(STRUCTURE_RULES).and_then(|name| parse(name.replace('-', "_")).ok());
        match (kind, self) {
            (Some(kind), Self::On { disabled }) => {
                disabled.push(kind);
                true
            }
            (kind, _) => kind.is_some(),
        }
    }

    pub(super) fn is_slow(&self, view: &ResponseView<'_>, media: ContentKind) -> bool {
        matches!(self, Self::On { .. }) && StructuralDetector::shipped().is_slow(view, media)
    }

    pub(super) fn classify(&self, view: &ResponseView<'_>, media: ContentKind) -> Option<Verdict> {
        let Self::On { disabled } = self else { return None };
        StructuralDetector::shipped().classify(view, media, disabled)
    }
}

/// A text that a rule searches for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TextPattern {
    pub(super) text: String,
    pub(super) nocase: bool,
}

impl CompiledRules {
    pub(super) fn new(mut rules: Vec<Rule>, structure: StructureSwitch) -> Result<Self> {
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
        Ok(Self { rules, patterns: patterns.list, automaton, prefilter, structure })
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
