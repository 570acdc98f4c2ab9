//! Human-readable output of attempts, their cost and their diagnosis.

use std::io::{self, Write};
use std::time::Duration;

use rungs::{Attempt, Error, Response, redact};

/// Returns a URL as typed, safe for a terminal and without credentials. A very long one is truncated.
pub(crate) fn display_url(url: &str) -> String {
    let text = redact::url_text(url);
    let cut = text.char_indices().nth(MAX_URL_CHARS).map(|(at, _)| at);
    let mut shown = redact::escape_terminal(&text[..cut.unwrap_or(text.len())]);
    if cut.is_some() {
        shown.push('…');
    }
    shown
}

/// Writes a failure: the error, the attempts, the probable cause and the hint.
pub(crate) fn write_failure(
    out: &mut impl Write,
    url: &str,
    error: &Error,
    evidence: bool,
) -> io::Result<()> {
    let shown = display_url(error.url().unwrap_or(url));
    let attempts = error.trace().map(rungs::Trace::attempts).unwrap_or_default();
    let message = redact::escape_terminal(&error.chain());
    if attempts.is_empty() {
        writeln!(out, "error: {message}")?;
    } else {
        writeln!(out, "error: could not fetch {shown}: {message}")?;
    }
    if attempts.len() > 1 || attempts.iter().any(|attempt| attempt.status.is_some()) || evidence {
        write_attempts(out, attempts, evidence)?;
    }
    let diagnosis = error.diagnosis();
    if let Some(diagnosis) = &diagnosis {
        writeln!(out, "why: {}", redact::escape_terminal(&diagnosis.to_string()))?;
    }
    let suggestion = || diagnosis.as_ref()?.suggestions.first().map(String::as_str);
    if let Some(hint) = error.hint().or_else(suggestion) {
        writeln!(out, "hint: {}", redact::escape_terminal(hint))?;
    }
    Ok(())
}

/// Writes a success, for `--trace`.
pub(crate) fn write_success(out: &mut impl Write, url: &str, page: &Response) -> io::Result<()> {
    writeln!(
        out,
        "{}: {} by {} in {} ms",
        display_url(url),
        page.status().as_u16(),
        page.tier(),
        page.elapsed().as_millis()
    )?;
    write_attempts(out, page.trace().attempts(), true)?;
    writeln!(out, "  robots.txt {}", page.trace().robots().trace_label())
}

fn write_attempts(out: &mut impl Write, attempts: &[Attempt], evidence: bool) -> io::Result<()> {
    let verdicts: Vec<String> = attempts.iter().map(format_verdict).collect();
    let width = verdicts.iter().map(|text| text.chars().count()).max().unwrap_or(0);
    for (attempt, verdict) in attempts.iter().zip(verdicts) {
        let status = attempt.status.map_or_else(|| "---".to_owned(), |status| status.to_string());
        let elapsed = attempt.elapsed.as_millis();
        writeln!(out, "  {:<11}  {status}  {verdict:<width$}  {elapsed:>5} ms", attempt.tier)?;
        if !evidence {
            continue;
        }
        if attempt.waited >= Duration::from_millis(1) {
            writeln!(
                out,
                "               after waiting {} ms for a rate-limit slot",
                attempt.waited.as_millis()
            )?;
        }
        if let Some(route) = format_route(attempt) {
            writeln!(out, "               {route}")?;
        }
        for found in attempt.verdict.iter().flat_map(|verdict| &verdict.evidence) {
            let text = redact::escape_terminal(&found.text);
            writeln!(
                out,
                "               {} in {}: {text}",
                found.rule,
                redact::escape_terminal(&found.place)
            )?;
        }
        if let Some(next) = &attempt.next {
            writeln!(out, "               -> {}", redact::escape_terminal(next))?;
        }
    }
    Ok(())
}

/// Returns the route of an attempt, or `None` for an ordinary direct connection.
fn format_route(attempt: &Attempt) -> Option<String> {
    let session = attempt.session.as_ref().map(|session| format!(", session {session}")).unwrap_or_default();
    match &attempt.proxy {
        Some(proxy) => Some(format!("by {}{session}", redact::escape_terminal(proxy))),
        None => attempt.fallback.then(|| "without a proxy, because no proxy works".to_owned()),
    }
}

fn format_verdict(attempt: &Attempt) -> String {
    match (&attempt.verdict, &attempt.error) {
        (Some(verdict), _) => redact::escape_terminal(&verdict.to_string()),
        (None, Some(error)) => format!("{} error", error.kind),
        (None, None) => "no response".to_owned(),
    }
}

/// The maximum number of characters of a URL that are shown.
const MAX_URL_CHARS: usize = 500;
