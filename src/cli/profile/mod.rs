//! `rungs profile …`: one file per subcommand, with its arguments.

mod capture;
mod diff;
mod lint;
mod list;
mod show;
mod verify;

use clap::Subcommand;

use super::exit::Failure;

/// The arguments of `rungs profile`.
#[derive(Debug, clap::Args)]
pub(crate) struct ProfileArgs {
    #[command(subcommand)]
    command: ProfileCommand,
}

#[derive(Debug, Subcommand)]
enum ProfileCommand {
    /// List the shipped profiles
    List(list::ProfileListArgs),
    /// Print a profile or its expected fingerprints
    Show(show::ProfileShowArgs),
    /// Report inconsistencies in profiles
    Lint(lint::ProfileLintArgs),
    /// Compare two profiles key by key
    Diff(diff::ProfileDiffArgs),
    /// Capture a profile from an installed browser
    Capture(capture::ProfileCaptureArgs),
    /// Compare a profile with an installed browser
    ///
    /// Runs the browser and the impersonate tier through the same scenarios and compares TLS, HTTP/2 and headers. A
    /// difference counts when it occurs in every run.
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
