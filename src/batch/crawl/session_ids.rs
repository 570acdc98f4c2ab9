//! Session IDs in URLs: parameters that vary between the visits of one page. Pure.
//!
//! The name `PHPSESSID` shows that a parameter is a session ID. The name `sid` does not: it may select a story. Such a
//! parameter is compared only after two URLs that differ in nothing else led to the same content.

use std::collections::HashMap;

use url::Url;

/// The parameters of sites that are or may be session IDs.
#[derive(Debug, Default)]
pub(super) struct SessionIds {
    /// At most [`MAX_PARAMETERS`].
    states: HashMap<Parameter, State>,
}

/// A parameter of a host's URLs. The name is in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Parameter {
    pub(super) host: String,
    pub(super) name: String,
}

/// A URL with a parameter that may be a session ID.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) parameter: Parameter,
    value: String,
    /// The URL without the parameter.
    pub(super) rest: Url,
}

#[derive(Debug)]
enum State {
    /// The URLs so far, by [`Candidate::rest`]. At most [`MAX_VISITS`].
    Unknown {
        visits: HashMap<String, Visit>,
        is_probed: bool,
    },
    SessionId,
    SelectsPages,
}

/// The first URL of a page, and the URL that is compared with it.
#[derive(Debug)]
struct Visit {
    value: String,
    first: Content,
    probe: Content,
}

#[derive(Debug)]
enum Content {
    Pending,
    Failed,
    Fetched(ContentSketch),
}

/// What to do with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Fetch,
    /// Wait for the fetch of another URL, which shows whether the parameter is a session ID.
    Wait,
}

/// What a fetched page showed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Nothing,
    /// Nothing about the parameter: another URL must be fetched.
    ProbeFailed,
    /// The parameter is a session ID. These URLs without it are fetched.
    SessionId(Vec<String>),
    SelectsPages,
}

impl SessionIds {
    /// Whether a parameter `name=value` is ignored in comparisons.
    pub(super) fn is_ignored(&self, host: &str, pair: &str) -> bool {
        if is_session_name(pair) {
            return true;
        }
        let Some((name, _)) = candidate_pair(pair) else { return false };
        self.states
            .get(&Parameter { host: host.to_owned(), name })
            .is_some_and(|state| matches!(state, State::SessionId))
    }

    /// Records that an earlier run found the parameter to be a session ID.
    pub(super) fn restore(&mut self, parameter: Parameter) {
        self.states.insert(parameter, State::SessionId);
    }

    /// Decides about a new link.
    pub(super) fn admit(&mut self, link: &Candidate) -> Admission {
        let is_full = self.states.len() >= MAX_PARAMETERS;
        if is_full && !self.states.contains_key(&link.parameter) {
            return Admission::Fetch;
        }
        let state = self.states.entry(link.parameter.clone());
        let state = state.or_insert_with(|| State::Unknown { visits: HashMap::new(), is_probed: false });
        let State::Unknown { visits, is_probed } = state else { return Admission::Fetch };
        if visits.contains_key(link.rest.as_str()) {
            return if std::mem::replace(is_probed, true) { Admission::Wait } else { Admission::Fetch };
        }
        if visits.len() < MAX_VISITS {
            visits.insert(link.rest.to_string(), Visit::new(link.value.clone()));
        }
        Admission::Fetch
    }

    /// Compares the content of a fetched page with that of the same URL with another value. `None`: the fetch failed.
    pub(super) fn compare(&mut self, page: &Candidate, content: Option<ContentSketch>) -> Finding {
        let Some(state) = self.states.get_mut(&page.parameter) else { return Finding::Nothing };
        let State::Unknown { visits, is_probed } = state else { return Finding::Nothing };
        let Some(visit) = visits.get_mut(page.rest.as_str()) else { return Finding::Nothing };
        let content =
            content.filter(|content| !content.0.is_empty()).map_or(Content::Failed, Content::Fetched);
        if visit.value == page.value {
            visit.first = content;
        } else {
            visit.probe = content;
        }
        match (&visit.first, &visit.probe) {
            (Content::Pending, _) | (_, Content::Pending) => Finding::Nothing,
            (Content::Fetched(first), Content::Fetched(probe)) if first.is_like(probe) => {
                let urls = std::mem::take(visits).into_keys().collect();
                *state = State::SessionId;
                Finding::SessionId(urls)
            }
            (Content::Fetched(_), Content::Fetched(_)) => {
                *state = State::SelectsPages;
                Finding::SelectsPages
            }
            (Content::Failed, _) => {
                visit.value.clone_from(&page.value);
                visit.first = std::mem::replace(&mut visit.probe, Content::Pending);
                *is_probed = false;
                Finding::ProbeFailed
            }
            (_, Content::Failed) => {
                visit.probe = Content::Pending;
                *is_probed = false;
                Finding::ProbeFailed
            }
        }
    }

    /// Whether nothing is known of the parameter.
    pub(super) fn is_new(&self, parameter: &Parameter) -> bool {
        !self.states.contains_key(parameter)
    }
}

impl Visit {
    const fn new(value: String) -> Self {
        Self { value, first: Content::Pending, probe: Content::Pending }
    }
}

impl Candidate {
    /// Returns the parameter of the URL that may be a session ID.
    pub(super) fn of(url: &Url) -> Option<Self> {
        let host = url.host_str()?.to_owned();
        let query = url.query()?;
        let (name, value) = query.split('&').find_map(candidate_pair)?;
        let mut was_removed = false;
        let rest: Vec<&str> = query
            .split('&')
            .filter(|pair| {
                let is_it = !was_removed && candidate_pair(pair).is_some();
                was_removed |= is_it;
                !is_it
            })
            .collect();
        let mut without = url.clone();
        without.set_query((!rest.is_empty()).then(|| rest.join("&")).as_deref());
        Some(Self { parameter: Parameter { host, name }, value: value.to_owned(), rest: without })
    }
}

/// The words of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::batch) struct ContentSketch(Vec<u32>);

impl ContentSketch {
    /// Creates the sketch of a text. Generated words, which may contain the session ID, do not count.
    pub(super) fn new(text: &str) -> Self {
        let words = text.split_whitespace().filter(|word| !contains_random(word)).take(MAX_WORDS);
        let mut hashes: Vec<u32> = words.map(|word| crc32fast::hash(word.as_bytes())).collect();
        hashes.sort_unstable();
        Self(hashes)
    }

    /// Whether at most a fiftieth of the words differs.
    fn is_like(&self, other: &Self) -> bool {
        let (mut at, mut to, mut same) = (0, 0, 0);
        while let (Some(a), Some(b)) = (self.0.get(at), other.0.get(to)) {
            at += usize::from(a <= b);
            to += usize::from(b <= a);
            same += usize::from(a == b);
        }
        self.0.len() + other.0.len() - 2 * same <= self.0.len().max(other.0.len()) / 50
    }
}

/// Whether a parameter is a session ID by its name, and its value is random or a long number.
pub(super) fn is_session_name(pair: &str) -> bool {
    let Some((name, value)) = pair.split_once('=') else { return false };
    let name = name.to_ascii_lowercase();
    let is_number = || value.len() >= MIN_RANDOM && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_known = name.starts_with("aspsessionid") || SESSION_NAMES.contains(&name.as_str());
    is_known && (is_random(value) || is_number())
}

/// Returns name and value of a parameter that may be a session ID.
fn candidate_pair(pair: &str) -> Option<(String, &str)> {
    let (name, value) = pair.split_once('=')?;
    let name = name.to_ascii_lowercase();
    (AMBIGUOUS_NAMES.contains(&name.as_str()) && is_random(value)).then_some((name, value))
}

/// Whether a value looks generated: long, of letters and digits, without words.
fn is_random(value: &str) -> bool {
    let is_made = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'!' | b'~' | b'%' | b',')
    };
    let count = |test: fn(&u8) -> bool| value.bytes().filter(test).count();
    let (digits, letters) = (count(u8::is_ascii_digit), count(u8::is_ascii_alphabetic));
    value.len() >= MIN_RANDOM && value.bytes().all(is_made) && digits >= 3 && letters >= 3
        // Words joined by dashes are a title with numbers.
        && !value.split(['-', '_', '.']).any(|part| part.len() >= 4 && part.bytes().all(|byte| byte.is_ascii_lowercase()))
}

fn contains_random(word: &str) -> bool {
    word.len() >= MIN_RANDOM && word.split(|c: char| !c.is_ascii_alphanumeric()).any(is_random)
}

/// Names that are used for session IDs only.
const SESSION_NAMES: [&str; 8] = [
    "phpsessid",
    "jsessionid",
    "asp.net_sessionid",
    "cftoken",
    "zenid",
    "oscsid",
    "sessid",
    "php_session_id",
];
/// Names that are also used for parameters that select pages.
const AMBIGUOUS_NAMES: [&str; 8] = ["sid", "sessionid", "session_id", "session", "sess", "cfid", "s", "osid"];
/// Minimum length of a random value.
const MIN_RANDOM: usize = 16;
const MAX_PARAMETERS: usize = 1000;
const MAX_VISITS: usize = 1000;
const MAX_WORDS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(text: &str) -> Option<Candidate> {
        Candidate::of(&text.parse().unwrap())
    }

    #[test]
    fn a_value_is_random_or_selects_a_page() {
        for (value, expected) in [
            ("8f3a9c81d7e6b350", true),
            ("550e8400-e29b-41d4-a716-446655440000", true),
            ("QkVt5jYzN2ZkZTQ1", true),
            ("0A1B2C3D4E5F60718293A4B5C6D7E8F9.node1", true),
            ("26", false),
            ("20240115", false),
            ("a-title-of-words-2024", false),
            ("ghijklmnopqrstuvwxyz", false),
            ("a1b2c3", false),
            ("", false),
        ] {
            assert_eq!(is_random(value), expected, "{value}");
            assert_eq!(is_session_name(&format!("PHPSESSID={value}")), expected, "{value}");
            assert_eq!(candidate(&format!("http://a.test/p?x=1&SID={value}")).is_some(), expected, "{value}");
        }
        assert_eq!(
            candidate("http://a.test/p?x=1&sid=8f3a9c81d7e6b350&y=").unwrap().rest.as_str(),
            "http://a.test/p?x=1&y="
        );
        assert_eq!(candidate("http://a.test/?sid=8f3a9c81d7e6b350").unwrap().rest.as_str(), "http://a.test/");
    }

    #[test]
    fn a_parameter_is_a_session_id_if_it_varies_for_one_page() {
        for (contents, expected) in
            [(["one page of words", "one page of words"], true), (["story one", "story two"], false)]
        {
            let mut sessions = SessionIds::default();
            let link = |path: &str, id: u32| {
                candidate(&format!("http://a.test/{path}?sid=8f3a9c81d7e6b{id:03}")).unwrap()
            };
            let sketch = |text: &str| Some(ContentSketch::new(text));
            assert_eq!(sessions.admit(&link("p", 1)), Admission::Fetch);
            assert_eq!(sessions.admit(&link("p", 2)), Admission::Fetch, "the probe");
            assert_eq!(sessions.admit(&link("p", 3)), Admission::Wait);
            assert_eq!(sessions.admit(&link("q", 3)), Admission::Fetch);
            assert_eq!(sessions.compare(&link("p", 1), sketch(contents[0])), Finding::Nothing);
            assert_eq!(sessions.compare(&link("q", 3), sketch("q")), Finding::Nothing);
            match sessions.compare(&link("p", 2), sketch(contents[1])) {
                Finding::SessionId(urls) => assert!(expected && urls.len() == 2, "{urls:?}"),
                finding => assert_eq!((finding, expected), (Finding::SelectsPages, false)),
            }
            assert_eq!(sessions.is_ignored("a.test", "SID=8f3a9c81d7e6b350"), expected);
            assert!(!sessions.is_ignored("b.test", "sid=8f3a9c81d7e6b350"));
            assert_eq!(sessions.admit(&link("p", 4)), Admission::Fetch);
        }
    }

    #[test]
    fn a_probe_that_fails_shows_nothing() {
        let mut sessions = SessionIds::default();
        let link = |id: u32| candidate(&format!("http://a.test/?sid=8f3a9c81d7e6b{id:03}")).unwrap();
        assert_eq!(
            [1, 2, 3].map(|id| sessions.admit(&link(id))),
            [Admission::Fetch, Admission::Fetch, Admission::Wait]
        );
        assert_eq!(sessions.compare(&link(1), Some(ContentSketch::new("x"))), Finding::Nothing);
        assert_eq!(sessions.compare(&link(2), None), Finding::ProbeFailed);
        assert_eq!(sessions.admit(&link(3)), Admission::Fetch);
    }

    #[test]
    fn contents_are_alike_if_few_words_differ() {
        let page = |extra: &str| ContentSketch::new(&format!("{} {extra}", "nav word ".repeat(100)));
        assert!(page("at 12:01").is_like(&page("at 12:02")));
        assert!(!page("a story of one thing").is_like(&page("another tale about it")));
        assert!(page("8f3a9c81d7e6b350").is_like(&page("0f3a9c81d7e6b351")));
        assert!(!ContentSketch::new("1").is_like(&ContentSketch::new("2")));
        assert!(ContentSketch::new("").is_like(&ContentSketch::new("")));
    }
}
