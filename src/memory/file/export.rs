//! The memory as JSON Lines: `rungs memory export` writes it and `rungs memory import` reads it.

use std::io::{BufRead, Read, Write};

use serde::{Deserialize, Serialize};

use super::table::{LineError, Tables, parse_line};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;

/// The first line of an export.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Header {
    Memory { version: u32 },
}

/// The kind of a line.
#[derive(Deserialize)]
struct LineKind {
    kind: String,
}

/// Writes the header and `lines`.
pub(super) fn write(out: &mut impl Write, lines: &[String]) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, &Header::Memory { version: VERSION })?;
    out.write_all(b"\n")?;
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()
}

/// Reads an export into `tables`.
///
/// # Errors
/// [`ErrorKind::Config`], naming the line, if the input is invalid.
pub(super) fn read(input: &mut impl BufRead, tables: &mut Tables, now: i64) -> Result<()> {
    let mut has_header = false;
    for number in 1.. {
        let named = |message: String| Error::new(ErrorKind::Config, format!("line {number}: {message}"));
        let Some(line) = read_line(input, number).map_err(|(message, cause)| {
            let error = named(message);
            if let Some(cause) = cause { error.with_source(cause) } else { error }
        })?
        else {
            break;
        };
        if line.trim_ascii().is_empty() {
            continue;
        }
        if has_header {
            read_row(&line, tables, now).map_err(|error| named(describe(&error)))?;
        } else {
            read_header(&line).map_err(|error| match error {
                HeaderError::Line(error) => named(describe(&error)),
                HeaderError::Version(version) => named(format!(
                    "unsupported format version {version}, this build reads {MIN_VERSION} to {VERSION}"
                ))
                .with_hint("use the version of rungs that wrote it, or a newer one"),
            })?;
            has_header = true;
        }
    }
    if !has_header {
        return Err(Error::new(ErrorKind::Config, "the input is empty, not a host memory export"));
    }
    Ok(())
}

/// Reads one line with its end. Returns `None` at the end of the input.
fn read_line(
    input: &mut impl BufRead,
    number: u32,
) -> std::result::Result<Option<Vec<u8>>, (String, Option<std::io::Error>)> {
    let mut line = Vec::new();
    let length = input
        .by_ref()
        .take(MAX_LINE)
        .read_until(b'\n', &mut line)
        .map_err(|cause| ("could not read the input".to_owned(), Some(cause)))?;
    if line.last() != Some(&b'\n') && length as u64 == MAX_LINE {
        return Err((format!("longer than {MAX_LINE} bytes"), None));
    }
    if length > 0 && number > MAX_LINES {
        return Err((format!("more than {MAX_LINES} lines"), None));
    }
    Ok((length > 0).then_some(line))
}

enum HeaderError {
    Line(LineError),
    Version(u32),
}

fn read_header(line: &[u8]) -> std::result::Result<(), HeaderError> {
    let LineKind { kind } = parse_line(line).map_err(HeaderError::Line)?;
    if kind != HEADER_KIND {
        let message = "the first line must be {\"kind\":\"memory\",\"version\":3}";
        return Err(HeaderError::Line(LineError::Invalid(message)));
    }
    let Header::Memory { version } = parse_line(line).map_err(HeaderError::Line)?;
    if (MIN_VERSION..=VERSION).contains(&version) { Ok(()) } else { Err(HeaderError::Version(version)) }
}

fn read_row(line: &[u8], tables: &mut Tables, now: i64) -> std::result::Result<(), LineError> {
    let LineKind { kind } = parse_line(line)?;
    if kind == HEADER_KIND {
        return Err(LineError::Invalid("a second header line"));
    }
    let mut tables = tables.iter_mut();
    match tables.find(|table| table.spec().line_kind == Some(kind.as_str())) {
        Some(table) => table.read_line(line, now),
        None => Err(LineError::Unknown { column: 0 }),
    }
}

/// Describes the problem without the line's text, which may contain a cookie.
fn describe(error: &LineError) -> String {
    match error {
        LineError::Unknown { column: 0 } => "not a line that this version of rungs writes".to_owned(),
        LineError::Unknown { column } => {
            format!("not a line that this version of rungs writes (column {column})")
        }
        LineError::NotJson { column } => format!("not JSON (column {column})"),
        LineError::Invalid(problem) => (*problem).to_owned(),
    }
}

const HEADER_KIND: &str = "memory";
/// The format version that is written, and the oldest that is read. Version 1 had no page sizes and no locations, and 2
/// no false alarms.
const VERSION: u32 = 3;
const MIN_VERSION: u32 = 1;
const MAX_LINE: u64 = 1 << 20;
const MAX_LINES: u32 = 100_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::file::store::Store;
    use crate::memory::memory_tables;

    const NOW: i64 = 1_000_000_000;
    const FIRST: &str = r#"{"kind":"memory","version":3}"#;
    const EVIDENCE: &str = r#"{"kind":"evidence","site":"a.example","group":"/","rung":"plain","profile":"plain","tally":{"pages":2,"refusals":1,"good":2.0,"bad":1.0,"streak":0,"refused":5,"seen":9}}"#;
    const USUAL: &str = r#"{"kind":"usual","site":"a.example","group":"/","form":"html","sizes":{"pages":12,"mean":9.5,"spread":0.1,"urls":18446744073709551615,"doubts":0,"seen":9}}"#;
    const ALARM: &str =
        r#"{"kind":"alarm","site":"a.example","group":"/","verdict":"challenge","bytes":900,"seen":9}"#;
    const IDENTITY: &str = r#"{"kind":"identity","host":"www.a.example","who":{"session":"own","route":"direct","profile":"p","place":"de-DE"},"learned":9,"saved":{"note":{"proven":true,"moves":true,"clearance":{"cookies":["c"],"until":10},"learned":9},"cookies":[{"name":"c","value":"hunter2","domain":"a.example","host_only":false,"path":"/","expires":null,"secure":true,"http_only":true,"same_site":null}],"hints":[["https://www.a.example",["sec-ch-ua-arch"]]]}}"#;

    fn read_error(lines: &[&str]) -> String {
        let text = lines.join("\n");
        let read = read(&mut text.as_bytes(), &mut memory_tables(None), NOW);
        read.err().map(|error| error.chain()).unwrap_or_default()
    }

    /// Imports `text` into a new file and exports it.
    fn export_of(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let mut tables = memory_tables(None);
        read(&mut text.as_bytes(), &mut tables, NOW).unwrap();
        let (mut store, _) = Store::open(&folder.path().join("m.sqlite"), &tables).unwrap();
        store.import(&mut tables, 9).unwrap();
        let lines = tables.iter().flat_map(|table| table.export(store.connection()).unwrap());
        let mut out = Vec::new();
        write(&mut out, &lines.collect::<Vec<_>>()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_export_is_read_back_unchanged() {
        let text = [FIRST, EVIDENCE, USUAL, ALARM, IDENTITY, ""].join("\n");
        assert_eq!(export_of(&text), text);
    }

    #[test]
    fn an_older_export_is_read_and_its_identities_have_no_location() {
        let older = IDENTITY.replace(",\"place\":\"de-DE\"", "");
        let text = [&FIRST.replace('3', "1"), EVIDENCE, &older, ""].join("\n");
        let now = IDENTITY.replace("de-DE", "");
        assert_eq!(export_of(&text), [FIRST, EVIDENCE, &now, ""].join("\n"));
    }

    #[test]
    fn an_error_names_the_invalid_line_and_shows_no_cookies() {
        let other_site = IDENTITY.replace("www.a.example\",\"who", "www.b.example\",\"who");
        for (line, message) in [
            ("{\"kind\":\"evidence\"", "line 2: not JSON (column 18)"),
            (&EVIDENCE.replace("plain", "jet"), "line 2: not a line that this version of rungs writes"),
            (
                &EVIDENCE.replace("\"pages\"", "\"books\""),
                "line 2: not a line that this version of rungs writes",
            ),
            (&EVIDENCE.replace("\"/\"", "\"p\""), "line 2: `site`, `group` or `profile` is invalid"),
            (&EVIDENCE.replace("a.example", "a\\u001b"), "line 2: `site`, `group` or `profile` is invalid"),
            (&ALARM.replace("challenge", "genuine"), "line 2: the false alarm contains an impossible value"),
            (&ALARM.replace("\"/\"", "\"p\""), "line 2: `site` or `group` is invalid"),
            (&EVIDENCE.replace("2.0", "2e9"), "line 2: `tally` contains an impossible number"),
            (
                &EVIDENCE.replace("\"seen\":9", "\"seen\":2000000000"),
                "line 2: `tally` contains an impossible number",
            ),
            (&IDENTITY.replace("true,\"http_only\"", "\"hunter2\",\"http_only\""), "line 2: not a line that"),
            (&other_site, "line 2: `saved` contains an invalid value"),
            (&IDENTITY.replace("de-DE", "\\u001b"), "line 2: `host` or `who` is invalid"),
            (&USUAL.replace("9.5", "95.0"), "line 2: `sizes` contains an impossible number"),
            (&USUAL.replace("\"/\"", "\"p\""), "line 2: `site` or `group` is invalid"),
            (FIRST, "line 2: a second header line"),
            (&"x".repeat(1 << 20), "line 2: longer than 1048576 bytes"),
        ] {
            let error = read_error(&[FIRST, line]);
            assert!(error.starts_with(message) && !error.contains("hunter2"), "{error:?} for {message:?}");
        }
        assert!(read_error(&[EVIDENCE]).starts_with("line 1: the first line must be"));
        assert!(read_error(&[&FIRST.replace('3', "4")]).starts_with("line 1: unsupported format version 4"));
        assert_eq!(read_error(&[]), "the input is empty, not a host memory export");
    }
}
