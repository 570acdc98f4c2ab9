//! `rungs target …`: one file a subcommand, its arguments beside its code.

mod check;
mod list;
mod show;

use clap::Subcommand;

use super::exit::Failure;

/// Targets: one site's settings.
#[derive(Debug, clap::Args)]
pub(crate) struct TargetArgs {
    #[command(subcommand)]
    command: TargetCommand,
}

#[derive(Debug, Subcommand)]
enum TargetCommand {
    /// The targets there are, and which URLs they are for.
    List(list::TargetListArgs),
    /// Every setting that holds for a URL, with the layer it came from.
    Show(show::TargetShowArgs),
    /// What is wrong with the file of a target.
    Check(check::TargetCheckArgs),
}

pub(crate) fn run(args: &TargetArgs) -> Result<u8, Failure> {
    match &args.command {
        TargetCommand::List(args) => list::run(args),
        TargetCommand::Show(args) => show::run(args),
        TargetCommand::Check(args) => check::run(args),
    }
}
