//! `rungs proxy render`.

use std::io::Write;

use rungs::redact::escape_terminal;
use rungs::{Dialect, Proxy, Secret};
use serde_json::json;

use super::account::{self, AccountArgs, GeoArgs};
use crate::cli::exit::{self, Failure};
use crate::cli::value_enums::OutputFormat;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The URL is percent-encoded, as curl's -x takes it. Exits with 3 when the dialect cannot say what is wished."
)]
pub(super) struct ProxyRenderArgs {
    /// The provider's dialect: a name of `rungs proxy dialects`, or a file.
    #[arg(long, value_name = "NAME|FILE")]
    dialect: String,

    #[command(flatten)]
    account: AccountArgs,

    #[command(flatten)]
    geo: GeoArgs,

    /// Show the account's password, which is *** otherwise.
    #[arg(long)]
    show_password: bool,

    /// What to print.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

pub(super) fn run(args: &ProxyRenderArgs) -> Result<u8, Failure> {
    if args.show_password && args.account.password.is_none() {
        let message = "--show-password: there is none; name its place by --password-env, --password-file or --password-command";
        return Err(Failure::Usage(message.to_owned()));
    }
    let password = args.account.password.read()?;
    let (dialect, mut ask) = account::credential_request(
        &args.dialect,
        &args.account,
        &args.geo,
        password.unwrap_or_else(masked_password),
    )?;
    // Read in any case, so that what is wrong with it is told.
    let mut proxy = dialect.render(&ask)?;
    if !args.show_password {
        ask.password = masked_password();
        proxy = dialect.render(&ask)?;
    }
    let mut out = std::io::stdout().lock();
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
    writeln!(out, "{parts}")
}

fn masked_password() -> Secret {
    Secret::new("***")
}
