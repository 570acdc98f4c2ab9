//! A block rule, and the file of one vendor's rules.

use serde::{Deserialize, Serialize};

use super::condition::{Condition, StatusPattern};
use super::content_kind::ContentKind;
use super::preconditions::Preconditions;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::verdict::VerdictKind;
use crate::settings::provenance::is_date;
use crate::settings::toml_file;

/// The version of the block rule format this build reads.
const SCHEMA: u32 = 1;

/// The metadata of a rule.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RuleInfo {
    /// `file/rule`, for example `cloudflare/challenge-header`.
    pub id: String,
    /// The vendor that the rule detects; `None` for a generic rule.
    pub vendor: Option<String>,
    /// The verdict if the rule fires.
    pub kind: VerdictKind,
    /// The confidence of the verdict, from 0.0 to 1.0.
    pub confidence: f32,
    /// The document or capture that the sign comes from.
    pub source: String,
    /// When the sign was last observed, `YYYY-MM` or `YYYY-MM-DD`.
    pub seen: String,
    /// An explanation of the rule, if it needs one.
    pub note: Option<String>,
    /// The file that defines the rule.
    pub origin: String,
}

/// A rule. It fires if all of `all`, at least one of `any` (if there are any) and none of `none` hold.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) info: RuleInfo,
    pub(super) all: Vec<Condition>,
    pub(super) any: Vec<Condition>,
    pub(super) none: Vec<Condition>,
    /// Cheap preconditions, which exclude most rules.
    pub(super) preconditions: Preconditions,
    /// Whether it needs the title, and whether it needs a search of the body's text.
    pub(super) needs_title: bool,
    pub(super) needs_text: bool,
    /// Whether every body that it fires on contains a needle of the prefilter.
    pub(super) is_prefiltered: bool,
}

impl Rule {
    /// Returns every condition, in unspecified order.
    pub(super) fn conditions_mut(&mut self) -> impl Iterator<Item = &mut Condition> {
        self.all.iter_mut().chain(&mut self.any).chain(&mut self.none)
    }

    pub(super) fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.all.iter().chain(&self.any).chain(&self.none)
    }
}

/// A parsed file of rules.
pub(super) struct RuleFile {
    pub(super) rules: Vec<Rule>,
    /// Ids of earlier rules that the file disables.
    pub(super) disabled: Vec<String>,
}

/// An error in the rules or weights of a file. The message names the file.
pub(super) fn rule_error(message: String) -> Error {
    Error::new(ErrorKind::Profile, message)
}

/// Parses a file of rules. `origin` names it in errors.
pub(super) fn parse_file(text: &str, origin: &str) -> Result<RuleFile> {
    let file: RuleFileToml = toml::from_str(text)
        .map_err(|cause| rule_error(toml_file::format_parse_error(text, origin, &cause)))?;
    if file.schema != SCHEMA {
        return Err(rule_error(format!("{origin}: schema is {}, this build reads {SCHEMA}", file.schema)));
    }
    let disabled = file.off.iter().map(|name| format!("{}/{}", file.name.0, name.0)).collect();
    let mut rules: Vec<Rule> = Vec::with_capacity(file.rule.len());
    for rule in file.rule {
        let id = format!("{}/{}", file.name.0, rule.id);
        if rules.iter().any(|other| other.info.id == id) {
            return Err(rule_error(format!("{origin}: duplicate rule `{id}`")));
        }
        rules.push(rule.into_rule(id, file.vendor.as_ref(), origin));
    }
    Ok(RuleFile { rules, disabled })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFileToml {
    schema: u32,
    name: RuleName,
    vendor: Option<RuleName>,
    #[serde(default)]
    off: Vec<RuleName>,
    #[serde(default)]
    rule: Vec<ValidatedRule>,
}

/// A name of lower-case letters, digits and `-`.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct RuleName(String);

impl TryFrom<String> for RuleName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || !text.bytes().all(is_allowed) {
            return Err(format!("`{}` is not a name of a-z, 0-9 and `-`", text.escape_debug()));
        }
        Ok(Self(text))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleToml {
    id: RuleName,
    kind: VerdictKind,
    confidence: f32,
    source: String,
    seen: String,
    note: Option<String>,
    status: Option<Vec<StatusPattern>>,
    media: Option<Vec<ContentKind>>,
    max_bytes: Option<usize>,
    min_bytes: Option<usize>,
    #[serde(default)]
    all: Vec<Condition>,
    #[serde(default)]
    any: Vec<Condition>,
    #[serde(default)]
    none: Vec<Condition>,
}

/// A rule with validated values. Validation during parsing lets errors name the position in the file.
#[derive(Deserialize)]
#[serde(try_from = "RuleToml")]
struct ValidatedRule {
    id: String,
    kind: VerdictKind,
    confidence: f32,
    source: String,
    seen: String,
    note: Option<String>,
    all: Vec<Condition>,
    any: Vec<Condition>,
    none: Vec<Condition>,
}

impl TryFrom<RuleToml> for ValidatedRule {
    type Error = String;

    fn try_from(toml: RuleToml) -> Result<Self, String> {
        let id = toml.id.0;
        let invalid = |message: &str| Err(format!("rule `{id}`: {message}"));
        if !(toml.confidence > 0.0 && toml.confidence <= 1.0) {
            return invalid("`confidence` must be above 0.0 and at most 1.0");
        }
        if toml.source.trim().is_empty() {
            return invalid("`source` must say where the sign is known from");
        }
        if !is_date(&toml.seen) {
            return invalid("`seen` must be `YYYY-MM` or `YYYY-MM-DD`");
        }
        let common = [
            toml.status.map(Condition::status),
            toml.media.map(|kinds| Ok(Condition::Media(kinds))),
            toml.max_bytes.map(Condition::max_bytes),
            toml.min_bytes.map(|limit| Ok(Condition::MinBytes(limit))),
        ];
        let mut all = common.into_iter().flatten().collect::<Result<Vec<_>, _>>()?;
        all.extend(toml.all);
        if !all.iter().chain(&toml.any).any(Condition::is_evidence) {
            return invalid("it needs a status, or a condition in `all` or `any` that can be evidence");
        }
        Ok(Self {
            kind: toml.kind,
            confidence: toml.confidence,
            source: toml.source,
            seen: toml.seen,
            note: toml.note,
            all,
            any: toml.any,
            none: toml.none,
            id,
        })
    }
}

impl ValidatedRule {
    fn into_rule(self, id: String, vendor: Option<&RuleName>, origin: &str) -> Rule {
        let conditions = || self.all.iter().chain(&self.any).chain(&self.none);
        Rule {
            preconditions: Preconditions::from_conditions(&self.all),
            needs_title: conditions().any(|condition| matches!(condition, Condition::Title(_))),
            needs_text: conditions().any(Condition::needs_text),
            info: RuleInfo {
                id,
                vendor: vendor.map(|name| name.0.clone()),
                kind: self.kind,
                confidence: self.confidence,
                source: self.source,
                seen: self.seen,
                note: self.note,
                origin: origin.to_owned(),
            },
            all: self.all,
            any: self.any,
            none: self.none,
            is_prefiltered: false,
        }
    }
}
