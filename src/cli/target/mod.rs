//! `rungs target …`: one file per subcommand, with its arguments.

mod check;
mod list;
mod show;

use clap::Subcommand;

use super::exit::Failure;

/// The arguments of `rungs target`.
#[derive(Debug, clap::Args)]
pub(crate) struct TargetArgs {
    #[command(subcommand)]
    command: TargetCommand,
}

#[derive(Debug, Subcommand)]
enum TargetCommand {
    /// List targets and the URLs that they match
    List(list::TargetListArgs),
    /// Print the settings for a URL, with their origin
    Show(show::TargetShowArgs),
    /// Check target files for errors
    Check(check::TargetCheckArgs),
}

pub(crate) fn run(args: &TargetArgs) -> Result<u8, Failure> {
    match &args.command {
        TargetCommand::List(args) => list::run(args),
        TargetCommand::Show(args) => show::run(args),
        TargetCommand::Check(args) => check::run(args),
    }
}
