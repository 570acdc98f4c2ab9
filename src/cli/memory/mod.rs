//! `rungs memory …`: shows and edits host memory.

mod show;

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use rungs::Error;
use rungs::memory::MemoryFile;
use rungs::output_file::{FileMode, OutputFile};
use rungs::redact::{escape_json, escape_terminal};

use super::config;
use super::exit::{self, Failure};
use super::terminal;

/// The arguments of `rungs memory`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "RUNGS_MEMORY names the file. Default: rungs/memory.sqlite in XDG_DATA_HOME, else in ~/.local/share."
)]
pub(crate) struct MemoryArgs {
    #[command(subcommand)]
    command: MemoryCommand,
}

#[derive(Debug, Subcommand)]
enum MemoryCommand {
    /// Print host memory, without cookie values
    Show(show::MemoryShowArgs),
    /// Forget one site, or all sites
    Clear {
        /// Host of the site. Default: all sites
        ///
        /// Forgets all hosts of the same site.
        host: Option<String>,
    },
    /// Export as JSON lines, with cookie values
    Export {
        /// Output file, readable by its owner only; - for stdout
        file: PathBuf,
    },
    /// Import an exported file; newer entries win
    Import {
        /// Exported file; - for stdin
        file: PathBuf,
    },
}

pub(crate) fn run(args: &MemoryArgs, quiet: bool) -> Result<u8, Failure> {
    match &args.command {
        MemoryCommand::Show(args) => show::run(args),
        MemoryCommand::Clear { host } => {
            let removed = match open_existing()? {
                Some(mut memory) => memory.clear(host.as_deref())?,
                None => 0,
            };
            print_note(quiet, &format!("forgot {}", format_lines(removed)));
            Ok(exit::OK)
        }
        MemoryCommand::Export { file } => export(file, quiet),
        MemoryCommand::Import { file } => import(file, quiet),
    }
}

/// Opens the memory. Returns `None` when the file does not exist yet.
fn open_existing() -> Result<Option<MemoryFile>, Failure> {
    let path = memory_path()?;
    if path.exists() { open_file(&path).map(Some) } else { Ok(None) }
}

fn open_file(path: &Path) -> Result<MemoryFile, Failure> {
    let memory = MemoryFile::open(path)?;
    if let Some(moved) = memory.moved_to() {
        terminal::print_message(&format!(
            "warning: {} was corrupt: moved it to {} and created a new one",
            escape_terminal(&path.display().to_string()),
            escape_terminal(&moved.display().to_string())
        ));
    }
    Ok(memory)
}

fn memory_path() -> Result<PathBuf, Failure> {
    config::memory_path()
        .ok_or_else(|| Failure::Config("no home directory; set RUNGS_MEMORY to a file".to_owned()))
}

fn export(file: &Path, quiet: bool) -> Result<u8, Failure> {
    let Some(memory) = open_existing()? else {
        return Err(Failure::Config(format!(
            "host memory is empty: {} does not exist",
            memory_path()?.display()
        )));
    };
    if file == Path::new("-") {
        // Buffered, to tell a closed pipe from an error of the memory.
        let mut text = Vec::new();
        memory.export(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        terminal::raw_stdout().write_all(escape_json(&text).as_bytes()).map_err(Failure::stdout)?;
        return Ok(exit::OK);
    }
    let failed = |cause| Failure::Io(format!("could not write {}", file.display()), cause);
    // Only its owner can read the file, and it appears only when it is complete.
    let output = OutputFile::create(file, FileMode::Private).map_err(failed)?;
    let lines = memory.export(&mut BufWriter::new(output.try_clone_file().map_err(failed)?))?;
    output.commit().map_err(failed)?;
    print_note(quiet, &format!("wrote {}; the file contains cookies, keep it secret", format_lines(lines)));
    Ok(exit::OK)
}

fn import(file: &Path, quiet: bool) -> Result<u8, Failure> {
    let failed = |error: Error| {
        let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
        Failure::Config(format!("{}: {}{hint}", file.display(), error.chain()))
    };
    let changed = if file == Path::new("-") {
        open_file(&memory_path()?)?.import(&mut std::io::stdin().lock()).map_err(failed)?
    } else {
        let opened_file = File::open(file)
            .map_err(|cause| Failure::Io(format!("could not read {}", file.display()), cause))?;
        open_file(&memory_path()?)?.import(&mut BufReader::new(opened_file)).map_err(failed)?
    };
    print_note(quiet, &format!("imported {}", format_lines(changed)));
    Ok(exit::OK)
}

fn print_note(quiet: bool, text: &str) {
    if !quiet {
        terminal::print_message(text);
    }
}

fn format_lines(lines: usize) -> String {
    if lines == 1 { "1 line".to_owned() } else { format!("{lines} lines") }
}
