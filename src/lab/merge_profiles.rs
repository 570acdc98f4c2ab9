//! Merges several requests of one context into one header template. Pure.

use super::recording::RecordedRequest;
use crate::fingerprint::profile::TemplateField;

/// Fields that a request fills or omits.
const FILLED_FIELDS: [&str; 6] = ["host", "content-length", "content-type", "origin", "referer", "cookie"];
/// Client hints that are sent without Accept-CH.
const LOW_ENTROPY_HINTS: [&str; 3] = ["sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform"];

/// Whether a header is a client hint that needs Accept-CH.
pub(super) fn is_hint(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("sec-ch-") && !LOW_ENTROPY_HINTS.contains(&name.as_str())
}

/// Merges `samples` into one template.
///
/// # Errors
/// The header whose position or value differs between the samples.
pub(super) fn merge_fields(samples: &[&RecordedRequest]) -> Result<Vec<TemplateField>, String> {
    let mut merged: Vec<TemplateField> = Vec::new();
    for sample in samples {
        let mut after = 0;
        let mut last = None;
        for (name, value) in &sample.headers {
            // Each cookie pair has a field of its own.
            if last == Some(name) {
                continue;
            }
            last = Some(name);
            let value = field_template(name, value);
            match merged.iter().position(|field| field.name == *name) {
                Some(at) if at < after => return Err(format!("{name} has two positions")),
                Some(at) if merged[at].value != value => return Err(format!("{name} has two values")),
                Some(at) => after = at + 1,
                None => {
                    merged.insert(after, TemplateField { name: name.clone(), value });
                    after += 1;
                }
            }
        }
    }
    // A field that some samples lack must be one that the request fills.
    for field in &merged {
        let always = samples.iter().all(|sample| sample.headers.iter().any(|(name, _)| *name == field.name));
        if field.value.is_some() && !always {
            return Err(format!("{} has a fixed value, but only in some requests", field.name));
        }
    }
    Ok(merged)
}

fn field_template(name: &str, value: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    if FILLED_FIELDS.contains(&lower.as_str()) || is_hint(name) {
        return None;
    }
    Some(if lower == "sec-fetch-site" { "{site}".to_owned() } else { value.to_owned() })
}
