//! JSON output: one object per fetch, with stable keys.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use rungs::batch::Record;
use rungs::redact;

/// Writes one object, indented or on one line.
pub(crate) fn write(out: &mut impl Write, record: &Record, indented: bool) -> io::Result<()> {
    let text = if indented { serde_json::to_string_pretty(record)? } else { record.to_json() };
    writeln!(out, "{}", escape_controls(&text))
}

/// Escapes the control characters that JSON leaves unescaped and that a terminal would interpret.
fn escape_controls(json: &str) -> Cow<'_, str> {
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
