//! All rules together: the shipped ones, the user's, and the one automaton that searches for all of them.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::condition::Condition;
use super::rule::{self, Rule, RuleInfo};
use super::{Seen, judge};
use crate::error::{Error, Result};
use crate::kind::ErrorKind;
use crate::verdict::Verdict;

/// The block rules, compiled. Cheap to clone.
#[derive(Clone)]
pub struct Rules(Arc<Compiled>);

pub(super) struct Compiled {
    pub(super) rules: Vec<Rule>,
    pub(super) patterns: Vec<Pattern>,
    pub(super) automaton: AhoCorasick,
}

/// A text that some rule asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pattern {
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

    /// The shipped rules and those of the user's folder (every `*.toml` in it, by name). A rule whose
    /// id is there already takes its place.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the folder or a file cannot be read, [`ErrorKind::Profile`] naming the
    /// file, the line and the key when a rule is wrong.
    pub fn with_dir(dir: &Path) -> Result<Self> {
        let mut rules = shipped_rules()?;
        for path in files_of(dir)? {
            let text = std::fs::read_to_string(&path).map_err(|cause| unreadable(&path, cause))?;
            for own in rule::read(&text, &path.display().to_string())? {
                match rules.iter_mut().find(|rule| rule.info.id == own.info.id) {
                    Some(place) => *place = own,
                    None => rules.push(own),
                }
            }
        }
        Self::compile(rules)
    }

    /// What this answer is.
    ///
    /// The strongest rule that fires gives kind and vendor; the evidence names every rule that fired,
    /// strongest first. Reads no more than [`PREFIX`](super::PREFIX) bytes of the body.
    #[must_use]
    pub fn judge(&self, seen: &Seen<'_>) -> Verdict {
        judge::judge(&self.0, seen)
    }

    /// Every rule, in the order of the files.
    pub fn list(&self) -> impl Iterator<Item = &RuleInfo> {
        self.0.rules.iter().map(|rule| &rule.info)
    }

    #[cfg(test)]
    pub(super) fn from_text(text: &str, origin: &str) -> Result<Self> {
        Self::compile(rule::read(text, origin)?)
    }

    fn compile(mut rules: Vec<Rule>) -> Result<Self> {
        let mut patterns = Patterns::default();
        for condition in rules.iter_mut().flat_map(Rule::conditions_mut) {
            match condition {
                Condition::Text { any, nocase, patterns: ids } => {
                    *ids = any.iter().map(|text| patterns.id(text, *nocase)).collect();
                }
                Condition::Css { selector, pattern } => *pattern = patterns.id(selector.token(), true),
                _ => {}
            }
        }
        // Case is checked on each hit: one automaton then serves both sorts of pattern in one pass.
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::DFA))
            .build(patterns.list.iter().map(|pattern| &pattern.text))
            .map_err(|cause| {
                Error::new(ErrorKind::Profile, "the block rules are too large together").with_source(cause)
            })?;
        Ok(Self(Arc::new(Compiled { rules, patterns: patterns.list, automaton })))
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("rules", &self.0.rules.len()).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Patterns {
    list: Vec<Pattern>,
    ids: HashMap<Pattern, usize>,
}

impl Patterns {
    fn id(&mut self, text: &str, nocase: bool) -> usize {
        let pattern = Pattern { text: text.to_owned(), nocase };
        *self.ids.entry(pattern).or_insert_with_key(|pattern| {
            self.list.push(pattern.clone());
            self.list.len() - 1
        })
    }
}

fn shipped_rules() -> Result<Vec<Rule>> {
    let mut rules = Vec::new();
    for (name, text) in SHIPPED {
        rules.extend(rule::read(text, name)?);
    }
    Ok(rules)
}

fn files_of(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|cause| unreadable(dir, cause))? {
        let path = entry.map_err(|cause| unreadable(dir, cause))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn unreadable(path: &Path, cause: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("could not read the block rules {}", path.display())).with_source(cause)
}

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
