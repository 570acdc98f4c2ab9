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
pub(crate) struct ProfileArgs {
    #[command(subcommand)]
    command: ProfileCommand,
}

#[derive(Debug, Subcommand)]
enum ProfileCommand {
    /// The profiles there are.
    List(list::ProfileListArgs),
    /// One profile's text, or the fingerprints it promises.
    Show(show::ProfileShowArgs),
    /// What does not fit together in a profile.
    Lint(lint::ProfileLintArgs),
    /// Where two profiles differ, key by key.
    Diff(diff::ProfileDiffArgs),
    /// Make a profile from an installed browser.
    Capture(capture::ProfileCaptureArgs),
    /// Hold a profile against an installed browser, layer by layer.
    Verify(verify::ProfileVerifyArgs),
}

pub(crate) fn run(args: &ProfileArgs, quiet: bool) -> Result<u8, Failure> {
    match &args.command {
        ProfileCommand::List(args) => list::run(args),
        ProfileCommand::Show(args) => show::run(args),
        ProfileCommand::Lint(args) => lint::run(args),
        ProfileCommand::Diff(args) => diff::run(args),
        ProfileCommand::Capture(args) => capture::run(args, quiet),
        ProfileCommand::Verify(args) => verify::run(args, quiet),
    }
}
