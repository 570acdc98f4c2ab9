//! How `rungs detect` prints verdicts and rules.

use std::io::{self, Write};

use rungs::detect::{NearRule, RuleInfo, Rules, StructureExplanation};
use rungs::{Verdict, redact};
use serde::Serialize;

use crate::cli::exit::{self, Failure};
use crate::cli::terminal;
use crate::cli::value_enums::OutputFormat;

/// The verdict on a response. In JSON it is an object of its own unless only the verdict is there.
#[derive(Serialize)]
pub(super) struct Judgement<'a> {
    /// The file, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<&'a str>,
    /// The URL, where the file has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<&'a str>,
    pub(super) status: u16,
    pub(super) verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) near_rules: Option<Vec<NearRule>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) structure: Option<StructureExplanation>,
}

pub(super) fn print_judgement(judgement: &Judgement<'_>, format: OutputFormat) -> Result<(), Failure> {
    let mut out = terminal::stdout();
    if format == OutputFormat::Json {
        let is_bare = judgement.file.is_none() && judgement.url.is_none() && judgement.structure.is_none();
        let text = if is_bare { to_json(&judgement.verdict)? } else { to_json(judgement)? };
        return writeln!(out, "{text}").map_err(Failure::stdout);
    }
    write_judgement(&mut out, judgement).map_err(Failure::stdout)
}

fn write_judgement(out: &mut impl Write, judgement: &Judgement<'_>) -> io::Result<()> {
    for name in [judgement.file, judgement.url].into_iter().flatten() {
        write!(out, "{}: ", redact::escape_terminal(name))?;
    }
    write_verdict(out, &judgement.verdict)?;
    for near in judgement.near_rules.iter().flatten() {
        let missing = redact::escape_terminal(&near.missing);
        writeln!(out, "nearly: {} ({}, {:.2}), missing: {missing}", near.rule, near.kind, near.confidence)?;
    }
    judgement.structure.as_ref().map_or(Ok(()), |structure| write_structure(out, structure))
}

fn write_verdict(out: &mut impl Write, verdict: &Verdict) -> io::Result<()> {
    writeln!(out, "{verdict} (confidence {:.2})", verdict.confidence)?;
    for item in &verdict.evidence {
        let (part, text) = (redact::escape_terminal(&item.place), redact::escape_terminal(&item.text));
        writeln!(out, "  {} in {part}: {text}", item.rule)?;
    }
    Ok(())
}

/// Writes what the structural detector sees.
fn write_structure(out: &mut impl Write, structure: &StructureExplanation) -> io::Result<()> {
    if structure.features.is_empty() {
        return writeln!(out, "structure: not judged: it has content, or is neither a page nor small JSON");
    }
    writeln!(out, "structure: {}", structure.features.join(", "))?;
    for score in structure.scores.iter().filter(|score| score.score > 0.0) {
        let reasons: Vec<String> =
            score.reasons.iter().map(|(features, weight)| format!("{features} {weight:+.2}")).collect();
        writeln!(out, "  {:<12} {:.2}  {}", score.kind, score.score, reasons.join(", "))?;
    }
    Ok(())
}

/// Prints every rule, one per line.
pub(super) fn list_rules(rules: &Rules, format: OutputFormat) -> Result<u8, Failure> {
    let mut out = terminal::stdout();
    for rule in rules.list() {
        writeln!(out, "{}", format_rule(rule, format)?).map_err(Failure::stdout)?;
    }
    Ok(exit::OK)
}

fn format_rule(rule: &RuleInfo, format: OutputFormat) -> Result<String, Failure> {
    if format == OutputFormat::Json {
        return to_json(rule);
    }
    let source = redact::escape_terminal(&rule.source);
    Ok(format!("{:<34} {:<12} {:.2}  {source} ({})", rule.id, rule.kind, rule.confidence, rule.seen))
}

fn to_json(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(value).map_err(|cause| Failure::stdout(cause.into()))?;
    Ok(redact::escape_json(&text).into_owned())
}
