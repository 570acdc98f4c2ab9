//! Which client hints each origin has asked for with Accept-CH, as a browser remembers it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;

use http::{HeaderMap, HeaderName};
use url::Url;

use crate::lock::lock;

/// The hints asked for, by origin. Part of an identity.
#[derive(Debug, Default)]
pub(crate) struct Hints(Mutex<HashMap<String, BTreeSet<String>>>);

impl Hints {
    /// Takes note of what an answer from `url` asks for. Only a secure origin may ask; what it
    /// asks for replaces what it asked for before.
    pub(crate) fn note(&self, url: &Url, headers: &HeaderMap) {
        if url.scheme() != "https" || !headers.contains_key(&ACCEPT_CH) {
            return;
        }
        let lines = headers.get_all(&ACCEPT_CH).iter();
        let wanted = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .map(|token| token.trim().to_ascii_lowercase())
            .filter(|token| (1..=MAX_TOKEN).contains(&token.len()))
            .take(MAX_HINTS)
            .collect();
        let mut origins = lock(&self.0);
        let origin = url.origin().ascii_serialization();
        if origins.len() < MAX_ORIGINS || origins.contains_key(&origin) {
            origins.insert(origin, wanted);
        }
    }

    /// What the origins of `host` asked for, sorted by origin.
    pub(crate) fn of_host(&self, host: &str) -> Vec<(String, BTreeSet<String>)> {
        let origins = lock(&self.0);
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
    pub(crate) fn recall(&self, origin: &str, wanted: BTreeSet<String>) {
        let mut origins = lock(&self.0);
        if origins.len() < MAX_ORIGINS {
            origins.entry(origin.to_owned()).or_insert(wanted);
        }
    }

    /// Whether the origin of `url` asked for any.
    pub(crate) fn any(&self, url: &Url) -> bool {
        let origins = lock(&self.0);
        origins.get(&url.origin().ascii_serialization()).is_some_and(|wanted| !wanted.is_empty())
    }

    /// Whether the origin of `url` asked for the hint `name`.
    pub(crate) fn wants(&self, url: &Url, name: &str) -> bool {
        let origins = lock(&self.0);
        origins.get(&url.origin().ascii_serialization()).is_some_and(|wanted| wanted.contains(name))
    }
}

/// What asks for hints.
pub(crate) const ACCEPT_CH: HeaderName = HeaderName::from_static("accept-ch");
const MAX_HINTS: usize = 64;
/// Longer than any hint's name.
const MAX_TOKEN: usize = 64;
const MAX_ORIGINS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(url: &str, line: &'static str) -> Hints {
        let hints = Hints::default();
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_CH, line.parse().unwrap());
        hints.note(&Url::parse(url).unwrap(), &headers);
        hints
    }

    #[test]
    fn a_secure_origin_is_told_what_it_asked_for_and_no_other_origin_is() {
        let hints = asked("https://a.example/x", "Sec-CH-UA-Arch, sec-ch-ua-model");
        let wants = |url: &str, name: &str| hints.wants(&Url::parse(url).unwrap(), name);
        assert!(wants("https://a.example/y", "sec-ch-ua-arch"));
        assert!(!wants("https://a.example/y", "sec-ch-ua-bitness"));
        assert!(!wants("https://b.example/", "sec-ch-ua-arch"));
        assert!(!wants("https://a.example:444/", "sec-ch-ua-arch"));
        let later = Hints::default();
        for (origin, wanted) in hints.of_host("a.example") {
            later.recall(&origin, wanted);
        }
        assert!(later.wants(&Url::parse("https://a.example/").unwrap(), "sec-ch-ua-arch"));
        assert!(hints.of_host("b.example").is_empty());
        let clear = asked("http://a.example/", "Sec-CH-UA-Arch");
        assert!(!clear.wants(&Url::parse("http://a.example/").unwrap(), "sec-ch-ua-arch"));
    }
}
