//! One condition of a rule: as it is written in TOML, and as it is asked.

use http::HeaderName;
use serde::Deserialize;

use super::PREFIX;
use super::content_kind::ContentKind;
use super::selector::Selector;
use super::text::contains_ignore_case;
use crate::tier::Tier;

/// One question about an answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "ConditionToml")]
pub(super) enum Condition {
    /// The status is in one of these ranges, both ends included.
    Status(Vec<(u16, u16)>),
    /// The header is there, and its value passes.
    Header { name: HeaderName, test: TextMatch },
    /// The answer sets this cookie.
    Cookie { name: String, starts: bool },
    /// The answering host is this one or one under it; `www.google.` means any top-level domain.
    Host(String),
    /// The answering URL's path holds this, up to the end of a word.
    Path(String),
    /// The path that was asked for holds this, up to the end of a word.
    RequestedPath(String),
    /// The answering URL's query holds this.
    Query(String),
    /// The answering URL is (not) another than the one asked for.
    Redirected(bool),
    /// The page's title passes.
    Title(TextMatch),
    /// The body's text holds one of these.
    Text { any: Vec<String>, nocase: bool, patterns: Vec<usize> },
    /// All that a reader sees is one or two sentences, and they begin like one of these.
    VisibleText(Vec<String>),
    /// The body is a small JSON object with all these keys.
    Json(Vec<String>),
    /// Nothing is in the page: no text, and no element that could bring any.
    Blank(bool),
    /// An element is there.
    Css { selector: Selector, pattern: usize },
    /// The body is whole and no larger than this.
    MaxBytes(usize),
    /// The body is at least this large.
    MinBytes(usize),
    /// The body is of one of these sorts.
    Media(Vec<ContentKind>),
    /// It was got by this tier.
    Tier(Tier),
    /// It came (or did not come) through a proxy.
    ViaProxy(bool),
}

/// How a short text is compared: ASCII case does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TextMatch {
    Present,
    Is(String),
    Has(String),
    Starts(String),
}

impl Condition {
    /// Whether the body's text must be searched before this can be answered: a selector's own text
    /// is searched for before the page is parsed.
    pub(super) const fn needs_text(&self) -> bool {
        matches!(self, Self::Text { .. } | Self::Css { .. })
    }

    /// Whether it can hold for an answer of this status.
    pub(super) fn allows_status(&self, status: u16) -> bool {
        match self {
            Self::Status(ranges) => ranges.iter().any(|(from, to)| (*from..=*to).contains(&status)),
            _ => true,
        }
    }

    /// Whether what fired it is worth showing as evidence.
    pub(super) const fn is_evidence(&self) -> bool {
        !matches!(self, Self::MaxBytes(_) | Self::MinBytes(_) | Self::Media(_) | Self::Tier(_))
    }

    /// The whole of a status list as rules write it.
    pub(super) fn status(codes: Vec<StatusPattern>) -> Result<Self, String> {
        Ok(Self::Status(codes.into_iter().map(StatusPattern::into_range).collect::<Result<_, _>>()?))
    }

    /// A bound above what is read of a body would never hold.
    pub(super) fn max_bytes(bound: usize) -> Result<Self, String> {
        if bound > PREFIX {
            return Err(format!("`max_bytes` is {bound}, and no more than {PREFIX} bytes are read"));
        }
        Ok(Self::MaxBytes(bound))
    }
}

impl TextMatch {
    pub(super) fn matches(&self, value: &str) -> bool {
        match self {
            Self::Present => true,
            Self::Is(wanted) => value.trim().eq_ignore_ascii_case(wanted),
            Self::Has(wanted) => contains_ignore_case(value.as_bytes(), wanted.as_bytes()),
            Self::Starts(wanted) => value
                .as_bytes()
                .get(..wanted.len())
                .is_some_and(|begin| begin.eq_ignore_ascii_case(wanted.as_bytes())),
        }
    }
}

/// A status as a rule writes it: `403` or `"500-599"`.
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

/// A condition as it is written: exactly one subject, and what goes with it.
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

    fn try_from(written: ConditionToml) -> Result<Self, String> {
        let test = written.text_match()?;
        if test != TextMatch::Present && written.header.is_none() {
            return Err("`is`, `has` and `starts` go with `header`".to_owned());
        }
        if written.nocase.is_some() && written.text.is_none() {
            return Err("`nocase` goes with `text`".to_owned());
        }
        let mut subjects = written.into_conditions(test)?;
        match (subjects.pop(), subjects.is_empty()) {
            (Some(subject), true) => Ok(subject),
            (None, _) => Err("a condition needs a subject: status, header, cookie, host, path, query, asked, \
                              moved, title, title_has, title_starts, text, css, says, json, blank, max_bytes, min_bytes, media, \
                              tier or via_proxy"
                .to_owned()),
            (Some(_), false) => Err("a condition has one subject; write two conditions".to_owned()),
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
            _ => Err("`is`, `has` and `starts` exclude each other".to_owned()),
        }
    }

    fn into_conditions(self, test: TextMatch) -> Result<Vec<Condition>, String> {
        let lower = |text: String| text.to_ascii_lowercase();
        let nocase = self.nocase.unwrap_or(false);
        let found = [
            self.status.map(Condition::status),
            self.header.map(|name| parse_header(&name, test)),
            self.cookie.map(|name| parse_cookie(&name)),
            self.host.map(|host| Ok(Condition::Host(lower(host)))),
            self.path.map(|path| Ok(Condition::Path(path))),
            self.asked.map(|path| Ok(Condition::RequestedPath(path))),
            self.json.map(|keys| non_empty("json", keys).map(Condition::Json)),
            self.says.map(|texts| {
                non_empty("says", texts).map(|t| Condition::VisibleText(t.into_iter().map(lower).collect()))
            }),
            self.blank.map(|blank| Ok(Condition::Blank(blank))),
            self.query.map(|query| Ok(Condition::Query(query))),
            self.moved.map(|moved| Ok(Condition::Redirected(moved))),
            self.title.map(|title| Ok(Condition::Title(TextMatch::Is(lower(title))))),
            self.title_has.map(|title| Ok(Condition::Title(TextMatch::Has(lower(title))))),
            self.title_starts.map(|title| Ok(Condition::Title(TextMatch::Starts(lower(title))))),
            self.text.map(|any| text_condition(any, nocase)),
            self.css.map(|css| Ok(Condition::Css { selector: Selector::parse(&css)?, pattern: usize::MAX })),
            self.max_bytes.map(Condition::max_bytes),
            self.min_bytes.map(|bound| Ok(Condition::MinBytes(bound))),
            self.media.map(|sorts| Ok(Condition::Media(sorts))),
            self.tier.map(|tier| Ok(Condition::Tier(tier))),
            self.via_proxy.map(|via| Ok(Condition::ViaProxy(via))),
        ];
        found.into_iter().flatten().collect()
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
        return Err("`cookie` needs a name, or the start of one and `*`".to_owned());
    }
    Ok(Condition::Cookie { name: name.to_owned(), starts })
}

fn non_empty(key: &str, texts: Vec<String>) -> Result<Vec<String>, String> {
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        return Err(format!("`{key}` needs a list of texts"));
    }
    Ok(texts)
}

fn text_condition(any: Vec<String>, nocase: bool) -> Result<Condition, String> {
    // Shorter words stand in half of all pages, and cost the search its speed.
    if any.is_empty() || any.iter().any(|text| text.len() < 4) {
        return Err("`text` needs a list of texts of at least 4 bytes each".to_owned());
    }
    Ok(Condition::Text { any, nocase, patterns: Vec::new() })
}
