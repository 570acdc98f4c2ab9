//! A block rule, and the file that holds one vendor's rules.

use serde::{Deserialize, Serialize};

use super::condition::{Condition, StatusPattern};
use super::content_kind::ContentKind;
use super::preconditions::Preconditions;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::provenance::is_date;
use crate::toml_file;
use crate::verdict::VerdictKind;

/// The version of the block rule format this build reads.
const SCHEMA: u32 = 1;

/// What is known of a rule without asking it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RuleInfo {
    /// `file/rule`, for example `cloudflare/challenge-header`.
    pub id: String,
    /// Whose sign it is; `None` for signs that are nobody's.
    pub vendor: Option<String>,
    /// The verdict it speaks for.
    pub kind: VerdictKind,
    /// How sure it is, from 0.0 to 1.0.
    pub confidence: f32,
    /// Where the sign is known from.
    pub source: String,
    /// When it was last known to hold, `YYYY-MM` or `YYYY-MM-DD`.
    pub seen: String,
    /// Why it is as it is, where that needs saying.
    pub note: Option<String>,
    /// The file it was read from.
    pub origin: String,
}

/// A rule: fires when all of `all`, at least one of `any` (if there are any), and none of `none` hold.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) info: RuleInfo,
    pub(super) all: Vec<Condition>,
    pub(super) any: Vec<Condition>,
    pub(super) none: Vec<Condition>,
    /// What a look at the answer's frame shows to be missing, for most rules.
    pub(super) preconditions: Preconditions,
    /// Whether the title must be read before it can be answered, and whether the body's text must be searched.
    pub(super) needs_title: bool,
    pub(super) needs_text: bool,
    /// Whether one of the needles is in every body that it fires on.
    pub(super) is_prefiltered: bool,
}

impl Rule {
    /// Every condition, in no order that matters.
    pub(super) fn conditions_mut(&mut self) -> impl Iterator<Item = &mut Condition> {
        self.all.iter_mut().chain(&mut self.any).chain(&mut self.none)
    }

    pub(super) fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.all.iter().chain(&self.any).chain(&self.none)
    }
}

/// One file of rules.
pub(super) struct RuleFile {
    pub(super) rules: Vec<Rule>,
    /// The ids of earlier rules that it switches off.
    pub(super) disabled: Vec<String>,
}

/// Reads one file of rules; `origin` names it in errors.
pub(super) fn parse_file(text: &str, origin: &str) -> Result<RuleFile> {
    let wrong = |what: String| Error::new(ErrorKind::Profile, what);
    let file: RuleFileToml =
        toml::from_str(text).map_err(|cause| wrong(toml_file::format_parse_error(text, origin, &cause)))?;
    if file.schema != SCHEMA {
        return Err(wrong(format!("{origin}: schema is {}, this build reads {SCHEMA}", file.schema)));
    }
    let off = file.off.iter().map(|name| format!("{}/{}", file.name.0, name.0)).collect();
    let mut rules: Vec<Rule> = Vec::with_capacity(file.rule.len());
    for written in file.rule {
        let id = format!("{}/{}", file.name.0, written.id);
        if rules.iter().any(|rule| rule.info.id == id) {
            return Err(wrong(format!("{origin}: the rule `{id}` is there twice")));
        }
        rules.push(written.into_rule(id, file.vendor.as_ref(), origin));
    }
    Ok(RuleFile { rules, disabled: off })
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
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || !text.bytes().all(fits) {
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

/// A rule whose values were checked while the reader still knew its place in the file.
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

    fn try_from(written: RuleToml) -> Result<Self, String> {
        let id = written.id.0;
        let wrong = |what: &str| Err(format!("rule `{id}`: {what}"));
        if !(written.confidence > 0.0 && written.confidence <= 1.0) {
            return wrong("`confidence` is above 0.0 and at most 1.0");
        }
        if written.source.trim().is_empty() {
            return wrong("`source` says where the sign is known from");
        }
        if !is_date(&written.seen) {
            return wrong("`seen` is `YYYY-MM` or `YYYY-MM-DD`");
        }
        let head = [
            written.status.map(Condition::status),
            written.media.map(|sorts| Ok(Condition::Media(sorts))),
            written.max_bytes.map(Condition::max_bytes),
            written.min_bytes.map(|bound| Ok(Condition::MinBytes(bound))),
        ];
        let mut all = head.into_iter().flatten().collect::<Result<Vec<_>, _>>()?;
        all.extend(written.all);
        if !all.iter().chain(&written.any).any(Condition::is_evidence) {
            return wrong("it needs a status, or a condition in `all` or `any`, that tells something");
        }
        Ok(Self {
            kind: written.kind,
            confidence: written.confidence,
            source: written.source,
            seen: written.seen,
            note: written.note,
            all,
            any: written.any,
            none: written.none,
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
