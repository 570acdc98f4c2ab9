//! `rungs target …`: one file a subcommand, its arguments beside its code.

mod check;
mod list;
mod show;

use clap::Subcommand;

use super::exit::Failure;

/// Targets: one site's settings.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The targets there are, and which URLs they are for.
    List(list::Args),
    /// Every setting that holds for a URL, with the layer it came from.
    Show(show::Args),
    /// What is wrong with the file of a target.
    Check(check::Args),
}

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    match &args.command {
        Command::List(args) => list::run(args),
        Command::Show(args) => show::run(args),
        Command::Check(args) => check::run(args),
    }
}
