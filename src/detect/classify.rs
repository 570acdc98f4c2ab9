//! Classification: which rules fire, which is the strongest, and the evidence.

use std::borrow::Cow;

use http::header;
use memchr::memmem;
use scraper::Html;
use url::Url;

use super::compiled::{CompiledRules, TextPattern};
use super::condition::{Condition, TextMatch};
use super::content_kind::ContentKind;
use super::near_rule::NearRule;
use super::rule::Rule;
use super::{PREFIX, ResponseView, html};
use crate::exchange::verdict::{Evidence, Verdict, VerdictKind};

/// Maximum pieces of evidence of one verdict, and maximum characters of each.
const MAX_EVIDENCE: usize = 12;
const MAX_EVIDENCE_TEXT: usize = 120;
/// Maximum rules that nearly fired.
const MAX_NEAR: usize = 10;

/// The confidence of rules that fire on any refusal at most, and of a rule of a vendor at least.
const MAX_UNCERTAIN: f32 = 0.56;
const MIN_VENDOR: f32 = 0.75;

/// Maximum size of a body with data that is parsed for its keys or searched, in bytes.
const MAX_JSON: usize = 16 * 1024;

/// Returns the verdict. May parse the page.
pub(super) fn classify(compiled: &CompiledRules, view: &ResponseView<'_>) -> Verdict {
    let (mut state, remaining) = match_text(compiled, view);
    state.parse_page(&remaining);
    verdict_of(compiled, &state, remaining)
}

/// Returns the verdict after evaluating every rule on the whole response. Slow; the reference for the fast paths.
#[cfg(test)]
pub(super) fn classify_exhaustively(compiled: &CompiledRules, view: &ResponseView<'_>) -> Verdict {
    verdict_of(compiled, &read_everything(compiled, view), compiled.rules.iter().collect())
}

/// Returns the rules of which all conditions hold but one, the most confident first.
pub(super) fn near_rules(compiled: &CompiledRules, view: &ResponseView<'_>) -> Vec<NearRule> {
    let state = read_everything(compiled, view);
    let mut near: Vec<NearRule> = compiled
        .rules
        .iter()
        .filter_map(|rule| Some(NearRule::new(&rule.info, state.only_missing(rule)?)))
        .collect();
    near.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    near.truncate(MAX_NEAR);
    near
}

/// Reads every part of the response that a rule may need.
fn read_everything<'a>(compiled: &CompiledRules, view: &'a ResponseView<'a>) -> MatchState<'a> {
    let mut state = MatchState::new(view);
    state.title = Lazy::Done(html::title(state.body));
    state.search_body(compiled);
    state.page = Lazy::Done(if view.complete { html::parse(view.body) } else { None });
    state
}

/// Returns the verdict, or `None` if a remaining rule needs an element, or the structural detector must read a large
/// page.
pub(super) fn classify_cheap(compiled: &CompiledRules, view: &ResponseView<'_>) -> Option<Verdict> {
    let (mut state, remaining) = match_text(compiled, view);
    if state.needs_elements(&remaining) {
        return None;
    }
    state.parse_page(&remaining);
    let verdict = verdict_of_rules(compiled, &state, remaining);
    if is_uncertain(&verdict, view) && compiled.structure.is_slow(view, state.media) {
        return None;
    }
    Some(or_structural(compiled, &state, verdict))
}

/// Evaluates the cheap conditions: status, headers, URL and size, then the title, then the text, each only if a rule
/// needs it. The text search covers the patterns of all rules. It is skipped if the prefilter shows that no
/// remaining rule can fire. Returns the rules that may still fire.
fn match_text<'a>(
    compiled: &'a CompiledRules,
    view: &'a ResponseView<'a>,
) -> (MatchState<'a>, Vec<&'a Rule>) {
    let mut state = MatchState::new(view);
    let redirected = state.redirected;
    let is_possible = |rule: &&Rule| rule.preconditions.is_met(view, redirected);
    let has_prefiltered = compiled.rules.iter().any(|rule| rule.is_prefiltered && is_possible(&rule));
    let unfiltered = compiled.rules.iter().filter(|rule| !rule.is_prefiltered).filter(is_possible);
    let mut remaining: Vec<&Rule> =
        unfiltered.filter(|rule| state.evaluate_rule(rule) != Some(false)).collect();
    state.match_titles(&mut remaining);
    let needs_search = remaining.iter().any(|rule| rule.needs_text)
        || has_prefiltered && state.media.is_readable() && compiled.prefilter.is_match(state.body);
    if needs_search {
        state.search_body(compiled);
        // Evaluates all rules again, in the order of the files.
        remaining = compiled.rules.iter().filter(is_possible).collect();
        remaining.retain(|rule| state.evaluate_rule(rule) != Some(false));
        state.match_titles(&mut remaining);
    }
    (state, remaining)
}

/// Returns the verdict of the rules and the structural detector.
fn verdict_of(compiled: &CompiledRules, state: &MatchState<'_>, remaining: Vec<&Rule>) -> Verdict {
    or_structural(compiled, state, verdict_of_rules(compiled, state, remaining))
}

/// Returns the verdict of the rules, or that of the structural detector if they are not sure.
fn or_structural(compiled: &CompiledRules, state: &MatchState<'_>, verdict: Verdict) -> Verdict {
    if !is_uncertain(&verdict, state.view) {
        return verdict;
    }
    let Some(mut structural) = compiled.structure.classify(state.view, state.media) else { return verdict };
    structural.evidence.extend(verdict.evidence);
    structural.evidence.truncate(MAX_EVIDENCE);
    structural
}

/// Whether the structural detector decides: no rule fired, or only one that fires on any refusal. Behind a proxy, a rule
/// without a vendor may have taken the proxy's own page for the site's.
fn is_uncertain(verdict: &Verdict, view: &ResponseView<'_>) -> bool {
    if verdict.is_genuine() {
        return verdict.evidence.is_empty();
    }
    verdict.confidence <= MAX_UNCERTAIN || view.via_proxy && verdict.confidence < MIN_VENDOR
}

/// Returns the verdict of the rules that fire.
fn verdict_of_rules(compiled: &CompiledRules, state: &MatchState<'_>, mut remaining: Vec<&Rule>) -> Verdict {
    remaining.retain(|rule| state.evaluate_rule(rule) == Some(true));
    // The sort is stable: among equal rules the first in the files wins.
    remaining.sort_by(|a, b| {
        let (a, b) = (&a.info, &b.info);
        b.confidence.total_cmp(&a.confidence).then(rank(a.kind).cmp(&rank(b.kind)))
    });
    let Some(strongest) = remaining.first() else { return Verdict::genuine() };
    Verdict {
        kind: strongest.info.kind,
        vendor: strongest.info.vendor.clone(),
        confidence: strongest.info.confidence,
        evidence: remaining
            .iter()
            .flat_map(|rule| state.evidence(rule, compiled))
            .take(MAX_EVIDENCE)
            .collect(),
    }
}

/// Order of kinds among rules with equal confidence: the kind with the most specific next step is first.
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

/// The parts of the response that were read so far.
struct MatchState<'a> {
    view: &'a ResponseView<'a>,
    body: &'a [u8],
    media: ContentKind,
    /// Whether the response's URL differs from the requested one.
    redirected: bool,
    /// The first position of each pattern, after the body was searched.
    hits: Option<Vec<Option<usize>>>,
    /// The title, after it was read.
    title: Lazy<String>,
    /// The parsed page, after it was needed and if it can be parsed.
    page: Lazy<Html>,
}

/// A part of a page that is read only if a rule needs it.
enum Lazy<T> {
    Unread,
    Done(Option<T>),
}

impl<T> Lazy<T> {
    /// Whether it is present and passes `test`; `None` while it is unread.
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
                let hit = &mut hits[id];
                if hit.is_none() && compiled.patterns[id].matches(&self.body[found.range()]) {
                    *hit = Some(found.start());
                }
            }
        }
        self.hits = Some(hits);
    }

    /// Reads the title if a rule needs it, and evaluates those rules again.
    fn match_titles(&mut self, remaining: &mut Vec<&Rule>) {
        if !remaining.iter().any(|rule| rule.needs_title) {
            return;
        }
        if matches!(self.title, Lazy::Unread) {
            self.title = Lazy::Done(html::title(self.body));
        }
        remaining.retain(|rule| !rule.needs_title || self.evaluate_rule(rule) != Some(false));
    }

    fn parse_page(&mut self, remaining: &[&Rule]) {
        let is_needed = self.needs_elements(remaining);
        self.page = Lazy::Done(if is_needed { html::parse(self.view.body) } else { None });
    }

    /// Whether the page must be parsed and can be parsed.
    fn needs_elements(&self, remaining: &[&Rule]) -> bool {
        self.view.complete
            && self.is_waiting_for(remaining, |c| matches!(c, Condition::Css { .. }))
            && html::is_parsable(self.view.body)
    }

    /// Whether a rule has an undecided condition that `filter` selects.
    fn is_waiting_for(&self, remaining: &[&Rule], filter: fn(&Condition) -> bool) -> bool {
        remaining.iter().any(|rule| rule.conditions().any(|c| filter(c) && self.evaluate(c).is_none()))
    }

    /// Whether the rule fires; `None` while a part that it needs is unread.
    fn evaluate_rule(&self, rule: &Rule) -> Option<bool> {
        let all = and_all(rule.all.iter().map(|condition| self.evaluate(condition)));
        if all == Some(false) {
            return all;
        }
        let none = and_all(rule.none.iter().map(|condition| self.evaluate(condition).map(|holds| !holds)));
        if none == Some(false) || rule.any.is_empty() {
            return and(all, none);
        }
        // At least one holds unless none does.
        let no_match = and_all(rule.any.iter().map(|condition| self.evaluate(condition).map(|holds| !holds)));
        and(and(all, none), no_match.map(|no_match| !no_match))
    }

    /// Returns what the rule lacks if it lacks one thing only, and if something that is specific to it holds.
    fn only_missing(&self, rule: &Rule) -> Option<String> {
        let holds = |condition: &&Condition| self.evaluate(condition) == Some(true);
        if !rule.all.iter().chain(&rule.any).any(|c| c.is_specific() && holds(&c)) {
            return None;
        }
        let mut missing: Vec<String> =
            rule.all.iter().filter(|c| !holds(c)).map(ToString::to_string).collect();
        missing.extend(rule.none.iter().filter(holds).map(|condition| format!("not {condition}")));
        if !rule.any.is_empty() && !rule.any.iter().any(|c| holds(&c)) {
            missing.push(rule.any.iter().map(ToString::to_string).collect::<Vec<_>>().join(", or "));
        }
        (missing.len() == 1).then(|| missing.remove(0))
    }

    fn evaluate(&self, condition: &Condition) -> Option<bool> {
        let view = self.view;
        Some(match condition {
            Condition::Status(_) => condition.allows_status(view.status),
            Condition::Header { name, test } => self.matching_header(name, test).is_some(),
            Condition::Cookie { name, starts } => self.matching_cookie(name, *starts).is_some(),
            Condition::Host(host) => is_host(view.url, host),
            Condition::Path(part) => path_contains(view.url, part),
            Condition::RequestedPath(part) => path_contains(view.requested, part),
            Condition::Query(part) => view.url.query().is_some_and(|query| query.contains(part.as_str())),
            Condition::Redirected(expected) => self.redirected == *expected,
            Condition::VisibleText(starts) => {
                self.media.is_readable()
                    && view.complete
                    && html::short_text(view.body).is_some_and(|text| starts_with_any(&text, starts))
            }
            Condition::Json(keys) => {
                self.media == ContentKind::Data && view.complete && has_keys(view.body, keys)
            }
            Condition::Data(texts) => {
                self.media == ContentKind::Data
                    && view.complete
                    && view.body.len() <= MAX_JSON
                    && texts.iter().any(|text| memmem::find(view.body, text.as_bytes()).is_some())
            }
            Condition::Blank(blank) => {
                self.media == ContentKind::Html && view.complete && html::is_blank(view.body) == *blank
            }
            Condition::MaxBytes(limit) => view.complete && view.body.len() <= *limit,
            Condition::MinBytes(limit) => view.body.len() >= *limit,
            Condition::Media(kinds) => kinds.contains(&self.media),
            Condition::Tier(tier) => view.tier == Some(*tier),
            Condition::ViaProxy(expected) => view.via_proxy == *expected,
            Condition::Text { .. } if !self.media.is_readable() => false,
            Condition::Text { patterns, .. } => {
                let hits = self.hits.as_ref()?;
                patterns.iter().any(|id| hits[*id].is_some())
            }
            Condition::Title(_) | Condition::Css { .. } if self.media != ContentKind::Html => false,
            Condition::Title(test) => self.title.is_some_and(|title| test.matches(title))?,
            Condition::Css { selector, pattern } => {
                // A page without the selector's text cannot contain the element.
                self.hits.as_ref()?[*pattern].is_some()
                    && self.page.is_some_and(|page| html::has_element(page, selector))?
            }
        })
    }

    /// Returns the first value of the header that matches.
    fn matching_header(&self, name: &http::HeaderName, test: &TextMatch) -> Option<String> {
        let values = self.view.headers.get_all(name).iter();
        values
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .find(|v| test.matches(v))
            .map(Cow::into_owned)
    }

    /// Returns the name of a matching cookie that the response sets. Never the value, which is a secret.
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

    /// Returns the evidence of a rule that fired: its matching conditions, with the status last.
    fn evidence(&self, rule: &Rule, compiled: &CompiledRules) -> Vec<Evidence> {
        let conditions = rule.any.iter().chain(&rule.all);
        let mut matching: Vec<&Condition> =
            conditions.filter(|c| c.is_evidence() && self.evaluate(c) == Some(true)).collect();
        matching.sort_by_key(|condition| matches!(condition, Condition::Status(_)));
        matching
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
            Condition::RequestedPath(part) => ("requested url".to_owned(), part.clone()),
            Condition::VisibleText(_) => {
                ("body".to_owned(), html::short_text(self.view.body).unwrap_or_default())
            }
            Condition::Json(keys) => ("json".to_owned(), keys.join(", ")),
            Condition::Data(texts) => {
                let found = texts.iter().find(|text| memmem::find(self.view.body, text.as_bytes()).is_some());
                ("body".to_owned(), found.cloned().unwrap_or_default())
            }
            Condition::Blank(_) => ("body".to_owned(), "blank page".to_owned()),
            Condition::Redirected(_) => ("url".to_owned(), "differs from the requested URL".to_owned()),
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
            Condition::ViaProxy(_) => ("proxy".to_owned(), "the response came through a proxy".to_owned()),
        }
    }

    /// Returns the matched header text, but not if only its presence matters: the value may be a token.
    fn describe_header(&self, name: &http::HeaderName, test: &TextMatch) -> String {
        match test {
            TextMatch::Present => "present".to_owned(),
            TextMatch::Is(_) => self.matching_header(name, test).unwrap_or_default(),
            TextMatch::Has(part) | TextMatch::Starts(part) => part.clone(),
        }
    }

    /// Returns the text of the body that the first of these patterns matched.
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

/// Whether all hold. Stops at the first that does not.
fn and_all(results: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut all = Some(true);
    for result in results {
        all = and(all, result);
        if all == Some(false) {
            break;
        }
    }
    all
}

/// Whether the host is `expected` or a subdomain of it. If `expected` ends with a dot, any top-level domain matches.
fn is_host(url: &Url, expected: &str) -> bool {
    let Some(host) = url.host_str() else { return false };
    if expected.ends_with('.') {
        return host.match_indices(expected).any(|(at, _)| at == 0 || host.as_bytes()[at - 1] == b'.');
    }
    host == expected || host.strip_suffix(expected).is_some_and(|front| front.ends_with('.'))
}

/// Whether the text starts with one of `starts`, which are in lower case. ASCII case is ignored.
fn starts_with_any(text: &str, starts: &[String]) -> bool {
    let text = text.to_ascii_lowercase();
    starts.iter().any(|start| text.starts_with(start.as_str()))
}

/// Whether the body is a JSON object with all these keys. A key inside a string does not count.
fn has_keys(body: &[u8], keys: &[String]) -> bool {
    body.len() <= MAX_JSON
        && serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body)
            .is_ok_and(|object| keys.iter().all(|key| object.contains_key(key)))
}

/// Whether the path contains `part` up to the end of a word: `/login` matches `/en/login.php`, but not
/// `/login-page-design`.
fn path_contains(url: &Url, part: &str) -> bool {
    let path = url.path();
    path.match_indices(part).any(|(at, _)| {
        let next = path[at + part.len()..].chars().next();
        part.ends_with('/') || !next.is_some_and(|c| c.is_alphanumeric() || "-_".contains(c))
    })
}

/// Whether the response's URL differs from the requested one. Scheme, `www.` and a trailing slash are ignored.
fn is_redirected(requested: &Url, url: &Url) -> bool {
    requested != url && host_and_path(requested) != host_and_path(url)
}

fn host_and_path(url: &Url) -> (&str, &str) {
    let host = url.host_str().unwrap_or("");
    (host.strip_prefix("www.").unwrap_or(host), url.path().trim_end_matches('/'))
}
