//! `rungs memory …`: what was learned of sites.

mod show;

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use rungs::Error;
use rungs::memory::MemoryFile;
use rungs::redact::escape_terminal;

use super::atomic_file;
use super::config;
use super::exit::{self, Failure};

/// Host memory: which tier works where, and which identities are cleared.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The file is $RUNGS_MEMORY, else rungs/memory.sqlite in $XDG_DATA_HOME or ~/.local/share."
)]
pub(crate) struct MemoryArgs {
    #[command(subcommand)]
    command: MemoryCommand,
}

#[derive(Debug, Subcommand)]
enum MemoryCommand {
    /// What is known, without the cookies' values.
    Show(show::MemoryShowArgs),
    /// Forget a site, or everything.
    Clear {
        /// The site of this host, with all its hosts. Default: everything.
        host: Option<String>,
    },
    /// Write everything as lines of JSON, cookies with their values.
    Export {
        /// Where to; a file is readable by its owner only. - for stdout.
        file: PathBuf,
    },
    /// Read what was exported; of two lines about the same thing the newer stays.
    Import {
        /// Where from; - for stdin.
        file: PathBuf,
    },
}

pub(crate) fn run(args: &MemoryArgs, quiet: bool) -> Result<u8, Failure> {
    match &args.command {
        MemoryCommand::Show(args) => show::run(args),
        MemoryCommand::Clear { host } => {
            let gone = match open_existing()? {
                Some(mut notebook) => notebook.clear(host.as_deref())?,
                None => 0,
            };
            print_note(quiet, &format!("forgot {}", format_lines(gone)));
            Ok(exit::OK)
        }
        MemoryCommand::Export { file } => export(file, quiet),
        MemoryCommand::Import { file } => import(file, quiet),
    }
}

/// The memory, unless nothing was ever learned.
fn open_existing() -> Result<Option<MemoryFile>, Failure> {
    let path = memory_path()?;
    if path.exists() { open_file(&path).map(Some) } else { Ok(None) }
}

fn open_file(path: &Path) -> Result<MemoryFile, Failure> {
    let notebook = MemoryFile::open(path)?;
    if let Some(moved) = notebook.moved_to() {
        eprintln!(
            "warning: {} was damaged: it is now {}, and a new one was begun",
            escape_terminal(&path.display().to_string()),
            escape_terminal(&moved.display().to_string())
        );
    }
    Ok(notebook)
}

fn memory_path() -> Result<PathBuf, Failure> {
    config::memory_path()
        .ok_or_else(|| Failure::Config("there is no home folder; name a file in RUNGS_MEMORY".to_owned()))
}

fn export(file: &Path, quiet: bool) -> Result<u8, Failure> {
    let Some(notebook) = open_existing()? else {
        return Err(Failure::Config(format!(
            "nothing was learned yet: there is no {}",
            memory_path()?.display()
        )));
    };
    if file == Path::new("-") {
        // Held whole, so that a reader that goes away is told from a broken memory.
        let mut text = Vec::new();
        notebook.export(&mut text)?;
        std::io::stdout().lock().write_all(&text).map_err(Failure::stdout)?;
        return Ok(exit::OK);
    }
    let failed = |cause| Failure::Io(format!("could not write {}", file.display()), cause);
    // A temporary file is its owner's alone, and takes the name only when it is whole.
    let temporary = atomic_file::create_private(file).map_err(failed)?;
    let lines = notebook.export(&mut BufWriter::new(temporary.as_file()))?;
    temporary.persist(file).map_err(|cause| failed(cause.error))?;
    print_note(
        quiet,
        &format!("wrote {}, cookies among them: keep the file to yourself", format_lines(lines)),
    );
    Ok(exit::OK)
}

fn import(file: &Path, quiet: bool) -> Result<u8, Failure> {
    let named = |error: Error| {
        let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
        Failure::Config(format!("{}: {}{hint}", file.display(), error.chain()))
    };
    let news = if file == Path::new("-") {
        open_file(&memory_path()?)?.import(&mut std::io::stdin().lock()).map_err(named)?
    } else {
        let opened_file = File::open(file)
            .map_err(|cause| Failure::Io(format!("could not read {}", file.display()), cause))?;
        open_file(&memory_path()?)?.import(&mut BufReader::new(opened_file)).map_err(named)?
    };
    print_note(quiet, &format!("took over {}", format_lines(news)));
    Ok(exit::OK)
}

fn print_note(quiet: bool, text: &str) {
    if !quiet {
        eprintln!("{text}");
    }
}

fn format_lines(lines: usize) -> String {
    if lines == 1 { "1 line".to_owned() } else { format!("{lines} lines") }
}
