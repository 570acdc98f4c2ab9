//! One JSON object a fetch, with stable keys.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rungs::{Attempt, BrowserUse, Diagnosis, Error, ErrorKind, Page, Tier, Timings, redact};
use serde::Serialize;

/// A fetch as JSON shows it. Every key is always there, `null` where there is nothing to say, but
/// the body, which is either `body` (text) or `body_base64` (anything else), or in a `file`.
#[derive(Serialize)]
struct Record<'a> {
    url: &'a str,
    final_url: Option<String>,
    status: Option<u16>,
    tier: Option<Tier>,
    browser_profile: Option<&'a str>,
    http_version: Option<&'static str>,
    headers: Vec<(String, String)>,
    body_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    elapsed_ms: f64,
    timings: Option<Timings>,
    browser: Option<&'a BrowserUse>,
    /// `obeyed` or `ignored`.
    robots: Option<&'static str>,
    attempts: &'a [Attempt],
    error: Option<Failed>,
}

#[derive(Serialize)]
struct Failed {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    diagnosis: Option<Diagnosis>,
}

/// Writes one object, indented or on one line.
pub(crate) fn write(
    out: &mut impl Write,
    url: &str,
    outcome: &Result<Page, Error>,
    indented: bool,
) -> io::Result<()> {
    let shown = redact::url_text(url);
    let record = match outcome {
        Ok(page) => got(&shown, page),
        Err(error) => missed(&shown, error),
    };
    let text = if indented { serde_json::to_string_pretty(&record) } else { serde_json::to_string(&record) }?;
    writeln!(out, "{}", escaped(&text))
}

/// JSON leaves some control characters of Unicode as they are. A terminal would obey them.
fn escaped(json: &str) -> Cow<'_, str> {
    let harmful = |c: char| c != '\n' && redact::is_harmful(c);
    if !json.contains(harmful) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if harmful(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn got<'a>(url: &'a str, page: &'a Page) -> Record<'a> {
    let (body, body_base64) = match (page.file(), page.text()) {
        (Some(_), _) => (None, None),
        (None, Ok(text)) => (Some(text), None),
        (None, Err(_)) => (None, Some(BASE64_STANDARD.encode(page.bytes()))),
    };
    Record {
        url,
        final_url: Some(redact::url(page.url())),
        status: Some(page.status().as_u16()),
        tier: Some(page.tier()),
        browser_profile: page.browser_profile(),
        http_version: Some(page.version().name()),
        headers: page
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
        body_bytes: Some(page.body_len()),
        body,
        body_base64,
        file: page.file().map(|path| path.display().to_string()),
        elapsed_ms: millis(page.elapsed()),
        timings: Some(page.timings()),
        browser: page.browser(),
        robots: Some(page.trace().robots().done()),
        attempts: page.trace().attempts(),
        error: None,
    }
}

fn missed<'a>(url: &'a str, error: &'a Error) -> Record<'a> {
    let attempts = error.trace().map(rungs::Trace::attempts).unwrap_or_default();
    let last = attempts.last();
    Record {
        url,
        final_url: None,
        status: last.and_then(|attempt| attempt.status),
        tier: last.map(|attempt| attempt.tier),
        browser_profile: last.and_then(|attempt| attempt.browser_profile.as_deref()),
        http_version: None,
        headers: Vec::new(),
        body_bytes: None,
        body: None,
        body_base64: None,
        file: None,
        elapsed_ms: millis(attempts.iter().map(|attempt| attempt.elapsed).sum()),
        timings: None,
        browser: None,
        robots: error.trace().map(|trace| trace.robots().done()),
        attempts,
        error: Some(Failed {
            kind: error.kind(),
            message: error.chain(),
            hint: error.hint().map(ToOwned::to_owned),
            diagnosis: error.diagnosis(),
        }),
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
