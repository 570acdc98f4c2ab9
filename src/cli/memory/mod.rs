//! `rungs memory …`: what was learned of sites.

mod show;

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use rungs::Error;
use rungs::memory::Notebook;
use rungs::redact::terminal;

use super::exit::{self, Failure};
use super::settings;
use super::whole;

/// Host memory: which tier works where, and which identities are cleared.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The file is $RUNGS_MEMORY, else rungs/memory.sqlite in $XDG_DATA_HOME or ~/.local/share."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What is known, without the cookies' values.
    Show(show::Args),
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

pub(crate) fn run(args: &Args, quiet: bool) -> Result<u8, Failure> {
    match &args.command {
        Command::Show(args) => show::run(args),
        Command::Clear { host } => {
            let gone = match existing()? {
                Some(mut notebook) => notebook.clear(host.as_deref())?,
                None => 0,
            };
            say(quiet, &format!("forgot {}", counted(gone)));
            Ok(exit::OK)
        }
        Command::Export { file } => export(file, quiet),
        Command::Import { file } => import(file, quiet),
    }
}

/// The memory, unless nothing was ever learned.
fn existing() -> Result<Option<Notebook>, Failure> {
    let path = place()?;
    if path.exists() { opened(&path).map(Some) } else { Ok(None) }
}

fn opened(path: &Path) -> Result<Notebook, Failure> {
    let notebook = Notebook::open(path)?;
    if let Some(moved) = notebook.moved() {
        eprintln!(
            "warning: {} was damaged: it is now {}, and a new one was begun",
            terminal(&path.display().to_string()),
            terminal(&moved.display().to_string())
        );
    }
    Ok(notebook)
}

fn place() -> Result<PathBuf, Failure> {
    settings::memory()
        .ok_or_else(|| Failure::Config("there is no home folder; name a file in RUNGS_MEMORY".to_owned()))
}

fn export(file: &Path, quiet: bool) -> Result<u8, Failure> {
    let Some(notebook) = existing()? else {
        return Err(Failure::Config(format!("nothing was learned yet: there is no {}", place()?.display())));
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
    let temporary = whole::begin_own(file).map_err(failed)?;
    let lines = notebook.export(&mut BufWriter::new(temporary.as_file()))?;
    temporary.persist(file).map_err(|cause| failed(cause.error))?;
    say(quiet, &format!("wrote {}, cookies among them: keep the file to yourself", counted(lines)));
    Ok(exit::OK)
}

fn import(file: &Path, quiet: bool) -> Result<u8, Failure> {
    let named = |error: Error| {
        let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
        Failure::Config(format!("{}: {}{hint}", file.display(), error.chain()))
    };
    let news = if file == Path::new("-") {
        opened(&place()?)?.import(&mut std::io::stdin().lock()).map_err(named)?
    } else {
        let opened_file = File::open(file)
            .map_err(|cause| Failure::Io(format!("could not read {}", file.display()), cause))?;
        opened(&place()?)?.import(&mut BufReader::new(opened_file)).map_err(named)?
    };
    say(quiet, &format!("took over {}", counted(news)));
    Ok(exit::OK)
}

fn say(quiet: bool, text: &str) {
    if !quiet {
        eprintln!("{text}");
    }
}

fn counted(lines: usize) -> String {
    if lines == 1 { "1 line".to_owned() } else { format!("{lines} lines") }
}
