//! Every way to the terminal. A test finds prints elsewhere: `tests/it/meta/terminal.rs`.

use std::io::{self, StderrLock, StdoutLock, Write};

use rungs::redact::{self, EscapedWriter};
use serde::Serialize;

/// Standard output for text. Harmful characters are escaped.
pub(crate) fn stdout() -> EscapedWriter<StdoutLock<'static>> {
    EscapedWriter::new(io::stdout().lock())
}

/// Standard error for messages. Harmful characters are escaped.
pub(crate) fn stderr() -> EscapedWriter<StderrLock<'static>> {
    EscapedWriter::new(io::stderr().lock())
}

/// Standard output for data that is written as it is: bodies, exported files, generated files.
pub(crate) fn raw_stdout() -> StdoutLock<'static> {
    io::stdout().lock()
}

/// Prints a line to standard error. A closed terminal is not an error.
pub(crate) fn print_message(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

/// Writes one line of JSON.
pub(crate) fn write_json(out: &mut impl Write, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
    writeln!(out, "{}", redact::escape_json(&serde_json::to_string(value)?))
}

/// Writes indented JSON.
pub(crate) fn write_indented_json(out: &mut impl Write, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
    writeln!(out, "{}", redact::escape_json(&serde_json::to_string_pretty(value)?))
}
