//! Checks whether a body contains any text that a rule requires. Most genuine pages contain none, and need no full
//! search.

use std::collections::BTreeSet;

use aho_corasick::{AhoCorasick, BuildError, MatchKind};

use super::condition::Condition;
use super::rule::Rule;
use super::text::contains;

/// Minimum length of a needle, in bytes. Shorter texts occur in too many pages.
const MIN_LENGTH: usize = 4;

/// A needle is a part of a text, of at least `MIN_PART` bytes: the ends of some texts occur in every other page.
const MAX_LENGTH: usize = 32;
const MIN_PART: usize = 12;
const RARE: usize = 2;
const BLOCK: usize = 4096;

/// The most common bytes of pages, the most common first.
const COMMON: &[u8] = b" etaoinsrhldcump/=\"<>.-fgwby";

/// The automaton that searches for the needles.
pub(super) struct Prefilter(AhoCorasick);

impl Prefilter {
    /// Collects the needles of all `rules`, and sets `is_prefiltered` of the rules that have some.
    pub(super) fn new(rules: &mut [Rule]) -> Result<Self, BuildError> {
        let mut texts = BTreeSet::new();
        for rule in rules {
            let required = required_texts(rule).unwrap_or_default();
            texts
                .extend(required.iter().map(|text| text.to_ascii_lowercase()).map(|text| (text.len(), text)));
            rule.is_prefiltered = !required.is_empty();
        }
        // Shortest first: a text that contains an earlier needle is found with that needle.
        let mut needles: Vec<&[u8]> = Vec::new();
        for (_, text) in &texts {
            if !needles.iter().any(|needle| contains(text.as_bytes(), needle)) {
                needles.push(rarest_part(text));
            }
        }
        // With this match kind and case sensitivity, aho-corasick searches for dozens of needles with SIMD.
        AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(needles).map(Self)
    }

    /// Whether `body` contains a needle, ignoring ASCII case.
    pub(super) fn is_match(&self, body: &[u8]) -> bool {
        // Blocks avoid a copy of the whole body. They overlap, so a needle across a boundary is in the second.
        let mut block = [0; BLOCK];
        let mut start = 0;
        loop {
            let piece = &body[start..body.len().min(start + BLOCK)];
            let lower = &mut block[..piece.len()];
            lower.copy_from_slice(piece);
            lower.make_ascii_lowercase();
            if self.0.is_match(&*lower) {
                return true;
            }
            if start + piece.len() == body.len() {
                return false;
            }
            start += BLOCK - MAX_LENGTH;
        }
    }
}

/// Returns the part of a text that starts at its two rarest bytes, which the search looks for first. Its length is
/// between `MIN_PART` and `MAX_LENGTH`, if the text is long enough. Measured on the pages in `fixtures`: with four
/// rare bytes the search stops more often, and shorter parts occur in more pages.
fn rarest_part(text: &str) -> &[u8] {
    let text = text.as_bytes();
    let commonness =
        |byte: &u8| COMMON.iter().rev().position(|common| common == byte).map_or(0, |index| index + 1);
    let weight =
        |start: &usize| text[*start..text.len().min(*start + RARE)].iter().map(commonness).sum::<usize>();
    let start = (0..=text.len().saturating_sub(MIN_PART)).min_by_key(weight).unwrap_or(0);
    &text[start..text.len().min(start + MAX_LENGTH)]
}

/// Returns texts one of which is in every body that the rule fires on. If there are several groups, it returns the
/// most specific one. `None` for a rule that requires no text. `None` also for a rule with a condition that few
/// pages meet, such as a title or a status other than 200: its texts would match pages that the rule cannot fire on.
fn required_texts(rule: &Rule) -> Option<Vec<&str>> {
    let is_common = rule.preconditions.can_match_ok
        && rule.all.iter().all(|condition| {
            condition_texts(condition).is_some()
                || matches!(
                    condition,
                    Condition::Status(_)
                        | Condition::MaxBytes(_)
                        | Condition::MinBytes(_)
                        | Condition::Media(_)
                )
        });
    let any: Option<Vec<&str>> =
        rule.any.iter().map(condition_texts).collect::<Option<Vec<_>>>().map(|all| all.concat());
    let groups = rule.all.iter().filter_map(condition_texts).chain(any);
    let shortest = |group: &Vec<&str>| group.iter().map(|text| text.len()).min().unwrap_or(0);
    groups.max_by_key(shortest).filter(|group| is_common && shortest(group) >= MIN_LENGTH)
}

/// Returns texts one of which a body must contain for the condition to hold.
fn condition_texts(condition: &Condition) -> Option<Vec<&str>> {
    match condition {
        Condition::Text { any, .. } => Some(any.iter().map(String::as_str).collect()),
        Condition::Css { selector, .. } => Some(vec![selector.token()]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{Rules, rule};

    /// Parses a rule with these lines.
    fn rule(lines: &str) -> Rule {
        let head = "schema = 1\nname = \"t\"\n[[rule]]\nid = \"t\"\nkind = \"block\"\nconfidence = 0.5\nsource = \"t\"\nseen = \"2026-01\"\n";
        rule::parse_file(&format!("{head}{lines}"), "t.toml").unwrap().rules.remove(0)
    }

    #[test]
    fn needles_of_a_rule_are_texts_that_it_requires() {
        let table: [(&str, Option<&[&str]>); 9] = [
            (r#"all = [{ text = ["abcd", "abcdefgh"] }, { text = ["abcdef"] }]"#, Some(&["abcdef"])),
            (r#"all = [{ css = ".challenge" }]"#, Some(&["challenge"])),
            (r#"any = [{ text = ["abcd"] }, { css = ".challenge" }]"#, Some(&["abcd", "challenge"])),
            (r#"any = [{ text = ["abcd"] }, { title_has = "abcd" }]"#, None),
            (r#"all = [{ css = ".abc" }]"#, None),
            ("all = [{ header = \"server\" }]\nnone = [{ text = [\"abcd\"] }]", None),
            ("status = [403]\nall = [{ text = [\"abcd\"] }]", None),
            ("status = [403, \"200-299\"]\nall = [{ text = [\"abcd\"] }]", Some(&["abcd"])),
            (r#"all = [{ path = "/abcd" }, { text = ["abcd"] }]"#, None),
        ];
        for (lines, expected) in table {
            assert_eq!(required_texts(&rule(lines)).as_deref(), expected, "{lines}");
        }
    }

    #[test]
    fn a_needle_starts_at_its_rarest_bytes() {
        for (text, needle) in [
            ("the requested url was rejected", "quested url was rejected"),
            ("distilidentificationblock", "ificationblock"),
            ("g-recaptcha", "g-recaptcha"),
            ("window.kpsdk", "window.kpsdk"),
            ("abcd", "abcd"),
        ] {
            assert_eq!(String::from_utf8_lossy(rarest_part(text)), needle);
        }
    }

    #[test]
    fn an_ordinary_page_contains_none_of_the_shipped_needles() {
        let page = "<!doctype html><html><head><title>Lamps</title><script src=\"/js/app.js\" async></script>\
            <link rel=\"stylesheet\" href=\"/css/site.css\"></head><body><nav>Sign in to see your orders</nav>\
            <p>View this image in the network of our lamps. Block of text, normalized and required work, \
            JavaScript included: <script>document.cookie = 'seen=1; path=/'; window.page = {};</script></p>\
            <a href=\"/login\">Log in</a> <a href=\"/cdn-cgi/l/email-protection\">write</a></body></html>";
        assert!(!Rules::shipped().0.prefilter.is_match(page.as_bytes()));
    }

    #[test]
    fn needles_are_found_ignoring_case() {
        let mut rules =
            [rule(r#"all = [{ text = ["ABcd", "xABCDx"] }]"#), rule(r#"all = [{ path = "/x" }]"#)];
        let prefilter = Prefilter::new(&mut rules).unwrap();
        assert_eq!(rules.map(|rule| rule.is_prefiltered), [true, false]);
        assert!(
            prefilter.is_match(b"<p>abCD") && !prefilter.is_match(b"<p>ab cd") && !prefilter.is_match(b"")
        );
    }

    #[test]
    fn needles_are_found_at_every_position() {
        let prefilter =
            Prefilter::new(&mut [rule(r#"all = [{ text = ["0123456789abcdefghijklmnopqrstuvwxyz"] }]"#)])
                .unwrap();
        for offset in (0..3 * BLOCK).step_by(7).chain(BLOCK - 40..BLOCK + 40) {
            let mut body = vec![b'x'; offset];
            assert!(!prefilter.is_match(&body), "{offset}");
            body.extend(b"0123456789abcdefghijklmnopqrstuvwxyz");
            assert!(prefilter.is_match(&body), "{offset}");
            body.extend([b'x'; 100]);
            assert!(prefilter.is_match(&body), "{offset}");
        }
    }
}
