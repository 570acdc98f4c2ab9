//! The client hints that each origin has requested with Accept-CH, as in a browser.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;

use http::{HeaderMap, HeaderName};
use url::Url;

use crate::os::sync::lock_unpoisoned;

/// The requested hints by origin. Part of an identity.
#[derive(Debug, Default)]
pub(crate) struct ClientHintStore(Mutex<HashMap<String, BTreeSet<String>>>);

impl ClientHintStore {
    /// Records the hints that a response from `url` requests. Only a secure origin may request hints. They replace the
    /// earlier ones.
    pub(crate) fn record(&self, url: &Url, headers: &HeaderMap) {
        if url.scheme() != "https" || !headers.contains_key(&ACCEPT_CH) {
            return;
        }
        let lines = headers.get_all(&ACCEPT_CH).iter();
        let requested = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .map(|token| token.trim().to_ascii_lowercase())
            .filter(|token| (1..=MAX_TOKEN_LEN).contains(&token.len()))
            .take(MAX_HINTS)
            .collect();
        let mut origins = lock_unpoisoned(&self.0);
        let origin = url.origin().ascii_serialization();
        if origins.len() < MAX_ORIGINS || origins.contains_key(&origin) {
            origins.insert(origin, requested);
        }
    }

    /// Returns the hints requested by the origins of `host`, sorted by origin.
    pub(crate) fn for_host(&self, host: &str) -> Vec<(String, BTreeSet<String>)> {
        let origins = lock_unpoisoned(&self.0);
        let of_host = |origin: &str| Url::parse(origin).is_ok_and(|url| url.host_str() == Some(host));
        let mut found: Vec<_> = origins
            .iter()
            .filter(|(origin, _)| of_host(origin))
            .map(|(origin, requested)| (origin.clone(), requested.clone()))
            .collect();
        found.sort();
        found
    }

    /// Restores the hints of an earlier session, unless the origin has requested hints since.
    pub(crate) fn restore(&self, origin: &str, requested: BTreeSet<String>) {
        let mut origins = lock_unpoisoned(&self.0);
        if origins.len() < MAX_ORIGINS {
            origins.entry(origin.to_owned()).or_insert(requested);
        }
    }

    /// Whether the origin of `url` requested any hint.
    pub(crate) fn has_any(&self, url: &Url) -> bool {
        self.check_origin(url, |requested| !requested.is_empty())
    }

    /// Whether the origin of `url` requested the hint `name`.
    pub(crate) fn is_requested(&self, url: &Url, name: &str) -> bool {
        self.check_origin(url, |requested| requested.contains(name))
    }

    fn check_origin(&self, url: &Url, condition: impl FnOnce(&BTreeSet<String>) -> bool) -> bool {
        let origins = lock_unpoisoned(&self.0);
        // Called for every header field of every request, and most sites request no hints.
        !origins.is_empty() && origins.get(&url.origin().ascii_serialization()).is_some_and(condition)
    }
}

/// The header that requests hints.
pub(crate) const ACCEPT_CH: HeaderName = HeaderName::from_static("accept-ch");
const MAX_HINTS: usize = 64;
/// Longer than the name of any hint.
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
    fn only_a_secure_origin_gets_the_hints_that_it_requested() {
        let hints = hints_after("https://a.example/x", "Sec-CH-UA-Arch, sec-ch-ua-model");
        let is_requested = |url: &str, name: &str| hints.is_requested(&Url::parse(url).unwrap(), name);
        assert!(is_requested("https://a.example/y", "sec-ch-ua-arch"));
        assert!(!is_requested("https://a.example/y", "sec-ch-ua-bitness"));
        assert!(!is_requested("https://b.example/", "sec-ch-ua-arch"));
        assert!(!is_requested("https://a.example:444/", "sec-ch-ua-arch"));
        let later = ClientHintStore::default();
        for (origin, requested) in hints.for_host("a.example") {
            later.restore(&origin, requested);
        }
        assert!(later.is_requested(&Url::parse("https://a.example/").unwrap(), "sec-ch-ua-arch"));
        assert!(hints.for_host("b.example").is_empty());
        let clear = hints_after("http://a.example/", "Sec-CH-UA-Arch");
        assert!(!clear.is_requested(&Url::parse("http://a.example/").unwrap(), "sec-ch-ua-arch"));
    }
}
