//! All rules together: the shipped ones, the user's, and the one automaton that searches for all of them.

use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::condition::Condition;
use super::prefilter::Prefilter;
use super::rule::{self, Rule, RuleInfo};
use super::{Expectation, ResponseView, classify};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::verdict::{Verdict, VerdictKind};

/// The block rules, compiled. Cheap to clone.
#[derive(Clone)]
pub struct Rules(pub(super) Arc<CompiledRules>);

pub(super) struct CompiledRules {
    pub(super) rules: Vec<Rule>,
    pub(super) patterns: Vec<TextPattern>,
    pub(super) automaton: AhoCorasick,
    pub(super) prefilter: Prefilter,
}

/// A text that some rule asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TextPattern {
    pub(super) text: String,
    pub(super) nocase: bool,
}

impl Rules {
    /// The rules shipped inside this build. They are compiled once.
    #[must_use]
    pub fn shipped() -> Self {
        static COMPILED: LazyLock<Rules> = LazyLock::new(|| {
            let rules = shipped_rules().expect("a test reads every shipped rule");
            Rules::compile(rules).expect("a test compiles the shipped rules")
        });
        COMPILED.clone()
    }

    /// The shipped rules and those of the user's folder (every `*.toml` in it).
    ///
    /// A rule whose id (`file/rule`, the file's `name` and the rule's `id`) is shipped takes the shipped
    /// one's place, one with a new id is added, and `off = ["rule"]` in a file takes the shipped rules of
    /// its `name` away. No two files of the folder may have the same rule. Files in folders below are
    /// not read.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the folder or a file cannot be read, [`ErrorKind::Profile`] naming the
    /// file, the line and the key when a rule is wrong.
    pub fn with_dir(dir: &Path) -> Result<Self> {
        let mut rules = shipped_rules()?;
        let mut own: Vec<Rule> = Vec::new();
        for path in toml_files(dir)? {
            let text = read_file(&path)?;
            let origin = path.display().to_string();
            let file = rule::parse_file(&text, &origin)?;
            for id in &file.disabled {
                disable_rule(&mut rules, id, &origin)?;
            }
            for rule in file.rules {
                if let Some(first) = own.iter().find(|first| first.info.id == rule.info.id) {
                    let (id, first) = (&rule.info.id, &first.info.origin);
                    return Err(rule_error(format!("{origin}: the rule `{id}` is in {first} already")));
                }
                own.push(rule);
            }
        }
        merge_rules(own, &mut rules);
        Self::compile(rules)
    }

    /// The rules of one file's text and no others; `origin` names it in errors.
    ///
    /// # Errors
    /// [`ErrorKind::Profile`], naming the place, when the text is not a file of rules.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self> {
        let file = rule::parse_file(text, origin)?;
        match file.disabled.first() {
            Some(id) => Err(rule_error(format!("{origin}: `off`: there is no rule `{id}` to switch off"))),
            None => Self::compile(file.rules),
        }
    }

    /// These rules and those of one more file's text, which take the place of those with their ids and
    /// switch off what its `off` names.
    ///
    /// # Errors
    /// [`ErrorKind::Profile`], naming the place, when the text is not a file of rules.
    pub fn and_toml(&self, text: &str, origin: &str) -> Result<Self> {
        let file = rule::parse_file(text, origin)?;
        let mut rules = self.0.rules.clone();
        for id in &file.disabled {
            disable_rule(&mut rules, id, origin)?;
        }
        merge_rules(file.rules, &mut rules);
        Self::compile(rules)
    }

    /// What this answer is.
    ///
    /// The strongest rule that fires gives kind and vendor; the evidence names every rule that fired,
    /// strongest first. Reads no more than [`PREFIX`](super::PREFIX) bytes of the body.
    #[must_use]
    pub fn classify(&self, seen: &ResponseView<'_>) -> Verdict {
        classify::classify(&self.0, seen)
    }

    /// What this answer is, when that can be told without parsing HTML; `None` when a rule is left
    /// that asks for an element. Then [`judge`](Self::judge) is better called off the async threads.
    #[must_use]
    pub fn classify_cheap(&self, seen: &ResponseView<'_>) -> Option<Verdict> {
        classify::classify_cheap(&self.0, seen)
    }

    /// What this answer is, held also to what its target's pages must have: a 200 that nothing else
    /// speaks against, and that misses some of it, is a [`VerdictKind::Stub`].
    #[must_use]
    pub fn classify_with_expectation(&self, seen: &ResponseView<'_>, expect: &Expectation) -> Verdict {
        let verdict = self.classify(seen);
        if verdict.kind != VerdictKind::Genuine {
            return verdict;
        }
        expect.check(seen).unwrap_or(verdict)
    }

    /// Every rule, in the order of the files.
    pub fn list(&self) -> impl Iterator<Item = &RuleInfo> {
        self.0.rules.iter().map(|rule| &rule.info)
    }

    fn compile(mut rules: Vec<Rule>) -> Result<Self> {
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
            |cause| rule_error("the block rules are too large together".to_owned()).with_source(cause);
        let needles = Prefilter::new(&mut rules).map_err(too_large)?;
        // Case is checked on each hit: one automaton then serves both sorts of pattern in one pass.
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::DFA))
            .build(patterns.list.iter().map(|pattern| &pattern.text))
            .map_err(too_large)?;
        Ok(Self(Arc::new(CompiledRules { rules, patterns: patterns.list, automaton, prefilter: needles })))
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("rules", &self.0.rules.len()).finish_non_exhaustive()
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

fn shipped_rules() -> Result<Vec<Rule>> {
    let mut rules = Vec::new();
    for (name, text) in SHIPPED {
        rules.extend(rule::parse_file(text, name)?.rules);
    }
    Ok(rules)
}

fn toml_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|cause| read_error(dir, cause))? {
        let path = entry.map_err(|cause| read_error(dir, cause))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A file of rules, up to a bound no sane one comes near.
fn read_file(path: &Path) -> Result<String> {
    let file = std::fs::File::open(path).map_err(|cause| read_error(path, cause))?;
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|cause| read_error(path, cause))?;
    if text.len() as u64 > MAX_FILE {
        return Err(rule_error(format!("{}: larger than {MAX_FILE} bytes", path.display())));
    }
    Ok(text)
}

/// Puts `own` in the place of those rules that have their ids, and the others behind them.
fn merge_rules(own: Vec<Rule>, rules: &mut Vec<Rule>) {
    for rule in own {
        match rules.iter_mut().find(|known| known.info.id == rule.info.id) {
            Some(place) => *place = rule,
            None => rules.push(rule),
        }
    }
}

fn disable_rule(rules: &mut Vec<Rule>, id: &str, origin: &str) -> Result<()> {
    let Some(at) = rules.iter().position(|rule| rule.info.id == id) else {
        return Err(rule_error(format!("{origin}: `off`: there is no shipped rule `{id}`"))
            .with_hint("`rungs detect --rules` lists them"));
    };
    rules.remove(at);
    Ok(())
}

fn rule_error(what: String) -> Error {
    Error::new(ErrorKind::Profile, what)
}

fn read_error(path: &Path, cause: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("could not read the block rules {}", path.display())).with_source(cause)
}

const MAX_FILE: u64 = 1024 * 1024;

macro_rules! shipped {
    ($($file:literal),* $(,)?) => {
        &[$((concat!("profiles/blocks/", $file), include_str!(concat!("../../profiles/blocks/", $file)))),*]
    };
}

const SHIPPED: &[(&str, &str)] = shipped![
    "akamai.toml",
    "amazon.toml",
    "anubis.toml",
    "aws-waf.toml",
    "cloudflare.toml",
    "datadome.toml",
    "ddos-guard.toml",
    "f5.toml",
    "generic.toml",
    "google.toml",
    "human.toml",
    "imperva.toml",
    "kasada.toml",
    "linkedin.toml",
    "proxy.toml",
    "reblaze.toml",
    "sucuri.toml",
    "vercel.toml",
];
