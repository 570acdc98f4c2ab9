//! One condition of a rule: its TOML form, and its compiled form.

use http::HeaderName;
use serde::Deserialize;

use super::PREFIX;
use super::content_kind::ContentKind;
use super::selector::Selector;
use super::text::contains_ignore_case;
use crate::exchange::tier::Tier;

/// A condition on a response.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "ConditionToml")]
pub(super) enum Condition {
    /// The status is in one of these ranges, both ends included.
    Status(Vec<(u16, u16)>),
    /// The header is present, and one of its values matches.
    Header { name: HeaderName, test: TextMatch },
    /// The response sets this cookie.
    Cookie { name: String, starts: bool },
    /// The response's host is this one or a subdomain of it; `www.google.` matches any top-level domain.
    Host(String),
    /// The path of the response's URL contains this, up to the end of a word.
    Path(String),
    /// The path of the requested URL contains this, up to the end of a word.
    RequestedPath(String),
    /// The query of the response's URL contains this.
    Query(String),
    /// The response's URL differs (or does not differ) from the requested URL.
    Redirected(bool),
    /// The page's title matches.
    Title(TextMatch),
    /// The body contains one of these texts.
    Text { any: Vec<String>, nocase: bool, patterns: Vec<usize> },
    /// The visible text is at most 200 characters and starts with one of these.
    VisibleText(Vec<String>),
    /// The body is a small JSON object with all these keys.
    Json(Vec<String>),
    /// The body is small JSON or XML and contains one of these texts.
    Data(Vec<String>),
    /// The page is (not) blank: it has no text, and no element that could load any.
    Blank(bool),
    /// An element matches the selector.
    Css { selector: Selector, pattern: usize },
    /// The body is complete and no larger than this.
    MaxBytes(usize),
    /// The body is at least this large.
    MinBytes(usize),
    /// The body is of one of these kinds.
    Media(Vec<ContentKind>),
    /// This tier received the response.
    Tier(Tier),
    /// The response came (or did not come) through a proxy.
    ViaProxy(bool),
}

/// A comparison of a short text, ignoring ASCII case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TextMatch {
    Present,
    Is(String),
    Has(String),
    Starts(String),
}

impl Condition {
    /// Whether the body's text must be searched to evaluate this. For a selector, its text is searched before the
    /// page is parsed.
    pub(super) const fn needs_text(&self) -> bool {
        matches!(self, Self::Text { .. } | Self::Css { .. })
    }

    /// Whether it can hold for a response with this status.
    pub(super) fn allows_status(&self, status: u16) -> bool {
        match self {
            Self::Status(ranges) => ranges.iter().any(|(from, to)| (*from..=*to).contains(&status)),
            _ => true,
        }
    }

    /// Whether it is shown as evidence.
    pub(super) const fn is_evidence(&self) -> bool {
        !matches!(self, Self::MaxBytes(_) | Self::MinBytes(_) | Self::Media(_) | Self::Tier(_))
    }

    /// Whether it holds for few responses, so that a rule of which it holds is worth a look.
    pub(super) const fn is_specific(&self) -> bool {
        self.is_evidence()
            && !matches!(self, Self::Status(_) | Self::Redirected(_) | Self::ViaProxy(_) | Self::Blank(_))
    }

    /// Creates a condition from a rule's status list.
    pub(super) fn status(codes: Vec<StatusPattern>) -> Result<Self, String> {
        Ok(Self::Status(codes.into_iter().map(StatusPattern::into_range).collect::<Result<_, _>>()?))
    }

    /// Creates a size condition. Rejects a limit above [`PREFIX`], because at most that much is read.
    pub(super) fn max_bytes(limit: usize) -> Result<Self, String> {
        if limit > PREFIX {
            return Err(format!("`max_bytes` is {limit}, but at most {PREFIX} bytes are read"));
        }
        Ok(Self::MaxBytes(limit))
    }
}

impl TextMatch {
    pub(super) fn matches(&self, value: &str) -> bool {
        match self {
            Self::Present => true,
            Self::Is(expected) => value.trim().eq_ignore_ascii_case(expected),
            Self::Has(expected) => contains_ignore_case(value.as_bytes(), expected.as_bytes()),
            Self::Starts(expected) => value
                .as_bytes()
                .get(..expected.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(expected.as_bytes())),
        }
    }
}

/// A status in a rule: `403` or `"500-599"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a status such as 403, or a range such as \"500-599\"")]
pub(super) enum StatusPattern {
    One(u16),
    Range(String),
}

impl StatusPattern {
    fn into_range(self) -> Result<(u16, u16), String> {
        match self {
            Self::One(code) => Ok((code, code)),
            Self::Range(text) => text
                .split_once('-')
                .and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)))
                .filter(|(from, to): &(u16, u16)| from <= to)
                .ok_or_else(|| format!("`{text}` is not a range of statuses such as `500-599`")),
        }
    }
}

/// The TOML form of a condition: exactly one subject and its modifiers.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ConditionToml {
    status: Option<Vec<StatusPattern>>,
    header: Option<String>,
    is: Option<String>,
    has: Option<String>,
    starts: Option<String>,
    cookie: Option<String>,
    host: Option<String>,
    path: Option<String>,
    query: Option<String>,
    asked: Option<String>,
    blank: Option<bool>,
    json: Option<Vec<String>>,
    data: Option<Vec<String>>,
    says: Option<Vec<String>>,
    moved: Option<bool>,
    title: Option<String>,
    title_has: Option<String>,
    title_starts: Option<String>,
    text: Option<Vec<String>>,
    nocase: Option<bool>,
    css: Option<String>,
    max_bytes: Option<usize>,
    min_bytes: Option<usize>,
    media: Option<Vec<ContentKind>>,
    tier: Option<Tier>,
    via_proxy: Option<bool>,
}

impl TryFrom<ConditionToml> for Condition {
    type Error = String;

    fn try_from(toml: ConditionToml) -> Result<Self, String> {
        let test = toml.text_match()?;
        if test != TextMatch::Present && toml.header.is_none() {
            return Err("`is`, `has` and `starts` need `header`".to_owned());
        }
        if toml.nocase.is_some() && toml.text.is_none() {
            return Err("`nocase` needs `text`".to_owned());
        }
        let mut subjects = toml.into_conditions(test)?;
        match (subjects.pop(), subjects.is_empty()) {
            (Some(subject), true) => Ok(subject),
            (None, _) => Err("a condition needs a subject: status, header, cookie, host, path, query, asked, \
                              moved, title, title_has, title_starts, text, css, says, json, data, blank, max_bytes, min_bytes, media, \
                              tier or via_proxy"
                .to_owned()),
            (Some(_), false) => Err("a condition has exactly one subject; write two conditions".to_owned()),
        }
    }
}

impl ConditionToml {
    fn text_match(&self) -> Result<TextMatch, String> {
        let lower = |text: &String| text.to_ascii_lowercase();
        match (&self.is, &self.has, &self.starts) {
            (None, None, None) => Ok(TextMatch::Present),
            (Some(text), None, None) => Ok(TextMatch::Is(lower(text))),
            (None, Some(text), None) => Ok(TextMatch::Has(lower(text))),
            (None, None, Some(text)) => Ok(TextMatch::Starts(lower(text))),
            _ => Err("use only one of `is`, `has` and `starts`".to_owned()),
        }
    }

    fn into_conditions(self, test: TextMatch) -> Result<Vec<Condition>, String> {
        let lower = |text: String| text.to_ascii_lowercase();
        let nocase = self.nocase.unwrap_or(false);
        let conditions = [
            self.status.map(Condition::status),
            self.header.map(|name| parse_header(&name, test)),
            self.cookie.map(|name| parse_cookie(&name)),
            self.host.map(|host| Ok(Condition::Host(lower(host)))),
            self.path.map(|path| Ok(Condition::Path(path))),
            self.asked.map(|path| Ok(Condition::RequestedPath(path))),
            self.json.map(|keys| non_empty("json", keys).map(Condition::Json)),
            self.data.map(|texts| non_empty("data", texts).map(Condition::Data)),
            self.says.map(|texts| {
                non_empty("says", texts).map(|t| Condition::VisibleText(t.into_iter().map(lower).collect()))
            }),
            self.blank.map(|blank| Ok(Condition::Blank(blank))),
            self.query.map(|query| Ok(Condition::Query(query))),
            self.moved.map(|redirected| Ok(Condition::Redirected(redirected))),
            self.title.map(|title| Ok(Condition::Title(TextMatch::Is(lower(title))))),
            self.title_has.map(|title| Ok(Condition::Title(TextMatch::Has(lower(title))))),
            self.title_starts.map(|title| Ok(Condition::Title(TextMatch::Starts(lower(title))))),
            self.text.map(|any| text_condition(any, nocase)),
            self.css.map(|css| Ok(Condition::Css { selector: Selector::parse(&css)?, pattern: usize::MAX })),
            self.max_bytes.map(Condition::max_bytes),
            self.min_bytes.map(|limit| Ok(Condition::MinBytes(limit))),
            self.media.map(|kinds| Ok(Condition::Media(kinds))),
            self.tier.map(|tier| Ok(Condition::Tier(tier))),
            self.via_proxy.map(|via_proxy| Ok(Condition::ViaProxy(via_proxy))),
        ];
        conditions.into_iter().flatten().collect()
    }
}

fn parse_header(name: &str, test: TextMatch) -> Result<Condition, String> {
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("`{}` is not a header name", name.escape_debug()))?;
    Ok(Condition::Header { name, test })
}

fn parse_cookie(name: &str) -> Result<Condition, String> {
    let (name, starts) = name.strip_suffix('*').map_or((name, false), |start| (start, true));
    if name.is_empty() {
        return Err("`cookie` needs a name, or a prefix and `*`".to_owned());
    }
    Ok(Condition::Cookie { name: name.to_owned(), starts })
}

fn non_empty(key: &str, texts: Vec<String>) -> Result<Vec<String>, String> {
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        return Err(format!("`{key}` needs a non-empty list of texts"));
    }
    Ok(texts)
}

fn text_condition(any: Vec<String>, nocase: bool) -> Result<Condition, String> {
    // Shorter texts occur in half of all pages and slow the search down.
    if any.is_empty() || any.iter().any(|text| text.len() < 4) {
        return Err("`text` needs a non-empty list of texts of at least 4 bytes each".to_owned());
    }
    Ok(Condition::Text { any, nocase, patterns: Vec::new() })
}
