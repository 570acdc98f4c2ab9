//! Several requests of one context become one template. Pure.

use super::recording::RecordedRequest;
use crate::fingerprint::profile::TemplateField;

/// Fields that a request fills or leaves out.
const FILLED_FIELDS: [&str; 6] = ["host", "content-length", "content-type", "origin", "referer", "cookie"];
/// The client hints sent unasked.
const LOW_ENTROPY_HINTS: [&str; 3] = ["sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform"];

/// Whether a header is a client hint that waits for Accept-CH.
pub(super) fn is_hint(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("sec-ch-") && !LOW_ENTROPY_HINTS.contains(&name.as_str())
}

/// The template all `samples` follow.
///
/// # Errors
/// Names the header whose place or value they do not agree on.
pub(super) fn merge_fields(samples: &[&RecordedRequest]) -> Result<Vec<TemplateField>, String> {
    let mut merged: Vec<TemplateField> = Vec::new();
    for sample in samples {
        let mut after = 0;
        let mut last = None;
        for (name, value) in &sample.headers {
            // Cookies come one field a pair.
            if last == Some(name) {
                continue;
            }
            last = Some(name);
            let value = field_template(name, value);
            match merged.iter().position(|field| field.name == *name) {
                Some(at) if at < after => return Err(format!("{name} has two places")),
                Some(at) if merged[at].value != value => return Err(format!("{name} has two values")),
                Some(at) => after = at + 1,
                None => {
                    merged.insert(after, TemplateField { name: name.clone(), value });
                    after += 1;
                }
            }
        }
    }
    // What one sample lacks must be a place.
    for field in &merged {
        let always = samples.iter().all(|sample| sample.headers.iter().any(|(name, _)| *name == field.name));
        if field.value.is_some() && !always {
            return Err(format!("{} comes and goes", field.name));
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
