//! `rungs profile …`: one file a subcommand, its arguments beside its code.

mod diff;
mod lint;
mod list;
mod show;

use clap::{Subcommand, ValueEnum};

use super::exit::Failure;

/// Browser profiles.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The profiles there are.
    List(list::Args),
    /// One profile's text, or the fingerprints it promises.
    Show(show::Args),
    /// What does not fit together in a profile.
    Lint(lint::Args),
    /// Where two profiles differ, key by key.
    Diff(diff::Args),
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines to read.
    Text,
    /// One JSON array.
    Json,
}

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    match &args.command {
        Command::List(args) => list::run(args),
        Command::Show(args) => show::run(args),
        Command::Lint(args) => lint::run(args),
        Command::Diff(args) => diff::run(args),
    }
}
