//! `rungs proxy …`: one file a subcommand, its arguments beside its code.

mod ask;
mod check;
mod dialects;
mod echo;
mod lint;
mod render;

use clap::Subcommand;

use super::exit::Failure;

/// Proxies, and their providers' dialects.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The dialects there are, or one's text.
    Dialects(dialects::Args),
    /// The proxy URL that a dialect makes of an account and what is wished of it.
    Render(render::Args),
    /// Whether proxies work: authentication, exit, stickiness, time and bytes.
    Check(check::Args),
    /// What is wrong with the file of a dialect.
    Lint(lint::Args),
}

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    match &args.command {
        Command::Dialects(args) => dialects::run(args),
        Command::Render(args) => render::run(args),
        Command::Check(args) => check::run(args),
        Command::Lint(args) => lint::run(args),
    }
}
