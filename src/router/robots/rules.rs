//! The rules of one robots.txt that apply to rungs. Pure.

use std::time::Duration;

use url::{Position, Url};

use super::parse::{self, Field};
use super::pattern::Pattern;

/// The rules of one robots.txt that apply to rungs: those for its name, else those for `*` (RFC 9309).
///
/// ```
/// let rules = rungs::robots::Rules::parse(b"User-agent: *\nDisallow: /private\nAllow: /private/open");
/// let rule = |url: &str| rules.find_disallow(&url.parse().expect("a URL"));
/// assert_eq!(rule("https://a.example/private/x").as_deref(), Some("`Disallow: /private` (User-agent: *)"));
/// assert_eq!(rule("https://a.example/private/open"), None);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The longest pattern first. Of two equally long ones, `Allow`.
    sorted: Vec<Rule>,
    /// Whether the file has a group for the product token. Otherwise the rules are those for `*`.
    is_named: bool,
    token: String,
    crawl_delay: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Rule {
    pattern: Pattern,
    allows: bool,
}

impl Rules {
    /// Parses a file. Never fails: lines that are not rules are skipped, and so is everything after 500 KiB.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        Self::parse_for(TOKEN, text)
    }

    /// Parses a file, and returns the rules for another crawler. `token` is its product token, such as `googlebot`.
    #[must_use]
    pub fn parse_for(token: &str, text: &[u8]) -> Self {
        let mut named = Self { is_named: true, token: token.to_owned(), ..Self::default() };
        let mut others = Self { is_named: false, ..named.clone() };
        let mut is_in_group = [false; 2];
        let mut has_named_group = false;
        // A `User-agent` line after a rule begins another group.
        let mut ends_group = true;
        for field in parse::fields(text) {
            if let Field::UserAgent(name) = field {
                if std::mem::take(&mut ends_group) {
                    is_in_group = [false; 2];
                }
                let is_named = parse::product_token(name).eq_ignore_ascii_case(token.as_bytes());
                has_named_group |= is_named;
                is_in_group[0] |= is_named;
                is_in_group[1] |= parse::is_wildcard(name);
                continue;
            }
            ends_group = true;
            let groups = [&mut named, &mut others].into_iter().zip(is_in_group);
            for (group, _) in groups.filter(|(_, is_in_group)| *is_in_group) {
                group.add(&field);
            }
        }
        let mut rules = if has_named_group { named } else { others };
        rules.sorted.sort_by_key(|rule| (std::cmp::Reverse(rule.pattern.len()), !rule.allows));
        rules
    }

    fn add(&mut self, field: &Field<'_>) {
        match field {
            Field::Allow(pattern) | Field::Disallow(pattern) if !pattern.is_empty() => {
                let allows = matches!(field, Field::Allow(_));
                self.sorted.push(Rule { pattern: Pattern::parse(pattern), allows });
                if let Some(folder) = parse::index_folder(pattern).filter(|_| allows) {
                    self.sorted.push(Rule { pattern: Pattern::parse(&folder), allows });
                }
            }
            Field::CrawlDelay(seconds) => self.crawl_delay = self.crawl_delay.or(parse::delay(seconds)),
            _ => {}
        }
    }

    /// Returns rules that allow everything.
    pub(super) fn allow_all() -> Self {
        Self::default()
    }

    /// Returns the rule that disallows `url`, with its group, as the file writes them; `None` when the URL is
    /// allowed. The path is compared in its percent-encoded form, as RFC 9309 requires.
    #[must_use]
    pub fn find_disallow(&self, url: &Url) -> Option<String> {
        let path = &url[Position::BeforePath..Position::AfterQuery];
        if path == "/robots.txt" {
            return None;
        }
        let path = Pattern::normalize_path(path);
        let rule = self.sorted.iter().find(|rule| rule.pattern.matches(&path)).filter(|rule| !rule.allows)?;
        let mut pattern: String = rule.pattern.source().chars().take(MAX_SHOWN_CHARS).collect();
        if pattern.len() < rule.pattern.source().len() {
            pattern.push('…');
        }
        let group = if self.is_named { &self.token } else { "*" };
        Some(format!("`Disallow: {pattern}` (User-agent: {group})"))
    }

    /// The `Crawl-delay`, if the file states one.
    #[must_use]
    pub fn crawl_delay(&self) -> Option<Duration> {
        self.crawl_delay
    }
}

/// The product token of rungs in robots.txt.
const TOKEN: &str = "rungs";
/// The maximum number of characters of a rule that are shown.
const MAX_SHOWN_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether `path` may be fetched.
    fn allows(text: &str, path: &str) -> bool {
        Rules::parse(text.as_bytes())
            .find_disallow(&format!("https://a.example{path}").parse().unwrap())
            .is_none()
    }

    #[test]
    fn rules_are_parsed_as_the_rfc_requires() {
        let groups = "User-agent: other\nDisallow: /\n\nUser-agent: RUNGS\nDisallow: /a\n\nUser-agent: *\nDisallow: /b\n\n\
            User-agent: other\nUser-agent: rungs\nDisallow: /c";
        for (text, path, expected) in [
            ("", "/", true),
            ("User-agent: *\nDisallow:", "/", true),
            ("User-agent: *\nDisallow: /", "/", false),
            ("User-agent: *\nDisallow: /", "/robots.txt", true),
            ("\u{feff}User-agent: *\r\nDisallow: /a\r\n", "/a", false),
            ("user-AGENT : *   # all\nDISALLOW : /a # that", "/a/b", false),
            // The longest match decides; of two equally long ones, `Allow`.
            ("User-agent: *\nDisallow: /a\nAllow: /a/b", "/a/b/c", true),
            ("User-agent: *\nAllow: /a\nDisallow: /a/b", "/a/b/c", false),
            ("User-agent: *\nDisallow: /a\nAllow: /a", "/a", true),
            // `*` and `$`.
            ("User-agent: *\nDisallow: /*.pdf$", "/x/y.pdf", false),
            ("User-agent: *\nDisallow: /*.pdf$", "/x/y.pdf?z", true),
            ("User-agent: *\nDisallow: /*?sort=", "/list?page=1&sort=up", true),
            ("User-agent: *\nDisallow: /*sort=", "/list?page=1&sort=up", false),
            ("User-agent: *\nDisallow: /a$", "/a/", true),
            ("User-agent: *\nDisallow: */x", "/x", false),
            // A page `index.html` is its folder, if it is allowed.
            ("User-agent: *\nDisallow: /\nAllow: /a/index.html", "/a/", true),
            ("User-agent: *\nDisallow: /\nAllow: /a/index.htm", "/a/", true),
            ("User-agent: *\nDisallow: /\nAllow: /a/index.html", "/a/b", false),
            ("User-agent: *\nDisallow: /\nAllow: /a/index.html", "/a", false),
            ("User-agent: *\nDisallow: /\nAllow: /index.html/a", "/", false),
            ("User-agent: *\nDisallow: /a/index.html", "/a/", true),
            // Percent-encoding.
            ("User-agent: *\nDisallow: /caf\u{e9}", "/caf%C3%A9", false),
            ("User-agent: *\nDisallow: /caf%c3%a9", "/caf\u{e9}/x", false),
            ("User-agent: *\nDisallow: /%61", "/a", false),
            ("User-agent: *\nDisallow: /a%2Fb", "/a/b", true),
            // Groups: all groups for rungs are combined, and only they apply.
            (groups, "/a", false),
            (groups, "/b", true),
            (groups, "/c", false),
            (groups, "/d", true),
            ("User-agent: rungsbot\nDisallow: /", "/", true),
            ("User-agent: rungs/0.1\nDisallow: /a\n\nUser-agent: *\nDisallow: /b", "/a", false),
            ("User-agent: rungs/0.1\nDisallow: /a\n\nUser-agent: *\nDisallow: /b", "/b", true),
            ("User-agent: rungs\nCrawl-delay: 1\n\nUser-agent: *\nDisallow: /b", "/b", true),
            ("User-agent: rungs\nSitemap: x\nUser-agent: *\nDisallow: /b", "/b", false),
            ("User-agent: rungs\nDisallow:\n\nUser-agent: *\nDisallow: /b", "/b", true),
            ("User-agent: * bots\nDisallow: /b", "/b", false),
            ("User-agent: rungs\nUser-agent: other\nDisallow: /", "/", false),
            // Rules outside any group.
            ("Disallow: /", "/", true),
            ("<!doctype html><p>User-agent: *</p>\nDisallow: /", "/", true),
        ] {
            assert_eq!(allows(text, path), expected, "{text:?} {path}");
        }
    }

    #[test]
    fn text_after_500_kib_is_ignored() {
        let filler = "#".repeat(1023) + "\n";
        let text = |kib: usize| format!("User-agent: *\n{}Disallow: /a", filler.repeat(kib));
        assert!(!allows(&text(490), "/a"));
        assert!(allows(&text(501), "/a"));
    }

    #[test]
    fn a_crawl_delay_is_parsed_and_invalid_values_are_ignored() {
        for (text, millis) in
            [("5", Some(5_000)), ("0.5", Some(500)), ("-1", None), ("1e400", None), ("NaN", None)]
        {
            let rules = Rules::parse(format!("User-agent: *\nCrawl-delay: {text}").as_bytes());
            assert_eq!(rules.crawl_delay(), millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn the_rule_is_named_as_the_file_writes_it() {
        let rules = Rules::parse(b"User-agent: rungs\nDisallow: /a\nDisallow: /a/*/c$");
        let named = |url: &str| rules.find_disallow(&url.parse().unwrap());
        assert_eq!(
            named("https://a.example/a/b/c").as_deref(),
            Some("`Disallow: /a/*/c$` (User-agent: rungs)")
        );
        assert_eq!(named("https://a.example/ab?c").as_deref(), Some("`Disallow: /a` (User-agent: rungs)"));
        let long = Rules::parse(format!("User-agent: *\nDisallow: /{}", "x".repeat(5_000)).as_bytes());
        let rule =
            long.find_disallow(&format!("https://a.example/{}", "x".repeat(6_000)).parse().unwrap()).unwrap();
        assert!(rule.len() < 300, "{rule}");
    }
}
