//! Arguments for connections, timeouts, limits and proxies.

use std::path::PathBuf;

use crate::cli::password::PasswordSource;
use crate::cli::value_enums::{ProxyFallbackArg, RotationModeArg};

/// Proxy, certificates and name resolution.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct ConnectArgs {
    /// Proxy URL, e.g. http://user:password@host:port
    ///
    /// Schemes: http, https, socks4 and socks5 (rungs resolves names), socks4a and socks5h (the proxy resolves names). An empty value selects a
    /// direct connection. Several -x form a pool. Default: the proxy of the environment (https_proxy and the like).
    #[arg(short = 'x', long, value_name = "URL")]
    pub(crate) proxy: Vec<String>,

    /// Credentials of the proxy or provider account
    ///
    /// Applies to proxies whose URL has no credentials, and to the account of --dialect. For an account the password can
    /// also come from --password-env, --password-file, --password-command or RUNGS_PROXY_PASSWORD.
    #[arg(short = 'U', long, value_name = "USER[:PASSWORD]")]
    pub(crate) proxy_user: Option<String>,

    /// Send -U as Digest authentication (HTTP tiers)
    ///
    /// For http and https proxies of -x. The password does not travel.
    #[arg(long)]
    pub(crate) proxy_digest: bool,

    /// Hosts that bypass the proxy; * for all
    ///
    /// The list is separated by commas. A name includes its subdomains. Addresses and networks (CIDR) are also allowed.
    /// Default: no_proxy of the environment.
    #[arg(long, value_name = "LIST")]
    pub(crate) noproxy: Option<String>,

    /// CA certificates for https proxies (PEM)
    ///
    /// Replaces the system's certificates for connections to https proxies.
    #[arg(long, value_name = "FILE")]
    pub(crate) proxy_cacert: Option<PathBuf>,

    /// Accept any certificate from an https proxy
    #[arg(long)]
    pub(crate) proxy_insecure: bool,

    /// Allow public sites to lead to private addresses
    ///
    /// Applies to redirects, to followed links, to sitemaps and their pages, and to requests of pages in the browser.
    /// Default: such requests are refused.
    #[arg(long)]
    pub(crate) allow_private: bool,

    /// Accept any certificate from a site
    #[arg(short = 'k', long)]
    pub(crate) insecure: bool,

    /// CA certificates for sites (PEM)
    ///
    /// Replaces the system's certificates for connections to sites.
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,

    /// Address for a host name; * for every name
    ///
    /// Example: --resolve site.example:443:127.0.0.1. Repeatable.
    #[arg(long, value_name = "HOST:PORT:ADDR")]
    pub(crate) resolve: Vec<String>,
}

/// Connections, timeouts and limits of one fetch.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,

    /// Maximum time of the whole fetch. Default: unlimited
    ///
    /// The time is in seconds and includes all attempts and waits.
    #[arg(short = 'm', long, value_name = "SECONDS")]
    pub(crate) max_time: Option<String>,

    /// Maximum time of DNS, TCP and TLS each. Default: 5
    ///
    /// The time is in seconds.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) connect_timeout: Option<String>,

    /// File of the hosts that are requested over https only
    ///
    /// The format is that of curl's HSTS cache. http URLs of these hosts, also those of redirects, are requested over https.
    /// Hosts whose https responses have Strict-Transport-Security are added to the file at the end.
    #[arg(long, value_name = "FILE")]
    pub(crate) hsts: Option<PathBuf>,

    /// Do not follow refreshes of HTML pages
    ///
    /// On the HTTP tiers, a refresh of 0 to 5 s in a meta element or the Refresh header is followed like a redirect.
    #[arg(long)]
    pub(crate) no_meta_refresh: bool,

    /// Maximum retries on one tier. Default: 2
    ///
    /// Failures (network errors and failing origins) and rate limits are counted separately.
    #[arg(long, value_name = "N")]
    pub(crate) retry: Option<u32>,

    /// Maximum redirects of one attempt. Default: 20
    ///
    /// 0 makes any redirect an error.
    #[arg(long, value_name = "N")]
    pub(crate) max_redirs: Option<u32>,

    /// Maximum attempts of one fetch, all tiers. Default: 12
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_attempts: Option<u32>,

    /// Maximum browser attempts of one fetch. Default: 3
    #[arg(long, value_name = "N")]
    pub(crate) max_visits: Option<u32>,

    /// Maximum body bytes of one fetch. Default: unlimited
    ///
    /// Counts the bodies of all attempts, block pages included. The size is in bytes, or has a unit of 1024: 500000, 10k,
    /// 5M, 1G.
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_bytes: Option<String>,

    /// Maximum size of a body. Default: 32M, with -o 1G
    ///
    /// A larger body is an error, and no file is left. The size is in bytes after content decoding, or has a unit of 1024:
    /// 10k, 5M, 1G. Default: 32M in memory, 1G for a body that -o streams to a file.
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_size: Option<String>,
}

/// A pool of proxies, or an account at a proxy provider.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Proxies")]
pub(crate) struct ProxyPoolArgs {
    /// List of proxies, one URL per line
    ///
    /// An http or https URL is fetched once, over a direct connection.
    #[arg(long, value_name = "FILE|URL", conflicts_with = "proxy")]
    pub(crate) proxies: Option<String>,

    /// Dialect of the proxy provider, a name or a file
    ///
    /// Uses the provider account given by -U. `rungs proxy dialects` prints the names.
    #[arg(long, value_name = "DIALECT", conflicts_with_all = ["proxy", "proxies"])]
    pub(crate) dialect: Option<String>,

    /// Gateway of the account. Default: the dialect's
    #[arg(long, value_name = "URL")]
    pub(crate) gateway: Option<String>,

    /// Use proxies in this country (ISO 3166-1 alpha-2)
    #[arg(long, value_name = "CC")]
    pub(crate) country: Option<String>,

    /// Use proxies in this state or region
    #[arg(long, value_name = "NAME")]
    pub(crate) state: Option<String>,

    /// Use proxies in this city
    #[arg(long, value_name = "NAME")]
    pub(crate) city: Option<String>,

    /// Use proxies with this postal code
    #[arg(long, value_name = "CODE")]
    pub(crate) zip: Option<String>,

    /// Use proxies in this autonomous system
    #[arg(long, value_name = "NUMBER")]
    pub(crate) asn: Option<String>,

    /// Use proxies of this internet provider
    #[arg(long, value_name = "NAME")]
    pub(crate) isp: Option<String>,

    /// Lifetime of a proxy session, e.g. 30m
    ///
    /// Default: the provider's lifetime.
    #[arg(long, value_name = "TIME")]
    pub(crate) session_ttl: Option<String>,

    #[command(flatten)]
    pub(crate) password: PasswordSource,

    /// Address rotation
    ///
    /// How long an identity keeps one proxy address. Default: sticky.
    #[arg(long, value_name = "MODE", value_enum)]
    pub(crate) proxy_mode: Option<RotationModeArg>,

    /// Maximum attempts per proxy. Default: unlimited
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) proxy_concurrency: Option<u32>,

    /// Fallback when no proxy works
    ///
    /// Default: none.
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(crate) proxy_fallback: Option<ProxyFallbackArg>,
}
