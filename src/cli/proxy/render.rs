//! `rungs proxy render`.

use std::io::Write;

use rungs::redact::terminal;
use rungs::{Dialect, Proxy, Secret};
use serde_json::json;

use super::ask::{self, Account, Wishes};
use crate::cli::exit::{self, Failure};
use crate::cli::names::Told;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The URL is percent-encoded, as curl's -x takes it. Exits with 3 when the dialect cannot say what is wished."
)]
pub(super) struct Args {
    /// The provider's dialect: a name of `rungs proxy dialects`, or a file.
    #[arg(long, value_name = "NAME|FILE")]
    dialect: String,

    #[command(flatten)]
    account: Account,

    #[command(flatten)]
    wishes: Wishes,

    /// Show the account's password, which is *** otherwise.
    #[arg(long)]
    show_password: bool,

    /// What to print.
    #[arg(long, value_enum, default_value_t = Told::Text)]
    format: Told,
}

pub(super) fn run(args: &Args) -> Result<u8, Failure> {
    if args.show_password && args.account.password.is_none() {
        let message = "--show-password: there is none; name its place by --password-env, --password-file or --password-command";
        return Err(Failure::Usage(message.to_owned()));
    }
    let password = args.account.password.read()?;
    let (dialect, mut ask) =
        ask::read(&args.dialect, &args.account, &args.wishes, password.unwrap_or_else(masked))?;
    // Read in any case, so that what is wrong with it is told.
    let mut proxy = dialect.render(&ask)?;
    if !args.show_password {
        ask.password = masked();
        proxy = dialect.render(&ask)?;
    }
    let mut out = std::io::stdout().lock();
    show(&mut out, &dialect, &proxy, args).map_err(Failure::stdout)?;
    Ok(exit::OK)
}

fn show(out: &mut impl Write, dialect: &Dialect, proxy: &Proxy, args: &Args) -> std::io::Result<()> {
    let url = proxy.url();
    if args.format == Told::Text {
        return writeln!(out, "{}", terminal(url.expose()));
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

fn masked() -> Secret {
    Secret::new("***")
}
