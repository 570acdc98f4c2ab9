//! Rules that nearly fire, for `rungs detect --explain`.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::condition::{Condition, TextMatch};
use super::rule::RuleInfo;
use crate::exchange::verdict::VerdictKind;

/// A rule of which everything holds but one condition.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NearRule {
    /// The id of the rule.
    pub rule: String,
    /// The kind that it would have named.
    pub kind: VerdictKind,
    /// The vendor that it would have named.
    pub vendor: Option<String>,
    /// Its confidence.
    pub confidence: f32,
    /// The condition that does not hold.
    pub missing: String,
}

impl NearRule {
    pub(super) fn new(rule: &RuleInfo, missing: String) -> Self {
        Self {
            rule: rule.id.clone(),
            kind: rule.kind,
            vendor: rule.vendor.clone(),
            confidence: rule.confidence,
            missing,
        }
    }
}

/// The condition as a rule file states it.
impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(ranges) => {
                let ranges = ranges
                    .iter()
                    .map(|(from, to)| if from == to { from.to_string() } else { format!("{from}-{to}") });
                write!(f, "status {}", join(ranges))
            }
            Self::Header { name, test } => write!(f, "header {name}{test}"),
            Self::Cookie { name, starts } => write!(f, "cookie {name}{}", if *starts { "*" } else { "" }),
            Self::Host(host) => write!(f, "host {host}"),
            Self::Path(part) => write!(f, "path has {part:?}"),
            Self::RequestedPath(part) => write!(f, "requested path has {part:?}"),
            Self::Query(part) => write!(f, "query has {part:?}"),
            Self::Redirected(true) => f.write_str("redirected"),
            Self::Redirected(false) => f.write_str("not redirected"),
            Self::Title(test) => write!(f, "title{test}"),
            Self::Text { any, .. } => write!(f, "text {}", join(any.iter().map(|text| format!("{text:?}")))),
            Self::VisibleText(starts) => {
                write!(f, "visible text starts with {}", join(starts.iter().map(|text| format!("{text:?}"))))
            }
            Self::Json(keys) => write!(f, "JSON keys {}", keys.join(" and ")),
            Self::Data(texts) => write!(f, "data has {}", join(texts.iter().map(|text| format!("{text:?}")))),
            Self::Blank(true) => f.write_str("a blank page"),
            Self::Blank(false) => f.write_str("a page that is not blank"),
            Self::Css { selector, .. } => write!(f, "element {}", selector.as_str()),
            Self::MaxBytes(limit) => write!(f, "at most {limit} bytes"),
            Self::MinBytes(limit) => write!(f, "at least {limit} bytes"),
            Self::Media(kinds) => {
                write!(f, "content {}", join(kinds.iter().map(|kind| format!("{kind:?}").to_lowercase())))
            }
            Self::Tier(tier) => write!(f, "tier {}", tier.name()),
            Self::ViaProxy(true) => f.write_str("through a proxy"),
            Self::ViaProxy(false) => f.write_str("not through a proxy"),
        }
    }
}

impl Display for TextMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => Ok(()),
            Self::Is(text) => write!(f, " is {text:?}"),
            Self::Has(text) => write!(f, " has {text:?}"),
            Self::Starts(text) => write!(f, " starts with {text:?}"),
        }
    }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" or ")
}
