//! Which client hints each origin has asked for with Accept-CH, as a browser remembers it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;

use http::{HeaderMap, HeaderName};
use url::Url;

use crate::sync::lock_unpoisoned;

/// The hints asked for, by origin. Part of an identity.
#[derive(Debug, Default)]
pub(crate) struct ClientHintStore(Mutex<HashMap<String, BTreeSet<String>>>);

impl ClientHintStore {
    /// Takes note of what an answer from `url` asks for. Only a secure origin may ask; what it
    /// asks for replaces what it asked for before.
    pub(crate) fn record(&self, url: &Url, headers: &HeaderMap) {
        if url.scheme() != "https" || !headers.contains_key(&ACCEPT_CH) {
            return;
        }
        let lines = headers.get_all(&ACCEPT_CH).iter();
        let wanted = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .map(|token| token.trim().to_ascii_lowercase())
            .filter(|token| (1..=MAX_TOKEN_LEN).contains(&token.len()))
            .take(MAX_HINTS)
            .collect();
        let mut origins = lock_unpoisoned(&self.0);
        let origin = url.origin().ascii_serialization();
        if origins.len() < MAX_ORIGINS || origins.contains_key(&origin) {
            origins.insert(origin, wanted);
        }
    }

    /// What the origins of `host` asked for, sorted by origin.
    pub(crate) fn for_host(&self, host: &str) -> Vec<(String, BTreeSet<String>)> {
        let origins = lock_unpoisoned(&self.0);
        let of_host = |origin: &str| Url::parse(origin).is_ok_and(|url| url.host_str() == Some(host));
        let mut found: Vec<_> = origins
            .iter()
            .filter(|(origin, _)| of_host(origin))
            .map(|(origin, wanted)| (origin.clone(), wanted.clone()))
            .collect();
        found.sort();
        found
    }

    /// Takes note of what an origin asked for earlier, unless it has asked since.
    pub(crate) fn restore(&self, origin: &str, wanted: BTreeSet<String>) {
        let mut origins = lock_unpoisoned(&self.0);
        if origins.len() < MAX_ORIGINS {
            origins.entry(origin.to_owned()).or_insert(wanted);
        }
    }

    /// Whether the origin of `url` asked for any.
    pub(crate) fn has_any(&self, url: &Url) -> bool {
        self.check_origin(url, |wanted| !wanted.is_empty())
    }

    /// Whether the origin of `url` asked for the hint `name`.
    pub(crate) fn is_requested(&self, url: &Url, name: &str) -> bool {
        self.check_origin(url, |wanted| wanted.contains(name))
    }

    fn check_origin(&self, url: &Url, what: impl FnOnce(&BTreeSet<String>) -> bool) -> bool {
        let origins = lock_unpoisoned(&self.0);
        // Most sites ask for none, and every field of every request asks here.
        !origins.is_empty() && origins.get(&url.origin().ascii_serialization()).is_some_and(what)
    }
}

/// What asks for hints.
pub(crate) const ACCEPT_CH: HeaderName = HeaderName::from_static("accept-ch");
const MAX_HINTS: usize = 64;
/// Longer than any hint's name.
const MAX_TOKEN_LEN: usize = 64;
const MAX_ORIGINS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn hints_after(url: &str, line: &'static str) -> ClientHintStore {
        let hints = ClientHintStore::default();
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_CH, line.parse().unwrap());
        hints.record(&Url::parse(url).unwrap(), &headers);
        hints
    }

    #[test]
    fn a_secure_origin_gets_the_hints_it_requested_and_no_other_origin_does() {
        let hints = hints_after("https://a.example/x", "Sec-CH-UA-Arch, sec-ch-ua-model");
        let wants = |url: &str, name: &str| hints.is_requested(&Url::parse(url).unwrap(), name);
        assert!(wants("https://a.example/y", "sec-ch-ua-arch"));
        assert!(!wants("https://a.example/y", "sec-ch-ua-bitness"));
        assert!(!wants("https://b.example/", "sec-ch-ua-arch"));
        assert!(!wants("https://a.example:444/", "sec-ch-ua-arch"));
        let later = ClientHintStore::default();
        for (origin, wanted) in hints.for_host("a.example") {
            later.restore(&origin, wanted);
        }
        assert!(later.is_requested(&Url::parse("https://a.example/").unwrap(), "sec-ch-ua-arch"));
        assert!(hints.for_host("b.example").is_empty());
        let clear = hints_after("http://a.example/", "Sec-CH-UA-Arch");
        assert!(!clear.is_requested(&Url::parse("http://a.example/").unwrap(), "sec-ch-ua-arch"));
    }
}
