//! The judgement: which rules fire, which is the strongest, and what fired them.

use std::borrow::Cow;

use http::header;
use select::document::Document;
use url::Url;

use super::condition::{Condition, TextMatch};
use super::content_kind::ContentKind;
use super::rule::Rule;
use super::rules::{CompiledRules, TextPattern};
use super::{PREFIX, ResponseView, html};
use crate::verdict::{Evidence, Verdict, VerdictKind};

/// The most pieces of evidence of one verdict, and the most characters of each.
const MAX_EVIDENCE: usize = 12;
const MAX_EVIDENCE_TEXT: usize = 120;

/// The largest JSON that is read for its keys.
const MAX_JSON: usize = 16 * 1024;

pub(super) fn classify(compiled: &CompiledRules, seen: &ResponseView<'_>) -> Verdict {
    let (mut facts, standing) = match_text(compiled, seen);
    facts.parse_page(&standing);
    settle(compiled, &facts, standing)
}

/// The verdict by asking every rule with all that could be read: slow, and what the quick ways are held to.
#[cfg(test)]
pub(super) fn classify_exhaustively(compiled: &CompiledRules, seen: &ResponseView<'_>) -> Verdict {
    let mut facts = MatchState::new(seen);
    let all: Vec<&Rule> = compiled.rules.iter().collect();
    facts.title = Lazy::Done(html::title(facts.body));
    facts.search_body(compiled);
    facts.page = Lazy::Done(if seen.complete { html::parse(seen.body) } else { None });
    settle(compiled, &facts, all)
}

/// The verdict, unless a rule that still stands asks for an element.
pub(super) fn classify_cheap(compiled: &CompiledRules, seen: &ResponseView<'_>) -> Option<Verdict> {
    let (mut facts, standing) = match_text(compiled, seen);
    if facts.needs_elements(&standing) {
        return None;
    }
    facts.parse_page(&standing);
    Some(settle(compiled, &facts, standing))
}

/// What costs little: status, headers, URL and size, then the title, then the text, each if it is asked for. The text is
/// searched for all that any rule asks for, unless a quick look finds that none of those left can fire.
fn match_text<'a>(
    compiled: &'a CompiledRules,
    seen: &'a ResponseView<'a>,
) -> (MatchState<'a>, Vec<&'a Rule>) {
    let mut facts = MatchState::new(seen);
    let moved = facts.redirected;
    let possible = |rule: &&Rule| rule.preconditions.is_met(seen, moved);
    let needled = compiled.rules.iter().any(|rule| rule.is_prefiltered && possible(&rule));
    let others = compiled.rules.iter().filter(|rule| !rule.is_prefiltered).filter(possible);
    let mut standing: Vec<&Rule> = others.filter(|rule| facts.evaluate_rule(rule) != Some(false)).collect();
    facts.match_titles(&mut standing);
    let searched = standing.iter().any(|rule| rule.needs_text)
        || needled && facts.media.is_readable() && compiled.prefilter.is_match(facts.body);
    if searched {
        facts.search_body(compiled);
        // All of them anew, in the order of the files.
        standing = compiled.rules.iter().filter(possible).collect();
        standing.retain(|rule| facts.evaluate_rule(rule) != Some(false));
        facts.match_titles(&mut standing);
    }
    (facts, standing)
}

fn settle(compiled: &CompiledRules, facts: &MatchState<'_>, mut standing: Vec<&Rule>) -> Verdict {
    standing.retain(|rule| facts.evaluate_rule(rule) == Some(true));
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
struct MatchState<'a> {
    view: &'a ResponseView<'a>,
    body: &'a [u8],
    media: ContentKind,
    /// Whether the answer came from another place than the one asked.
    redirected: bool,
    /// Where each pattern was first found, once the body was searched.
    hits: Option<Vec<Option<usize>>>,
    /// The title, once it was looked for.
    title: Lazy<String>,
    /// The parsed page, once it was asked for, where it can be parsed.
    page: Lazy<Document>,
}

/// What is read of a page only when it is asked for.
enum Lazy<T> {
    Unread,
    Done(Option<T>),
}

impl<T> Lazy<T> {
    /// Whether it is there and passes; `None` while it has not been read.
    fn is_some_and(&self, test: impl FnOnce(&T) -> bool) -> Option<bool> {
        match self {
            Self::Unread => None,
            Self::Done(value) => Some(value.as_ref().is_some_and(test)),
        }
    }
}

impl<'a> MatchState<'a> {
    fn new(view: &'a ResponseView<'a>) -> Self {
        let body = &view.body[..view.body.len().min(PREFIX)];
        let media = ContentKind::from_response(view.headers, body);
        let redirected = is_redirected(view.requested, view.url);
        Self { view, body, media, redirected, hits: None, title: Lazy::Unread, page: Lazy::Unread }
    }

    fn search_body(&mut self, compiled: &CompiledRules) {
        let mut hits = vec![None; compiled.patterns.len()];
        if self.media.is_readable() {
            for found in compiled.automaton.find_overlapping_iter(self.body) {
                let id = found.pattern().as_usize();
                let place = &mut hits[id];
                if place.is_none() && compiled.patterns[id].matches(&self.body[found.range()]) {
                    *place = Some(found.start());
                }
            }
        }
        self.hits = Some(hits);
    }

    /// Asks those rules anew that ask for the title, which is read where there are any.
    fn match_titles(&mut self, standing: &mut Vec<&Rule>) {
        if !standing.iter().any(|rule| rule.needs_title) {
            return;
        }
        if matches!(self.title, Lazy::Unread) {
            self.title = Lazy::Done(html::title(self.body));
        }
        standing.retain(|rule| !rule.needs_title || self.evaluate_rule(rule) != Some(false));
    }

    fn parse_page(&mut self, standing: &[&Rule]) {
        let wanted = self.needs_elements(standing);
        self.page = Lazy::Done(if wanted { html::parse(self.view.body) } else { None });
    }

    /// Whether the page must be parsed, and can be.
    fn needs_elements(&self, standing: &[&Rule]) -> bool {
        self.view.complete
            && self.is_waiting_for(standing, |c| matches!(c, Condition::Css { .. }))
            && html::is_parsable(self.view.body)
    }

    /// Whether a rule waits for the answer to such a condition.
    fn is_waiting_for(&self, standing: &[&Rule], such: fn(&Condition) -> bool) -> bool {
        standing.iter().any(|rule| rule.conditions().any(|c| such(c) && self.evaluate(c).is_none()))
    }

    /// Whether the rule fires; `None` while what it asks for has not been read.
    fn evaluate_rule(&self, rule: &Rule) -> Option<bool> {
        let all = and_all(rule.all.iter().map(|condition| self.evaluate(condition)));
        if all == Some(false) {
            return all;
        }
        let none = and_all(rule.none.iter().map(|condition| self.evaluate(condition).map(|holds| !holds)));
        if none == Some(false) || rule.any.is_empty() {
            return and(all, none);
        }
        // Any of them holds unless every one of them does not.
        let any = and_all(rule.any.iter().map(|condition| self.evaluate(condition).map(|holds| !holds)));
        and(and(all, none), any.map(|not_one| !not_one))
    }

    fn evaluate(&self, condition: &Condition) -> Option<bool> {
        let seen = self.view;
        Some(match condition {
            Condition::Status(_) => condition.allows_status(seen.status),
            Condition::Header { name, test } => self.matching_header(name, test).is_some(),
            Condition::Cookie { name, starts } => self.matching_cookie(name, *starts).is_some(),
            Condition::Host(host) => is_host(seen.url, host),
            Condition::Path(part) => path_contains(seen.url, part),
            Condition::RequestedPath(part) => path_contains(seen.requested, part),
            Condition::Query(part) => seen.url.query().is_some_and(|query| query.contains(part.as_str())),
            Condition::Redirected(moved) => self.redirected == *moved,
            Condition::VisibleText(starts) => {
                self.media.is_readable()
                    && seen.complete
                    && html::short_text(seen.body).is_some_and(|said| starts_with_any(&said, starts))
            }
            Condition::Json(keys) => {
                self.media == ContentKind::Data && seen.complete && has_keys(seen.body, keys)
            }
            Condition::Blank(blank) => {
                self.media == ContentKind::Html && seen.complete && html::is_blank(seen.body) == *blank
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
            Condition::Title(_) | Condition::Css { .. } if self.media != ContentKind::Html => false,
            Condition::Title(test) => self.title.is_some_and(|title| test.matches(title))?,
            Condition::Css { selector, pattern } => {
                // A page without the selector's own text cannot hold the element.
                self.hits.as_ref()?[*pattern].is_some()
                    && self.page.is_some_and(|page| html::has_element(page, selector))?
            }
        })
    }

    /// The first value of this header that passes.
    fn matching_header(&self, name: &http::HeaderName, test: &TextMatch) -> Option<String> {
        let values = self.view.headers.get_all(name).iter();
        values
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .find(|v| test.matches(v))
            .map(Cow::into_owned)
    }

    /// The name of a cookie that the answer sets. Names alone: values are secrets.
    fn matching_cookie(&self, name: &str, starts: bool) -> Option<String> {
        self.view
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
    fn evidence(&self, rule: &Rule, compiled: &CompiledRules) -> Vec<Evidence> {
        let fired = rule.any.iter().chain(&rule.all);
        let mut telling: Vec<&Condition> =
            fired.filter(|c| c.is_evidence() && self.evaluate(c) == Some(true)).collect();
        telling.sort_by_key(|condition| matches!(condition, Condition::Status(_)));
        telling
            .into_iter()
            .map(|condition| {
                let (place, text) = self.describe(condition, &compiled.patterns);
                let text = text.chars().take(MAX_EVIDENCE_TEXT).collect();
                Evidence { rule: rule.info.id.clone(), place, text }
            })
            .collect()
    }

    fn describe(&self, condition: &Condition, patterns: &[TextPattern]) -> (String, String) {
        match condition {
            Condition::Status(_) => ("status".to_owned(), self.view.status.to_string()),
            Condition::Header { name, test } => (format!("header {name}"), self.describe_header(name, test)),
            Condition::Cookie { name, starts } => {
                ("cookie".to_owned(), self.matching_cookie(name, *starts).unwrap_or_default())
            }
            Condition::Host(_) => ("url".to_owned(), self.view.url.host_str().unwrap_or("").to_owned()),
            Condition::Path(part) | Condition::Query(part) => ("url".to_owned(), part.clone()),
            Condition::RequestedPath(part) => ("url asked for".to_owned(), part.clone()),
            Condition::VisibleText(_) => {
                ("body".to_owned(), html::short_text(self.view.body).unwrap_or_default())
            }
            Condition::Json(keys) => ("json".to_owned(), keys.join(", ")),
            Condition::Blank(_) => ("body".to_owned(), "nothing to see".to_owned()),
            Condition::Redirected(_) => ("url".to_owned(), "not the one asked for".to_owned()),
            Condition::Title(_) => {
                let title = if let Lazy::Done(Some(title)) = &self.title { title.as_str() } else { "" };
                ("title".to_owned(), title.to_owned())
            }
            Condition::Text { patterns: ids, .. } => ("body".to_owned(), self.matched_text(ids, patterns)),
            Condition::Css { selector, .. } => ("element".to_owned(), selector.as_str().to_owned()),
            Condition::MaxBytes(_) | Condition::MinBytes(_) => {
                ("size".to_owned(), self.view.body.len().to_string())
            }
            Condition::Media(_) => ("content-type".to_owned(), format!("{:?}", self.media).to_lowercase()),
            Condition::Tier(tier) => ("tier".to_owned(), tier.name().to_owned()),
            Condition::ViaProxy(_) => ("proxy".to_owned(), "the answer came through one".to_owned()),
        }
    }

    /// A header's value, but where only its presence was asked for: it may be a token.
    fn describe_header(&self, name: &http::HeaderName, test: &TextMatch) -> String {
        match test {
            TextMatch::Present => "present".to_owned(),
            TextMatch::Is(_) => self.matching_header(name, test).unwrap_or_default(),
            TextMatch::Has(part) | TextMatch::Starts(part) => part.clone(),
        }
    }

    /// The bytes of the body that the first of these patterns hit.
    fn matched_text(&self, ids: &[usize], patterns: &[TextPattern]) -> String {
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

impl TextPattern {
    fn matches(&self, found: &[u8]) -> bool {
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
fn and_all(answers: impl Iterator<Item = Option<bool>>) -> Option<bool> {
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
fn starts_with_any(text: &str, starts: &[String]) -> bool {
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
fn path_contains(url: &Url, part: &str) -> bool {
    let path = url.path();
    path.match_indices(part).any(|(at, _)| {
        let next = path[at + part.len()..].chars().next();
        part.ends_with('/') || !next.is_some_and(|c| c.is_alphanumeric() || "-_".contains(c))
    })
}

/// Whether the answer came from another place: scheme, `www.` and a slash at the end do not count.
fn is_redirected(requested: &Url, url: &Url) -> bool {
    requested != url && host_and_path(requested) != host_and_path(url)
}

fn host_and_path(url: &Url) -> (&str, &str) {
    let host = url.host_str().unwrap_or("");
    (host.strip_prefix("www.").unwrap_or(host), url.path().trim_end_matches('/'))
}
