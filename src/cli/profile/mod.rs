//! `rungs profile …`: one file a subcommand, its arguments beside its code.

mod list;
mod show;

use clap::Subcommand;

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
    /// One profile, whole.
    Show(show::Args),
}

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    match &args.command {
        Command::List(args) => list::run(args),
        Command::Show(args) => show::run(args),
    }
}
