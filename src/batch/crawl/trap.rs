//! Detects crawler traps: endless series of dates, sessions, parameters or repeating paths. Pure.
//!
//! Every URL belongs to patterns, and each pattern has a limit of pages. At most 65,536 patterns are counted; beyond
//! that, the least frequent ones are dropped.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;
use url::Url;

use crate::extract::MAX_URL;

/// A URL pattern whose limit a crawl reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Trap {
    /// The pattern: `N` stands for a number, `*` for a name.
    pub pattern: String,
    /// The kind of trap: `long url`, `long query`, `deep path`, `repeating path`, `dates`, `session`, `query` or
    /// `folder`.
    pub why: &'static str,
    /// The pages of the pattern that were followed; 0 if its limit is 0.
    pub followed: u32,
    /// The links that were not followed.
    pub left: u64,
}

/// Counts the pages of each pattern.
pub(super) struct TrapDetector {
    limit: u32,
    counts: HashMap<u64, u32>,
    traps: Vec<Trap>,
    /// The positions in `traps`, by [`TrapKey::id`].
    index: HashMap<u64, usize>,
}

/// A pattern that a URL belongs to.
#[derive(Debug, PartialEq, Eq)]
struct TrapKey {
    pattern: String,
    why: &'static str,
    limit: u32,
}

impl TrapDetector {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, counts: HashMap::new(), traps: Vec::new(), index: HashMap::new() }
    }

    /// Whether to follow a link to `url`. If so, the page is counted.
    pub(super) fn admit(&mut self, url: &Url) -> bool {
        let keys = trap_keys(url, self.limit);
        for key in &keys {
            let followed =
                if key.limit == 0 { 0 } else { self.counts.get(&key.id()).copied().unwrap_or_default() };
            if followed >= key.limit {
                self.record_skipped(key, followed);
                return false;
            }
        }
        self.count(&keys);
        true
    }

    /// Counts a page of an earlier run.
    pub(super) fn restore(&mut self, url: &Url) {
        self.count(&trap_keys(url, self.limit));
    }

    /// Returns the traps, sorted by the number of links not followed.
    pub(super) fn list(&self) -> Vec<Trap> {
        let mut list = self.traps.clone();
        list.sort_by(|a, b| b.left.cmp(&a.left).then_with(|| a.pattern.cmp(&b.pattern)));
        list
    }

    #[cfg(test)]
    pub(super) fn pattern_count(&self) -> usize {
        self.counts.len()
    }

    fn count(&mut self, keys: &[TrapKey]) {
        for key in keys {
            *self.counts.entry(key.id()).or_default() += 1;
        }
        let mut least = 1;
        while self.counts.len() > MAX_PATTERNS {
            self.counts.retain(|_, count| *count > least);
            least *= 2;
        }
    }

    fn record_skipped(&mut self, key: &TrapKey, followed: u32) {
        let id = key.id();
        if let Some(at) = self.index.get(&id) {
            self.traps[*at].left += 1;
            return;
        }
        if self.traps.len() >= MAX_TRAPS {
            // The last entry counts all further traps.
            if let Some(last) = self.traps.last_mut() {
                last.left += 1;
            }
            return;
        }
        let is_last = self.traps.len() + 1 == MAX_TRAPS;
        let pattern = if is_last { "others".to_owned() } else { key.pattern.clone() };
        self.index.insert(id, self.traps.len());
        self.traps.push(Trap { pattern, why: key.why, followed, left: 1 });
    }
}

impl TrapKey {
    fn new(pattern: String, why: &'static str, limit: u32) -> Self {
        Self { pattern, why, limit }
    }

    fn id(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        (&self.pattern, self.why).hash(&mut hash);
        hash.finish()
    }
}

/// Returns the patterns that a URL belongs to, with their limits.
fn trap_keys(url: &Url, limit: u32) -> Vec<TrapKey> {
    let host = url.host_str().unwrap_or_default();
    let segments: Vec<&str> = url.path().split('/').filter(|segment| !segment.is_empty()).collect();
    let query = url.query().unwrap_or_default();
    let none = |why| vec![TrapKey::new(format!("{host}/*"), why, 0)];
    if url.as_str().len() > MAX_URL {
        return none("long url");
    }
    if query.len() > MAX_QUERY || query.split('&').count() > MAX_PARAMETERS {
        return vec![TrapKey::new(format!("{host}{}?*", generalize(&segments, true)), "long query", 0)];
    }
    if segments.len() > MAX_SEGMENTS {
        return none("deep path");
    }
    if let Some(again) = find_repeated(&segments) {
        return vec![TrapKey::new(format!("{host}/*/{}/*", shorten(again)), "repeating path", 0)];
    }
    let names = parameter_names(query);
    let leaf = format!("{host}{}{names}", generalize(&segments, true));
    let mut keys = Vec::new();
    if is_dated(&segments, query) {
        keys.push(TrapKey::new(leaf.clone(), "dates", limit.min(MAX_DATES)));
    }
    if !query.is_empty() {
        let path: Vec<String> = segments.iter().map(|segment| shorten(segment)).collect();
        keys.push(TrapKey::new(format!("{host}/{}{names}", path.join("/")), "query", (limit / 10).max(1)));
    }
    let folders = &segments[..segments.len().saturating_sub(1)];
    if let Some(at) = folders.iter().position(|folder| is_token(folder)) {
        let pattern = format!("{host}{}/*/…", generalize(&segments[..at], true));
        keys.push(TrapKey::new(pattern, "session", (limit / 10).max(1)));
    }
    keys.push(TrapKey::new(format!("{host}{}/*{names}", generalize(folders, true)), "folder", limit));
    keys
}

/// Returns the path with `N` for numbers and `*` for tokens.
fn generalize(segments: &[&str], slash: bool) -> String {
    let mut path = String::new();
    for segment in segments {
        if slash {
            path.push('/');
        }
        if is_number(segment) || is_date(segment) {
            path.push('N');
        } else if is_token(segment) {
            path.push('*');
        } else {
            path.push_str(&shorten(segment));
        }
    }
    path
}

/// Truncates a segment, so that patterns stay short.
fn shorten(segment: &str) -> String {
    let mut shown: String = segment.chars().take(MAX_SHOWN).collect();
    if shown.len() < segment.len() {
        shown.push('…');
    }
    shown
}

/// Returns the parameter names, sorted and without duplicates.
fn parameter_names(query: &str) -> String {
    let mut names: Vec<String> =
        query.split('&').filter(|pair| !pair.is_empty()).map(|pair| shorten(parameter_name(pair))).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() { String::new() } else { format!("?{}", names.join("&")) }
}

fn parameter_name(pair: &str) -> &str {
    pair.split('=').next().unwrap_or_default()
}

/// Returns a segment that occurs at least [`MAX_REPEATS`] times.
fn find_repeated<'a>(segments: &[&'a str]) -> Option<&'a str> {
    let mut counts: HashMap<&str, u32> = HashMap::new();
    for segment in segments {
        let count = counts.entry(segment).or_default();
        *count += 1;
        if *count >= MAX_REPEATS {
            return Some(segment);
        }
    }
    None
}

/// Whether the page is a date of a calendar: its path ends in a date, or a parameter is a date.
fn is_dated(segments: &[&str], query: &str) -> bool {
    let year = segments.iter().position(|segment| is_year(segment));
    let ends_so = year
        .is_some_and(|at| segments[at + 1..].iter().all(|segment| segment.len() <= 2 && is_number(segment)));
    let mut parameters = query.split('&').filter_map(|pair| pair.split_once('='));
    ends_so
        || segments.last().is_some_and(|leaf| is_date(leaf))
        || parameters.any(|(name, value)| {
            let name = name.to_ascii_lowercase();
            is_date(value) || (is_number(value) && DATE_PARAMETERS.iter().any(|dated| name.contains(dated)))
        })
}

fn is_year(text: &str) -> bool {
    text.len() == 4 && is_number(text) && ["19", "20", "21"].iter().any(|century| text.starts_with(century))
}

/// Whether the text is a date like `2026-11` or `2026-11-05`, separated by `-`, `_` or `.`.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split(['-', '_', '.']).collect();
    (parts.len() == 2 || parts.len() == 3)
        && is_year(parts[0])
        && parts[1..].iter().all(|part| (1..=2).contains(&part.len()) && is_number(part))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether the text looks generated: a long mix of letters and digits.
fn is_token(text: &str) -> bool {
    let is_made = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'(' | b')');
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    text.len() >= 16 && text.bytes().all(is_made) && digits >= 4 && digits < text.len()
        // Words joined by dashes are a title with numbers. The parts of a UUID all contain digits.
        && text.split(['-', '_']).all(|part| part.len() < 3 || part.bytes().any(|byte| byte.is_ascii_digit()))
}

const MAX_QUERY: usize = 512;
const MAX_PARAMETERS: usize = 16;
const MAX_SEGMENTS: usize = 20;
/// A path that repeats a segment this often is a trap.
const MAX_REPEATS: u32 = 4;
/// The maximum number of dates of one calendar.
const MAX_DATES: u32 = 400;
const DATE_PARAMETERS: [&str; 5] = ["year", "month", "day", "date", "week"];
const MAX_PATTERNS: usize = 1 << 16;
/// The maximum number of reported traps; the last entry counts all others.
const MAX_TRAPS: usize = 100;
const MAX_SHOWN: usize = 40;
