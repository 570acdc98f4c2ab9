//! An account and what is wished of it, as it is typed.

use std::path::PathBuf;
use std::sync::Arc;

use rungs::target::HumanDuration;
use rungs::{CredentialRequest, Dialect, GeoTarget, Proxy, Secret};

use crate::cli::config;
use crate::cli::exit::Failure;
use crate::cli::password::PasswordSource;

/// An account at a provider.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Account")]
pub(super) struct AccountArgs {
    /// The account's own user name.
    #[arg(long, value_name = "NAME", requires = "dialect")]
    user: Option<String>,

    #[command(flatten)]
    pub(super) password: PasswordSource,

    /// The gateway, in place of the dialect's.
    #[arg(long, value_name = "URL", requires = "dialect")]
    gateway: Option<String>,

    /// Find dialects in this folder too. Default: RUNGS_DIALECTS, or ~/.config/rungs/proxies.
    #[arg(long, value_name = "DIR", requires = "dialect")]
    dialects_dir: Option<PathBuf>,
}

/// What is wished of the exit.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Exit")]
pub(super) struct GeoArgs {
    /// The exit's country, two letters.
    #[arg(long, value_name = "CC", requires = "dialect")]
    country: Option<String>,

    /// Its state or region, by name.
    #[arg(long, value_name = "NAME", requires = "dialect")]
    state: Option<String>,

    /// Its city, by name.
    #[arg(long, value_name = "NAME", requires = "dialect")]
    city: Option<String>,

    /// Its postal code.
    #[arg(long, value_name = "CODE", requires = "dialect")]
    zip: Option<String>,

    /// The number of its network.
    #[arg(long, value_name = "NUMBER", requires = "dialect")]
    asn: Option<String>,

    /// Its internet provider, by name.
    #[arg(long, value_name = "NAME", requires = "dialect")]
    isp: Option<String>,

    /// Keep one exit, by this id.
    #[arg(long, value_name = "ID", requires = "dialect")]
    session: Option<String>,

    /// Keep it for so long, as in 30m.
    #[arg(long, value_name = "TIME", requires = "dialect")]
    ttl: Option<String>,
}

/// The dialect by name or file, and what it is asked for, with this password.
pub(super) fn credential_request(
    dialect: &str,
    account: &AccountArgs,
    wishes: &GeoArgs,
    password: Secret,
) -> Result<(Arc<Dialect>, CredentialRequest), Failure> {
    let folder = config::dialects_dir(account.dialects_dir.as_deref());
    let dialect = Dialect::find(dialect, folder.as_deref())?;
    let mut geo = GeoTarget::default();
    geo.country.clone_from(&wishes.country);
    geo.state.clone_from(&wishes.state);
    geo.city.clone_from(&wishes.city);
    geo.zip.clone_from(&wishes.zip);
    geo.asn.clone_from(&wishes.asn);
    geo.isp.clone_from(&wishes.isp);
    let mut ask = CredentialRequest::new(account.user.as_deref().unwrap_or_default(), password).geo(geo);
    if let Some(text) = &account.gateway {
        let gateway: Proxy = text.parse().map_err(|error| config::flag_error("--gateway", &error))?;
        ask = ask.gateway(gateway);
    }
    if let Some(id) = &wishes.session {
        ask = ask.session(id);
    }
    if let Some(text) = &wishes.ttl {
        let span: HumanDuration = text.parse().map_err(|why| Failure::Usage(format!("--ttl: {why}")))?;
        ask = ask.ttl(span.0);
    }
    Ok((dialect, ask))
}
