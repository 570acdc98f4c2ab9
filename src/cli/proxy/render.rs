//! `rungs proxy render`.

use std::io::Write;

use rungs::redact::escape_terminal;
use rungs::{Dialect, Proxy, Secret};
use serde_json::json;

use super::account::{self, AccountArgs, GeoArgs};
use crate::cli::exit::{self, Failure};
use crate::cli::terminal;
use crate::cli::value_enums::OutputFormat;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The URL is percent-encoded, as curl -x expects.\n\nExit codes: 0 ok, 2 wrong usage, 3 the dialect cannot express a parameter."
)]
pub(super) struct ProxyRenderArgs {
    /// Dialect of the provider, a name or a file
    ///
    /// `rungs proxy dialects` prints the names.
    #[arg(long, value_name = "NAME|FILE")]
    dialect: String,

    /// Print the password instead of ***
    #[arg(long)]
    show_password: bool,

    /// Output format
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,

    #[command(flatten)]
    account: AccountArgs,

    #[command(flatten)]
    geo: GeoArgs,
}

pub(super) fn run(args: &ProxyRenderArgs) -> Result<u8, Failure> {
    if args.show_password && args.account.password.is_none() {
        let message = "--show-password requires --password-env, --password-file or --password-command";
        return Err(Failure::Usage(message.to_owned()));
    }
    let password = args.account.password.read()?;
    let (dialect, mut request) = account::credential_request(
        &args.dialect,
        &args.account,
        &args.geo,
        password.unwrap_or_else(masked_password),
    )?;
    // Rendered with the real password first, to report its errors.
    let mut proxy = dialect.render(&request)?;
    if !args.show_password {
        request.password = masked_password();
        proxy = dialect.render(&request)?;
    }
    let mut out = terminal::stdout();
    show(&mut out, &dialect, &proxy, args).map_err(Failure::stdout)?;
    Ok(exit::OK)
}

fn show(
    out: &mut impl Write,
    dialect: &Dialect,
    proxy: &Proxy,
    args: &ProxyRenderArgs,
) -> std::io::Result<()> {
    let url = proxy.url();
    if args.format == OutputFormat::Text {
        return writeln!(out, "{}", escape_terminal(url.expose()));
    }
    let (user, password) =
        proxy.credentials().map(|(user, password)| (user.to_owned(), password.expose().to_owned())).unzip();
    let parts = json!({
        "dialect": dialect.name(),
        "url": url.expose(),
        "scheme": proxy.scheme().name(),
        "host": proxy.host(),
        "port": proxy.port(),
        "user": user,
        "password": password,
        "rotation": dialect.rotation().name(),
    });
    terminal::write_json(out, &parts)
}

fn masked_password() -> Secret {
    Secret::new("***")
}
