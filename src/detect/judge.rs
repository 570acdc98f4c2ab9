//! The judgement: which rules fire, which is the strongest, and what fired them.

use std::borrow::Cow;

use http::header;
use select::document::Document;
use url::Url;

use super::condition::{Condition, Test};
use super::media::Media;
use super::rule::Rule;
use super::rules::{Compiled, Pattern};
use super::{PREFIX, Seen, page};
use crate::verdict::{Evidence, Verdict, VerdictKind};

/// The most pieces of evidence of one verdict, and the most characters of each.
const MAX_EVIDENCE: usize = 12;
const MAX_TEXT: usize = 120;

/// The largest JSON that is read for its keys.
const MAX_JSON: usize = 16 * 1024;

pub(super) fn judge(compiled: &Compiled, seen: &Seen<'_>) -> Verdict {
    let (mut facts, standing) = read_text(compiled, seen);
    facts.read_page(&standing);
    settle(compiled, &facts, standing)
}

/// The verdict by asking every rule with all that could be read: slow, and what the quick ways are held to.
#[cfg(test)]
pub(super) fn judge_plainly(compiled: &Compiled, seen: &Seen<'_>) -> Verdict {
    let mut facts = Facts::of(seen);
    let all: Vec<&Rule> = compiled.rules.iter().collect();
    facts.title = Read::Done(page::title(facts.body));
    facts.search(compiled);
    facts.page = Read::Done(if seen.complete { page::parse(seen.body) } else { None });
    settle(compiled, &facts, all)
}

/// The verdict, unless a rule that still stands asks for an element.
pub(super) fn judge_at_once(compiled: &Compiled, seen: &Seen<'_>) -> Option<Verdict> {
    let (mut facts, standing) = read_text(compiled, seen);
    if facts.asks_for_elements(&standing) {
        return None;
    }
    facts.read_page(&standing);
    Some(settle(compiled, &facts, standing))
}

/// What costs little: status, headers, URL and size, then the title, then the text, each if it is asked for. The text is
/// searched for all that any rule asks for, unless a quick look finds that none of those left can fire.
fn read_text<'a>(compiled: &'a Compiled, seen: &'a Seen<'a>) -> (Facts<'a>, Vec<&'a Rule>) {
    let mut facts = Facts::of(seen);
    let moved = facts.moved;
    let possible = |rule: &&Rule| rule.needs.are_met(seen, moved);
    let needled = compiled.rules.iter().any(|rule| rule.is_needled && possible(&rule));
    let others = compiled.rules.iter().filter(|rule| !rule.is_needled).filter(possible);
    let mut standing: Vec<&Rule> = others.filter(|rule| facts.answer(rule) != Some(false)).collect();
    facts.ask_titles(&mut standing);
    let searched = standing.iter().any(|rule| rule.asks_for_text)
        || needled && facts.media.is_readable() && compiled.needles.are_in(facts.body);
    if searched {
        facts.search(compiled);
        // All of them anew, in the order of the files.
        standing = compiled.rules.iter().filter(possible).collect();
        standing.retain(|rule| facts.answer(rule) != Some(false));
        facts.ask_titles(&mut standing);
    }
    (facts, standing)
}

fn settle(compiled: &Compiled, facts: &Facts<'_>, mut standing: Vec<&Rule>) -> Verdict {
    standing.retain(|rule| facts.answer(rule) == Some(true));
    // Stable: of equals, the first in the files leads.
    standing.sort_by(|a, b| {
        let (a, b) = (&a.info, &b.info);
        b.confidence.total_cmp(&a.confidence).then(rank(a.kind).cmp(&rank(b.kind)))
    });
    let Some(strongest) = standing.first() else { return Verdict::genuine() };
    Verdict {
        kind: strongest.info.kind,
        vendor: strongest.info.vendor.clone(),
        confidence: strongest.info.confidence,
        evidence: standing
            .iter()
            .flat_map(|rule| facts.evidence(rule, compiled))
            .take(MAX_EVIDENCE)
            .collect(),
    }
}

/// Between rules that are equally sure, the kind that asks for the most particular next step leads.
const fn rank(kind: VerdictKind) -> u8 {
    match kind {
        VerdictKind::ProxyFault => 0,
        VerdictKind::RateLimit => 1,
        VerdictKind::Geo => 2,
        VerdictKind::Captcha => 3,
        VerdictKind::Block => 4,
        VerdictKind::Challenge => 5,
        VerdictKind::LoginWall => 6,
        VerdictKind::OriginError => 7,
        VerdictKind::Stub => 8,
        VerdictKind::Genuine => 9,
    }
}

/// What is known of the answer so far.
struct Facts<'a> {
    seen: &'a Seen<'a>,
    body: &'a [u8],
    media: Media,
    /// Whether the answer came from another place than the one asked.
    moved: bool,
    /// Where each pattern was first found, once the body was searched.
    hits: Option<Vec<Option<usize>>>,
    /// The title, once it was looked for.
    title: Read<String>,
    /// The parsed page, once it was asked for, where it can be parsed.
    page: Read<Document>,
}

/// What is read of a page only when it is asked for.
enum Read<T> {
    NotYet,
    Done(Option<T>),
}

impl<T> Read<T> {
    /// Whether it is there and passes; `None` while it has not been read.
    fn passes(&self, test: impl FnOnce(&T) -> bool) -> Option<bool> {
        match self {
            Self::NotYet => None,
            Self::Done(value) => Some(value.as_ref().is_some_and(test)),
        }
    }
}

impl<'a> Facts<'a> {
    fn of(seen: &'a Seen<'a>) -> Self {
        let body = &seen.body[..seen.body.len().min(PREFIX)];
        let media = Media::of(seen.headers, body);
        let moved = is_moved(seen.requested, seen.url);
        Self { seen, body, media, moved, hits: None, title: Read::NotYet, page: Read::NotYet }
    }

    fn search(&mut self, compiled: &Compiled) {
        let mut hits = vec![None; compiled.patterns.len()];
        if self.media.is_readable() {
            for found in compiled.automaton.find_overlapping_iter(self.body) {
                let id = found.pattern().as_usize();
                let place = &mut hits[id];
                if place.is_none() && compiled.patterns[id].is(&self.body[found.range()]) {
                    *place = Some(found.start());
                }
            }
        }
        self.hits = Some(hits);
    }

    /// Asks those rules anew that ask for the title, which is read where there are any.
    fn ask_titles(&mut self, standing: &mut Vec<&Rule>) {
        if !standing.iter().any(|rule| rule.asks_for_title) {
            return;
        }
        if matches!(self.title, Read::NotYet) {
            self.title = Read::Done(page::title(self.body));
        }
        standing.retain(|rule| !rule.asks_for_title || self.answer(rule) != Some(false));
    }

    fn read_page(&mut self, standing: &[&Rule]) {
        let wanted = self.asks_for_elements(standing);
        self.page = Read::Done(if wanted { page::parse(self.seen.body) } else { None });
    }

    /// Whether the page must be parsed, and can be.
    fn asks_for_elements(&self, standing: &[&Rule]) -> bool {
        self.seen.complete
            && self.asks(standing, |c| matches!(c, Condition::Css { .. }))
            && page::is_parsed(self.seen.body)
    }

    /// Whether a rule waits for the answer to such a condition.
    fn asks(&self, standing: &[&Rule], such: fn(&Condition) -> bool) -> bool {
        standing.iter().any(|rule| rule.conditions().any(|c| such(c) && self.holds(c).is_none()))
    }

    /// Whether the rule fires; `None` while what it asks for has not been read.
    fn answer(&self, rule: &Rule) -> Option<bool> {
        let all = every(rule.all.iter().map(|condition| self.holds(condition)));
        if all == Some(false) {
            return all;
        }
        let none = every(rule.none.iter().map(|condition| self.holds(condition).map(|holds| !holds)));
        if none == Some(false) || rule.any.is_empty() {
            return and(all, none);
        }
        // Any of them holds unless every one of them does not.
        let any = every(rule.any.iter().map(|condition| self.holds(condition).map(|holds| !holds)));
        and(and(all, none), any.map(|not_one| !not_one))
    }

    fn holds(&self, condition: &Condition) -> Option<bool> {
        let seen = self.seen;
        Some(match condition {
            Condition::Status(_) => condition.allows_status(seen.status),
            Condition::Header { name, test } => self.header(name, test).is_some(),
            Condition::Cookie { name, starts } => self.cookie(name, *starts).is_some(),
            Condition::Host(host) => is_host(seen.url, host),
            Condition::Path(part) => has_path(seen.url, part),
            Condition::Asked(part) => has_path(seen.requested, part),
            Condition::Query(part) => seen.url.query().is_some_and(|query| query.contains(part.as_str())),
            Condition::Moved(moved) => self.moved == *moved,
            Condition::Says(starts) => {
                self.media.is_readable()
                    && seen.complete
                    && page::sentence(seen.body).is_some_and(|said| says(&said, starts))
            }
            Condition::Json(keys) => self.media == Media::Data && seen.complete && has_keys(seen.body, keys),
            Condition::Blank(blank) => {
                self.media == Media::Html && seen.complete && page::is_blank(seen.body) == *blank
            }
            Condition::MaxBytes(bound) => seen.complete && seen.body.len() <= *bound,
            Condition::MinBytes(bound) => seen.body.len() >= *bound,
            Condition::Media(sorts) => sorts.contains(&self.media),
            Condition::Tier(tier) => seen.tier == Some(*tier),
            Condition::ViaProxy(via) => seen.via_proxy == *via,
            Condition::Text { .. } if !self.media.is_readable() => false,
            Condition::Text { patterns, .. } => {
                let hits = self.hits.as_ref()?;
                patterns.iter().any(|id| hits[*id].is_some())
            }
            Condition::Title(_) | Condition::Css { .. } if self.media != Media::Html => false,
            Condition::Title(test) => self.title.passes(|title| test.passes(title))?,
            Condition::Css { selector, pattern } => {
                // A page without the selector's own text cannot hold the element.
                self.hits.as_ref()?[*pattern].is_some()
                    && self.page.passes(|page| page::has(page, selector))?
            }
        })
    }

    /// The first value of this header that passes.
    fn header(&self, name: &http::HeaderName, test: &Test) -> Option<String> {
        let values = self.seen.headers.get_all(name).iter();
        values
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .find(|v| test.passes(v))
            .map(Cow::into_owned)
    }

    /// The name of a cookie that the answer sets. Names alone: values are secrets.
    fn cookie(&self, name: &str, starts: bool) -> Option<String> {
        self.seen
            .headers
            .get_all(header::SET_COOKIE)
            .iter()
            .filter_map(|value| {
                let set = value.as_bytes().split(|byte| *byte == b'=').next()?;
                std::str::from_utf8(set).ok().map(str::trim)
            })
            .find(|set| if starts { set.starts_with(name) } else { *set == name })
            .map(str::to_owned)
    }

    /// What fired the rule: the telling conditions, the status last.
    fn evidence(&self, rule: &Rule, compiled: &Compiled) -> Vec<Evidence> {
        let fired = rule.any.iter().chain(&rule.all);
        let mut telling: Vec<&Condition> =
            fired.filter(|c| c.is_telling() && self.holds(c) == Some(true)).collect();
        telling.sort_by_key(|condition| matches!(condition, Condition::Status(_)));
        telling
            .into_iter()
            .map(|condition| {
                let (place, text) = self.shown(condition, &compiled.patterns);
                let text = text.chars().take(MAX_TEXT).collect();
                Evidence { rule: rule.info.id.clone(), place, text }
            })
            .collect()
    }

    fn shown(&self, condition: &Condition, patterns: &[Pattern]) -> (String, String) {
        match condition {
            Condition::Status(_) => ("status".to_owned(), self.seen.status.to_string()),
            Condition::Header { name, test } => (format!("header {name}"), self.header_shown(name, test)),
            Condition::Cookie { name, starts } => {
                ("cookie".to_owned(), self.cookie(name, *starts).unwrap_or_default())
            }
            Condition::Host(_) => ("url".to_owned(), self.seen.url.host_str().unwrap_or("").to_owned()),
            Condition::Path(part) | Condition::Query(part) => ("url".to_owned(), part.clone()),
            Condition::Asked(part) => ("url asked for".to_owned(), part.clone()),
            Condition::Says(_) => ("body".to_owned(), page::sentence(self.seen.body).unwrap_or_default()),
            Condition::Json(keys) => ("json".to_owned(), keys.join(", ")),
            Condition::Blank(_) => ("body".to_owned(), "nothing to see".to_owned()),
            Condition::Moved(_) => ("url".to_owned(), "not the one asked for".to_owned()),
            Condition::Title(_) => {
                let title = if let Read::Done(Some(title)) = &self.title { title.as_str() } else { "" };
                ("title".to_owned(), title.to_owned())
            }
            Condition::Text { patterns: ids, .. } => ("body".to_owned(), self.found(ids, patterns)),
            Condition::Css { selector, .. } => ("element".to_owned(), selector.as_str().to_owned()),
            Condition::MaxBytes(_) | Condition::MinBytes(_) => {
                ("size".to_owned(), self.seen.body.len().to_string())
            }
            Condition::Media(_) => ("content-type".to_owned(), format!("{:?}", self.media).to_lowercase()),
            Condition::Tier(tier) => ("tier".to_owned(), tier.name().to_owned()),
            Condition::ViaProxy(_) => ("proxy".to_owned(), "the answer came through one".to_owned()),
        }
    }

    /// A header's value, but where only its presence was asked for: it may be a token.
    fn header_shown(&self, name: &http::HeaderName, test: &Test) -> String {
        match test {
            Test::Present => "present".to_owned(),
            Test::Is(_) => self.header(name, test).unwrap_or_default(),
            Test::Has(part) | Test::Starts(part) => part.clone(),
        }
    }

    /// The bytes of the body that the first of these patterns hit.
    fn found(&self, ids: &[usize], patterns: &[Pattern]) -> String {
        let hits = self.hits.as_deref().unwrap_or_default();
        ids.iter()
            .find_map(|id| {
                let start = (*hits.get(*id)?)?;
                let bytes = self.body.get(start..start + patterns[*id].text.len())?;
                Some(String::from_utf8_lossy(bytes).into_owned())
            })
            .unwrap_or_default()
    }
}

impl Pattern {
    fn is(&self, found: &[u8]) -> bool {
        self.nocase || found == self.text.as_bytes()
    }
}

fn and(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// Whether all hold; looks no further than the first that does not.
fn every(answers: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut all = Some(true);
    for answer in answers {
        all = and(all, answer);
        if all == Some(false) {
            break;
        }
    }
    all
}

/// The same host, one under it, or, for a name that ends in a dot, such a host in any country.
fn is_host(url: &Url, wanted: &str) -> bool {
    let Some(host) = url.host_str() else { return false };
    if wanted.ends_with('.') {
        return host.match_indices(wanted).any(|(at, _)| at == 0 || host.as_bytes()[at - 1] == b'.');
    }
    host == wanted || host.strip_suffix(wanted).is_some_and(|front| front.ends_with('.'))
}

/// Whether the text begins with one of these, whose ASCII letters are small.
fn says(text: &str, starts: &[String]) -> bool {
    let text = text.to_ascii_lowercase();
    starts.iter().any(|start| text.starts_with(start.as_str()))
}

/// Whether the body is a JSON object with all these keys. A quoted key in some text is not one.
fn has_keys(body: &[u8], keys: &[String]) -> bool {
    body.len() <= MAX_JSON
        && serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body)
            .is_ok_and(|object| keys.iter().all(|key| object.contains_key(key)))
}

/// Whether the path holds `part`, and a word ends with it: `/login` is in `/en/login.php`, and is not in
/// `/login-page-design`.
fn has_path(url: &Url, part: &str) -> bool {
    let path = url.path();
    path.match_indices(part).any(|(at, _)| {
        let next = path[at + part.len()..].chars().next();
        part.ends_with('/') || !next.is_some_and(|c| c.is_alphanumeric() || "-_".contains(c))
    })
}

/// Whether the answer came from another place: scheme, `www.` and a slash at the end do not count.
fn is_moved(requested: &Url, url: &Url) -> bool {
    requested != url && place(requested) != place(url)
}

fn place(url: &Url) -> (&str, &str) {
    let host = url.host_str().unwrap_or("");
    (host.strip_prefix("www.").unwrap_or(host), url.path().trim_end_matches('/'))
}
