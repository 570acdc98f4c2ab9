//! JSON output: one object per fetch, with stable keys.

use std::io::{self, Write};

use rungs::batch::Record;

use crate::cli::terminal;

/// Writes one object, indented or on one line.
pub(crate) fn write(out: &mut impl Write, record: &Record, indented: bool) -> io::Result<()> {
    if indented { terminal::write_indented_json(out, record) } else { writeln!(out, "{}", record.to_json()) }
}
