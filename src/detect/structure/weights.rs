//! The data of the structural detector: its TOML form, checked, and the scores.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::feature_set::FeatureSet;
use super::names;
use super::phrases::PhraseTable;
use crate::detect::rule::rule_error;
use crate::exchange::error::Result;
use crate::exchange::verdict::VerdictKind;
use crate::settings::provenance::is_date;
use crate::settings::toml_file;

/// The version of the format this build reads.
const SCHEMA: u32 = 1;

/// The phrases, limits and weights.
pub(super) struct StructureData {
    pub(super) limits: StructureLimits,
    pub(super) phrases: PhraseTable,
    kinds: Vec<(VerdictKind, Vec<Weight>)>,
}

/// Sizes that features depend on.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StructureLimits {
    /// Elements that carry content. A page with more of them is content.
    pub(super) content_tags: usize,
    /// Visible text of a page that is judged, of a brief one, and of its beginning, in characters.
    pub(super) text: usize,
    pub(super) brief: usize,
    pub(super) lead: usize,
}

/// A weight, and the features that it needs.
struct Weight {
    /// All must hold; each holds if one of its features does.
    all: Vec<Vec<String>>,
    none: Vec<String>,
    value: f32,
    /// The text of `all`.
    label: String,
}

/// The features of a response, and the scores of all kinds, the highest first.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct StructureExplanation {
    /// Names of the features that hold. Empty if the response is not judged by its structure.
    pub features: Vec<String>,
    /// The score from which a kind is the verdict.
    pub threshold: f32,
    /// The scores.
    pub scores: Vec<KindScore>,
}

/// The score of one kind.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct KindScore {
    /// The kind.
    pub kind: VerdictKind,
    /// The sum of the weights that apply.
    pub score: f32,
    /// The weights that apply: their features, and the weight.
    pub reasons: Vec<(String, f32)>,
}

impl StructureData {
    /// Parses and checks the data. `origin` names it in errors.
    pub(super) fn parse(text: &str, origin: &str) -> Result<Self> {
        let data: StructureToml = toml::from_str(text)
            .map_err(|cause| rule_error(toml_file::format_parse_error(text, origin, &cause)))?;
        let invalid = |message: String| Err(rule_error(format!("{origin}: {message}")));
        if data.schema != SCHEMA {
            return invalid(format!("schema is {}, this build reads {SCHEMA}", data.schema));
        }
        if data.source.trim().is_empty() || !is_date(&data.seen) {
            return invalid("it needs a `source`, and `seen` as `YYYY-MM` or `YYYY-MM-DD`".to_owned());
        }
        let mut kinds = Vec::new();
        for (kind, KindToml { weights }) in data.kinds {
            for weight in &weights {
                let named = weight
                    .all
                    .iter()
                    .flat_map(|one| one.split('|'))
                    .chain(weight.none.iter().map(String::as_str));
                if let Some(unknown) = named.clone().find(|name| !names::FEATURES.contains(name)) {
                    return invalid(format!("kinds.{}: there is no feature `{unknown}`", kind.name()));
                }
                if weight.all.is_empty() || !weight.weight.is_finite() {
                    return invalid(format!("kinds.{}: a weight needs features and a number", kind.name()));
                }
            }
            kinds.push((kind, weights.into_iter().map(Weight::from_toml).collect()));
        }
        // The order decides between equal scores.
        kinds.sort_by_key(|(kind, _): &(VerdictKind, _)| kind.name());
        let phrases =
            PhraseTable::new(&data.phrases).map_err(|message| rule_error(format!("{origin}: {message}")))?;
        Ok(Self { limits: data.limits, phrases, kinds })
    }

    /// Returns the scores of all kinds.
    pub(super) fn score(&self, features: &FeatureSet) -> Vec<KindScore> {
        let score = |(kind, weights): &(VerdictKind, Vec<Weight>)| {
            let applied: Vec<&Weight> = weights.iter().filter(|weight| weight.applies(features)).collect();
            KindScore {
                kind: *kind,
                score: applied.iter().map(|weight| weight.value).sum(),
                reasons: applied.iter().map(|weight| (weight.label.clone(), weight.value)).collect(),
            }
        };
        self.kinds.iter().map(score).collect()
    }

    /// Whether a page has so few elements with content that it may be no content.
    pub(super) fn has_little_content(&self, body: &[u8]) -> bool {
        super::shape::count_content_tags(body, self.limits.content_tags) <= self.limits.content_tags
    }
}

impl Weight {
    fn from_toml(toml: WeightToml) -> Self {
        Self {
            label: toml.all.join(" + "),
            all: toml.all.iter().map(|one| one.split('|').map(str::to_owned).collect()).collect(),
            none: toml.none,
            value: toml.weight,
        }
    }

    fn applies(&self, features: &FeatureSet) -> bool {
        self.all.iter().all(|any| any.iter().any(|name| features.contains(name)))
            && !self.none.iter().any(|name| features.contains(name))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StructureToml {
    schema: u32,
    source: String,
    seen: String,
    limits: StructureLimits,
    phrases: BTreeMap<String, Vec<String>>,
    kinds: HashMap<VerdictKind, KindToml>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KindToml {
    weights: Vec<WeightToml>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WeightToml {
    #[serde(rename = "if")]
    all: Vec<String>,
    #[serde(rename = "not", default)]
    none: Vec<String>,
    weight: f32,
}
