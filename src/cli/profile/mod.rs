//! `rungs profile …`: one file a subcommand, its arguments beside its code.

mod capture;
mod diff;
mod lint;
mod list;
mod show;
mod verify;

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
    /// One profile's text, or the fingerprints it promises.
    Show(show::Args),
    /// What does not fit together in a profile.
    Lint(lint::Args),
    /// Where two profiles differ, key by key.
    Diff(diff::Args),
    /// Make a profile from an installed browser.
    Capture(capture::Args),
    /// Hold a profile against an installed browser, layer by layer.
    Verify(verify::Args),
}

pub(crate) fn run(args: &Args, quiet: bool) -> Result<u8, Failure> {
    match &args.command {
        Command::List(args) => list::run(args),
        Command::Show(args) => show::run(args),
        Command::Lint(args) => lint::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Capture(args) => capture::run(args, quiet),
        Command::Verify(args) => verify::run(args, quiet),
    }
}
