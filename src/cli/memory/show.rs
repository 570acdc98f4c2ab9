//! `rungs memory show`.

use std::io::Write;

use rungs::memory::{MemoryFile, Section};

use super::open_existing;
use crate::cli::exit::{self, Failure};
use crate::cli::terminal;
use crate::cli::value_enums::OutputFormat;

#[derive(Debug, clap::Args)]
pub(super) struct MemoryShowArgs {
    /// Host of the site. Default: all sites
    host: Option<String>,

    /// Output format
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

pub(super) fn run(args: &MemoryShowArgs) -> Result<u8, Failure> {
    let sections = match open_existing()? {
        Some(memory) => memory.sections(args.host.as_deref())?,
        None => MemoryFile::empty_sections(),
    };
    let mut out = terminal::stdout();
    let result = match args.format {
        OutputFormat::Json => {
            let rows = sections.into_iter().map(|section| (section.key.to_owned(), section.rows.into()));
            terminal::write_json(&mut out, &serde_json::Value::Object(rows.collect()))
        }
        OutputFormat::Text => write_text(&mut out, &sections),
    };
    result.map_err(Failure::stdout)?;
    Ok(exit::OK)
}

fn write_text(out: &mut impl Write, sections: &[Section]) -> std::io::Result<()> {
    if sections.iter().all(|section| section.lines.is_empty()) {
        return writeln!(out, "host memory is empty");
    }
    for Section { heading, lines, .. } in sections.iter().filter(|section| !section.lines.is_empty()) {
        if !heading.is_empty() {
            writeln!(out, "{heading}")?;
        }
        for line in lines {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}
