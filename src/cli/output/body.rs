//! Output of the body, with the headers before it on request.

use std::io::Write;

use rungs::{Response, redact};

/// Writes a page. On a terminal, escapes control characters and returns `false` for a binary body without writing it.
pub(crate) fn write(
    out: &mut impl Write,
    page: &Response,
    include: bool,
    terminal: bool,
) -> std::io::Result<bool> {
    if include {
        write_head(out, page, terminal)?;
    }
    if !terminal {
        out.write_all(page.bytes())?;
        return Ok(true);
    }
    let Ok(text) = page.text() else { return Ok(false) };
    if text.contains('\0') {
        return Ok(false);
    }
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        // Tabs and carriage returns are harmless on a terminal.
        let parts: Vec<String> =
            line.trim_end_matches('\r').split('\t').map(redact::escape_terminal).collect();
        write!(out, "{}{end}", parts.join("\t"))?;
    }
    Ok(true)
}

fn write_head(out: &mut dyn Write, page: &Response, terminal: bool) -> std::io::Result<()> {
    write!(out, "HTTP/{} {}", page.version().name(), page.status().as_u16())?;
    if page.version().name().starts_with('1') {
        let usual = page.status().canonical_reason().unwrap_or_default().as_bytes();
        let reason = page.reason().unwrap_or(usual);
        if !reason.is_empty() {
            out.write_all(b" ")?;
            write_text(out, reason, terminal)?;
        }
    }
    out.write_all(b"\r\n")?;
    for (name, value) in page.header_fields() {
        write!(out, "{name}: ")?;
        write_text(out, value.as_bytes(), terminal)?;
        out.write_all(b"\r\n")?;
    }
    out.write_all(b"\r\n")
}

fn write_text(out: &mut dyn Write, text: &[u8], terminal: bool) -> std::io::Result<()> {
    let text = String::from_utf8_lossy(text);
    if terminal { write!(out, "{}", redact::escape_terminal(&text)) } else { write!(out, "{text}") }
}
