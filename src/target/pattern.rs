//! The URLs that a target applies to, and the selection of the most specific target.

use std::cmp::Ordering;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// Matches URLs by host, and by path if there are any paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Host names: `shop.example`, `*.shop.example` for all its subdomains, `*` for all hosts.
    #[schemars(length(min = 1))]
    pub hosts: Vec<String>,
    /// Path prefixes, each beginning with `/`. Default: all paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
}

/// The specificity of a match. It compares the host first, then the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Specificity {
    host: HostSpecificity,
    path: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum HostSpecificity {
    Any,
    /// A wildcard, with the length of the fixed part.
    Subdomain(usize),
    Exact,
}

impl Match {
    /// Whether this matches `url`.
    #[must_use]
    pub fn matches(&self, url: &Url) -> bool {
        self.specificity(url).is_some()
    }

    /// Returns the specificity of the match, or `None` if `url` does not match.
    pub(super) fn specificity(&self, url: &Url) -> Option<Specificity> {
        let name = url.host_str()?.trim_end_matches('.');
        let host = self.hosts.iter().filter_map(|pattern| host_specificity(pattern, name)).max()?;
        if self.paths.is_empty() {
            return Some(Specificity { host, path: 0 });
        }
        let under = |prefix: &&String| url.path().starts_with(prefix.as_str());
        let path = self.paths.iter().filter(under).map(String::len).max()?;
        Some(Specificity { host, path })
    }

    /// Returns the key and the message of the first mistake.
    pub(super) fn find_error(&self) -> Option<(&'static str, String)> {
        if self.hosts.is_empty() {
            return Some(("hosts", "`match.hosts` is empty".to_owned()));
        }
        if let Some(host) = self.hosts.iter().find(|pattern| !is_host_pattern(pattern)) {
            let shown = host.escape_debug();
            let message =
                format!("`match.hosts`: `{shown}` is not a host name in lower case, `*.name` or `*`");
            return Some(("hosts", message));
        }
        let path = self.paths.iter().find(|path| !path.starts_with('/'))?;
        Some(("paths", format!("`match.paths`: `{}` does not begin with `/`", path.escape_debug())))
    }
}

fn host_specificity(pattern: &str, name: &str) -> Option<HostSpecificity> {
    if pattern == "*" {
        return Some(HostSpecificity::Any);
    }
    match pattern.strip_prefix("*.") {
        Some(parent) => {
            let below = name.strip_suffix(parent)?.strip_suffix('.')?;
            (!below.is_empty()).then_some(HostSpecificity::Subdomain(parent.len()))
        }
        None => (pattern == name).then_some(HostSpecificity::Exact),
    }
}

fn is_host_pattern(pattern: &str) -> bool {
    let name = pattern.strip_prefix("*.").unwrap_or(pattern);
    if pattern == "*" {
        return true;
    }
    // As in a URL: lower case, `xn--` for non-ASCII characters, no port.
    !name.contains('*') && Host::parse(name).is_ok_and(|host| host.to_string() == name)
}

/// Returns the most specific match for `url`, or the two that tie.
pub(super) fn most_specific<'a, T: Copy>(
    all: impl Iterator<Item = (T, &'a Match)>,
    url: &Url,
) -> Result<Option<T>, (T, T)> {
    let mut best: Option<(Specificity, T)> = None;
    let mut tie = None;
    for (one, matches) in all {
        let Some(specificity) = matches.specificity(url) else { continue };
        match best.map_or(Ordering::Greater, |(so_far, _)| specificity.cmp(&so_far)) {
            Ordering::Greater => (best, tie) = (Some((specificity, one)), None),
            Ordering::Equal => tie = best.map(|(_, first)| (first, one)),
            Ordering::Less => {}
        }
    }
    match tie {
        Some(tie) => Err(tie),
        None => Ok(best.map(|(_, one)| one)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matching(hosts: &[&str], paths: &[&str]) -> Match {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        Match { hosts: owned(hosts), paths: owned(paths) }
    }

    #[test]
    fn the_host_decides_before_the_path() {
        let all = [
            matching(&["*"], &["/deep/path/"]),
            matching(&["*.example"], &[]),
            matching(&["*.shop.example"], &["/p/"]),
            matching(&["www.shop.example"], &[]),
            matching(&["www.shop.example"], &["/p/"]),
        ];
        for (url, expected) in [
            ("https://www.shop.example/p/1", Some(4)),
            ("https://www.shop.example/q", Some(3)),
            ("https://WWW.shop.example./q", Some(3)),
            ("https://m.shop.example/p/1", Some(2)),
            ("https://m.shop.example/q", Some(1)),
            ("https://shop.example/", Some(1)),
            ("https://other.test/deep/path/x", Some(0)),
            ("https://other.test/", None),
            ("https://notexample/", None),
            ("https://127.0.0.1:8080/deep/path/", Some(0)),
        ] {
            let found = most_specific(all.iter().enumerate(), &url.parse().unwrap()).unwrap();
            assert_eq!(found, expected, "{url}");
        }
    }

    #[test]
    fn equally_specific_targets_are_a_tie() {
        let all = [matching(&["a.example"], &["/x"]), matching(&["a.example", "b.example"], &["/x", "/"])];
        let most_specific_at = |url: &str| most_specific(all.iter().enumerate(), &url.parse().unwrap());
        assert_eq!(most_specific_at("https://a.example/x"), Err((0, 1)));
        assert_eq!(most_specific_at("https://a.example/y"), Ok(Some(1)));
    }

    #[test]
    fn an_invalid_pattern_is_an_error() {
        for hosts in [&["Shop.example"][..], &["shop.example:443"], &["https://a"], &["*.*.a"], &[""], &[]] {
            assert!(matching(hosts, &[]).find_error().is_some(), "{hosts:?}");
        }
        assert!(matching(&["a.example"], &["p/"]).find_error().unwrap().1.contains("`p/`"));
        assert!(
            matching(&["*", "*.a.example", "a.example", "127.0.0.1", "[::1]"], &["/"]).find_error().is_none()
        );
    }
}
