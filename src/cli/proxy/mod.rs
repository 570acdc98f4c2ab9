//! `rungs proxy …`: one file per subcommand, with its arguments.

mod account;
mod check;
mod dialects;
mod echo;
mod lint;
mod render;

use clap::Subcommand;

use super::exit::Failure;

/// The arguments of `rungs proxy`.
#[derive(Debug, clap::Args)]
pub(crate) struct ProxyArgs {
    #[command(subcommand)]
    command: ProxyCommand,
}

#[derive(Debug, Subcommand)]
enum ProxyCommand {
    /// List dialects, or print one
    Dialects(dialects::ProxyDialectsArgs),
    /// Print the proxy URL for an account and a location
    Render(render::ProxyRenderArgs),
    /// Check whether proxies work
    ///
    /// Requests an echo URL through each proxy, each time on a new connection. Prints the state of the proxy, its address
    /// and country, whether the address stays the same, the median time and the bytes.
    Check(check::ProxyCheckArgs),
    /// Check dialect files for errors
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
