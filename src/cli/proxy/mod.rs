//! `rungs proxy …`: one file a subcommand, its arguments beside its code.

mod account;
mod check;
mod dialects;
mod echo;
mod lint;
mod render;

use clap::Subcommand;

use super::exit::Failure;

/// Proxies, and their providers' dialects.
#[derive(Debug, clap::Args)]
pub(crate) struct ProxyArgs {
    #[command(subcommand)]
    command: ProxyCommand,
}

#[derive(Debug, Subcommand)]
enum ProxyCommand {
    /// The dialects there are, or one's text.
    Dialects(dialects::ProxyDialectsArgs),
    /// The proxy URL that a dialect makes of an account and what is wished of it.
    Render(render::ProxyRenderArgs),
    /// Whether proxies work: authentication, exit, stickiness, time and bytes.
    Check(check::ProxyCheckArgs),
    /// What is wrong with the file of a dialect.
    Lint(lint::ProxyLintArgs),
}

pub(crate) fn run(args: &ProxyArgs) -> Result<u8, Failure> {
    match &args.command {
        ProxyCommand::Dialects(args) => dialects::run(args),
        ProxyCommand::Render(args) => render::run(args),
        ProxyCommand::Check(args) => check::run(args),
        ProxyCommand::Lint(args) => lint::run(args),
    }
}
