//! Hosts that are requested over https only: HTTP Strict Transport Security (RFC 6797), with the rules of Chromium. Pure.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, header};
use url::{Host, Url};

use crate::exchange::registrable_domain::is_localhost;
use crate::os::sync::lock_unpoisoned;

/// Hosts that are requested over https only. Clones share their hosts.
///
/// A fetcher with a store requests `http` URLs of these hosts over https, and adds the hosts whose https responses have
/// `Strict-Transport-Security`. All identities of the fetcher share it. See
/// [`FetcherBuilder::hsts`](crate::FetcherBuilder::hsts).
#[derive(Clone, Debug, Default)]
pub struct HstsStore {
    hosts: Arc<Mutex<HashMap<String, Rule>>>,
    is_fixed: bool,
}

/// One host of an [`HstsStore`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HstsHost {
    /// The name in lower case, without a dot at its end.
    pub name: String,
    /// Whether its subdomains are requested over https only, too.
    pub include_subdomains: bool,
    /// When the rule ends. `None`: never.
    pub expires: Option<SystemTime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    include_subdomains: bool,
    expires: Option<SystemTime>,
}

impl HstsHost {
    /// Creates a rule for `name` that never ends.
    #[must_use]
    pub fn new(name: impl Into<String>, include_subdomains: bool) -> Self {
        Self { name: name.into(), include_subdomains, expires: None }
    }
}

impl HstsStore {
    /// Creates an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a host. Of two rules for a host, the one that ends later applies. Returns false if the name is not that of a
    /// host, such as an IP address.
    pub fn insert(&self, host: &HstsHost) -> bool {
        let Ok(Host::Domain(name)) = Host::parse(host.name.trim_end_matches('.')) else { return false };
        let mut hosts = lock_unpoisoned(&self.hosts);
        let is_later = |old: &Rule| match (old.expires, host.expires) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(old), Some(new)) => new > old,
        };
        if hosts.get(&name).is_none_or(is_later) {
            let rule = Rule { include_subdomains: host.include_subdomains, expires: host.expires };
            hosts.insert(name, rule);
        }
        true
    }

    /// Returns the hosts whose rules have not ended, by name.
    #[must_use]
    pub fn list(&self) -> Vec<HstsHost> {
        let now = SystemTime::now();
        let mut list: Vec<HstsHost> = lock_unpoisoned(&self.hosts)
            .iter()
            .filter(|(_, rule)| !rule.is_over(now))
            .map(|(name, rule)| HstsHost {
                name: name.clone(),
                include_subdomains: rule.include_subdomains,
                expires: rule.expires,
            })
            .collect();
        list.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        list
    }

    /// Returns the same store without learning from responses: their certificates are not verified.
    pub(crate) fn without_learning(self) -> Self {
        Self { is_fixed: true, ..self }
    }

    /// Returns the https URL to request instead of an http URL.
    pub(crate) fn upgrade(&self, url: &Url) -> Option<Url> {
        if url.scheme() != "http" || !self.contains(&domain(url)?, SystemTime::now()) {
            return None;
        }
        let mut upgraded = url.clone();
        upgraded.set_scheme("https").ok()?;
        Some(upgraded)
    }

    /// Adds or removes the host of an https response, as its header says. Of several headers the first one counts.
    pub(crate) fn learn(&self, url: &Url, headers: &HeaderMap) {
        let Some(value) = headers.get(header::STRICT_TRANSPORT_SECURITY) else { return };
        // Chromium ignores the header of this machine's servers: it would apply to all ports.
        let Some(host) = domain(url).filter(|host| !is_localhost(host)) else { return };
        if url.scheme() != "https" || self.is_fixed {
            return;
        }
        let Some((max_age, include_subdomains)) = parse(value) else { return };
        let mut hosts = lock_unpoisoned(&self.hosts);
        if max_age.is_zero() {
            hosts.remove(&host);
            return;
        }
        let now = SystemTime::now();
        if hosts.len() >= MAX_HOSTS {
            hosts.retain(|_, rule| !rule.is_over(now));
        }
        if hosts.len() < MAX_HOSTS || hosts.contains_key(&host) {
            hosts.insert(host, Rule { include_subdomains, expires: now.checked_add(max_age) });
        }
    }

    /// Whether a rule applies to `host`: its own, else that of the next known parent if it includes subdomains.
    fn contains(&self, host: &str, now: SystemTime) -> bool {
        let mut hosts = lock_unpoisoned(&self.hosts);
        let mut name = host;
        loop {
            match hosts.get(name) {
                Some(rule) if rule.is_over(now) => {
                    hosts.remove(name);
                }
                Some(rule) => return name == host || rule.include_subdomains,
                None => {}
            }
            let Some((_, parent)) = name.split_once('.') else { return false };
            name = parent;
        }
    }
}

impl Rule {
    fn is_over(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }
}

/// Returns the name of the host without a dot at its end. `None` for an IP address.
fn domain(url: &Url) -> Option<String> {
    let name = url.domain()?;
    Some(name.strip_suffix('.').unwrap_or(name).to_owned())
}

/// Parses `max-age` and `includeSubDomains`. `None` for a value that Chromium ignores.
fn parse(value: &HeaderValue) -> Option<(Duration, bool)> {
    let (mut max_age, mut include_subdomains) = (None, false);
    for directive in split_directives(value.as_bytes()) {
        let (name, value) = match directive.iter().position(|byte| *byte == b'=') {
            Some(at) => (directive[..at].trim_ascii(), Some(directive[at + 1..].trim_ascii())),
            None => (directive, None),
        };
        if name.eq_ignore_ascii_case(b"max-age") {
            if max_age.is_some() {
                return None;
            }
            max_age = Some(parse_seconds(value?)?);
        } else if name.eq_ignore_ascii_case(b"includesubdomains") {
            if include_subdomains || value.is_some() {
                return None;
            }
            include_subdomains = true;
        }
    }
    Some((max_age?, include_subdomains))
}

/// Splits at semicolons outside quotes.
fn split_directives(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    let parts = value.split(move |byte| {
        is_quoted ^= *byte == b'"';
        *byte == b';' && !is_quoted
    });
    parts.map(<[u8]>::trim_ascii)
}

fn parse_seconds(text: &[u8]) -> Option<Duration> {
    let inner = text.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let digits = inner.unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Too many digits for a number are more than the limit.
    let seconds = std::str::from_utf8(digits).ok()?.parse().unwrap_or(u64::MAX);
    Some(Duration::from_secs(seconds).min(MAX_AGE))
}

/// The longest time that a response can ask for, as in Chromium.
const MAX_AGE: Duration = Duration::from_secs(365 * 24 * 3600);
/// Maximum hosts that responses add.
const MAX_HOSTS: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn learn(store: &HstsStore, from: &str, values: &[&str]) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_str(value).unwrap());
        }
        store.learn(&url(from), &headers);
    }

    fn upgraded(store: &HstsStore, text: &str) -> Option<String> {
        store.upgrade(&url(text)).map(Into::into)
    }

    #[test]
    fn values_are_parsed_as_by_chromium() {
        let year = 365 * 24 * 3600;
        for (value, expected) in [
            ("max-age=10", Some((10, false))),
            ("MAX-AGE = 10 ; includeSubDomains", Some((10, true))),
            ("includesubdomains; max-age=\"10\"; preload", Some((10, true))),
            (";; max-age=10;;", Some((10, false))),
            ("max-age=10; x=\"a;max-age=1\"", Some((10, false))),
            ("max-age=0", Some((0, false))),
            ("max-age=99999999999999999999999", Some((year, false))),
            ("max-age=10; max-age=10", None),
            ("max-age=10; includeSubDomains; includeSubDomains", None),
            ("max-age=10; includeSubDomains=1", None),
            ("max-age", None),
            ("max-age=", None),
            ("max-age=-1", None),
            ("max-age=1s", None),
            ("max-age=10 20", None),
            ("includeSubDomains", None),
            ("", None),
        ] {
            let parsed = parse(&value.parse().unwrap()).map(|(age, sub)| (age.as_secs(), sub));
            assert_eq!(parsed, expected, "{value:?}");
        }
    }

    #[test]
    fn only_https_responses_of_named_hosts_are_learned_from() {
        for (from, is_learned) in [
            ("https://a.test/", true),
            ("https://A.test.:8443/", true),
            ("http://a.test/", false),
            ("https://127.0.0.1/", false),
            ("https://[::1]/", false),
            ("https://localhost/", false),
            ("https://x.localhost/", false),
        ] {
            let store = HstsStore::new();
            learn(&store, from, &["max-age=10"]);
            assert_eq!(!store.list().is_empty(), is_learned, "{from}");
            let fixed = HstsStore::new().without_learning();
            learn(&fixed, from, &["max-age=10"]);
            assert!(fixed.list().is_empty());
        }
        let store = HstsStore::new();
        learn(&store, "https://a.test/", &["max-age=x", "max-age=10"]);
        assert!(store.list().is_empty(), "the first header counts");
        learn(&store, "https://a.test/", &["max-age=10", "max-age=0"]);
        assert_eq!(store.list().len(), 1);
        learn(&store, "https://a.test/", &["max-age=0"]);
        assert!(store.list().is_empty());
    }

    #[test]
    fn http_urls_of_known_hosts_are_upgraded() {
        let store = HstsStore::new();
        for (name, subdomains) in [("a.test", false), ("B.test.", true), ("c.b.test", false)] {
            assert!(store.insert(&HstsHost::new(name, subdomains)), "{name}");
        }
        for (from, to) in [
            ("http://a.test/p?q#f", Some("https://a.test/p?q#f")),
            ("http://a.test:80/", Some("https://a.test/")),
            ("http://a.test:8080/", Some("https://a.test:8080/")),
            ("http://u:p@a.test./", Some("https://u:p@a.test./")),
            ("http://x.a.test/", None),
            ("http://x.y.b.test/", Some("https://x.y.b.test/")),
            ("http://c.b.test/", Some("https://c.b.test/")),
            // The rule of the nearest known host applies.
            ("http://x.c.b.test/", None),
            ("http://test/", None),
            ("http://ab.test/", None),
            ("https://a.test/", None),
            ("http://127.0.0.1/", None),
        ] {
            assert_eq!(upgraded(&store, from).as_deref(), to, "{from}");
        }
        assert!(
            !store.insert(&HstsHost::new("127.0.0.1", false)) && !store.insert(&HstsHost::new("", false))
        );
    }

    #[test]
    fn a_rule_that_has_ended_does_not_apply_and_the_later_end_counts() {
        let store = HstsStore::new();
        let (now, second) = (SystemTime::now(), Duration::from_secs(1));
        let until = |expires| HstsHost { expires: Some(expires), ..HstsHost::new("a.test", false) };
        store.insert(&until(now - second));
        assert!(store.list().is_empty() && upgraded(&store, "http://a.test/").is_none());
        store.insert(&until(now + 100 * second));
        store.insert(&until(now + 50 * second));
        assert_eq!(store.list(), [until(now + 100 * second)]);
        store.insert(&HstsHost::new("a.test", true));
        store.insert(&until(now + 200 * second));
        assert_eq!(store.list(), [HstsHost::new("a.test", true)]);
    }
}
