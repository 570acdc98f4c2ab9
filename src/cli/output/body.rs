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
    let status = page.status();
    write!(out, "HTTP/{} {}", page.version().name(), status.as_u16())?;
    match status.canonical_reason() {
        Some(reason) if page.version().name().starts_with('1') => write!(out, " {reason}\r\n")?,
        _ => write!(out, "\r\n")?,
    }
    for (name, value) in page.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        if terminal {
            write!(out, "{name}: {}\r\n", redact::escape_terminal(&value))?;
        } else {
            write!(out, "{name}: {value}\r\n")?;
        }
    }
    write!(out, "\r\n")
}
