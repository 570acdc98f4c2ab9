//! Arguments for a provider account and the requested proxy location.

use std::path::PathBuf;
use std::sync::Arc;

use rungs::target::HumanDuration;
use rungs::{CredentialRequest, Dialect, GeoTarget, Proxy, Secret};

use crate::cli::config;
use crate::cli::exit::Failure;
use crate::cli::password::PasswordSource;
use crate::cli::values;

/// An account at a proxy provider.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Account")]
pub(super) struct AccountArgs {
    /// User name of the account
    #[arg(long, value_name = "NAME", requires = "dialect")]
    user: Option<String>,

    #[command(flatten)]
    pub(super) password: PasswordSource,

    /// Gateway of the account. Default: the dialect's
    #[arg(long, value_name = "URL", requires = "dialect")]
    gateway: Option<String>,

    /// Folder with your own dialects
    ///
    /// Default: RUNGS_DIALECTS, else ~/.config/rungs/proxies.
    #[arg(long, value_name = "DIR", requires = "dialect")]
    dialects_dir: Option<PathBuf>,
}

/// The requested location and session of the proxy.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Location")]
pub(super) struct GeoArgs {
    /// Use a proxy in this country (ISO 3166-1 alpha-2)
    #[arg(long, value_name = "CC", requires = "dialect")]
    country: Option<String>,

    /// Use a proxy in this state or region
    #[arg(long, value_name = "NAME", requires = "dialect")]
    state: Option<String>,

    /// Use a proxy in this city
    #[arg(long, value_name = "NAME", requires = "dialect")]
    city: Option<String>,

    /// Use a proxy with this postal code
    #[arg(long, value_name = "CODE", requires = "dialect")]
    zip: Option<String>,

    /// Use a proxy in this autonomous system
    #[arg(long, value_name = "NUMBER", requires = "dialect")]
    asn: Option<String>,

    /// Use a proxy of this internet provider
    #[arg(long, value_name = "NAME", requires = "dialect")]
    isp: Option<String>,

    /// Proxy session id, which keeps one address
    #[arg(long, value_name = "ID", requires = "dialect")]
    session: Option<String>,

    /// Lifetime of the proxy session, e.g. 30m
    #[arg(long, value_name = "TIME", requires = "dialect")]
    ttl: Option<String>,
}

/// Loads a dialect by name or file, and builds its credential request with this password.
pub(super) fn credential_request(
    dialect: &str,
    account: &AccountArgs,
    location: &GeoArgs,
    password: Secret,
) -> Result<(Arc<Dialect>, CredentialRequest), Failure> {
    let folder = config::dialects_dir(account.dialects_dir.as_deref());
    let dialect = Dialect::find(dialect, folder.as_deref())?;
    let mut geo = GeoTarget::default();
    geo.country.clone_from(&location.country);
    geo.state.clone_from(&location.state);
    geo.city.clone_from(&location.city);
    geo.zip.clone_from(&location.zip);
    geo.asn.clone_from(&location.asn);
    geo.isp.clone_from(&location.isp);
    let mut request = CredentialRequest::new(account.user.as_deref().unwrap_or_default(), password).geo(geo);
    if let Some(text) = &account.gateway {
        let gateway: Proxy = text.parse().map_err(|error| values::flag_error("--gateway", &error))?;
        request = request.gateway(gateway);
    }
    if let Some(id) = &location.session {
        request = request.session(id);
    }
    if let Some(text) = &location.ttl {
        let ttl: HumanDuration = text.parse().map_err(|reason| Failure::Usage(format!("--ttl: {reason}")))?;
        request = request.ttl(ttl.0);
    }
    Ok((dialect, request))
}
