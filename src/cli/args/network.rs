//! How to get there: by which way, by which proxies, within what bounds.

use std::path::PathBuf;

use crate::cli::password::PasswordSource;
use crate::cli::value_enums::{ProxyFallbackArg, RotationModeArg};

/// How to get there.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct ConnectArgs {
    /// Go through this proxy, http://user:password@host:port; also https, socks5 (names are resolved
    /// here) and socks5h (by the proxy). Empty: through none. Default: what the environment says.
    /// Given several times: a pool of them.
    #[arg(short = 'x', long, value_name = "URL")]
    pub(crate) proxy: Vec<String>,

    /// User and password of a proxy whose URL has none, or of the account that --dialect is for; the
    /// password may come by --password-env, --password-file, --password-command or RUNGS_PROXY_PASSWORD.
    #[arg(short = 'U', long, value_name = "USER[:PASSWORD]")]
    pub(crate) proxy_user: Option<String>,

    /// Hosts to reach without the proxy: names with all below them, addresses, networks; `*` for all.
    #[arg(long, value_name = "LIST")]
    pub(crate) noproxy: Option<String>,

    /// Trust the CA certificates in this file (PEM) for https proxies instead of the system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) proxy_cacert: Option<PathBuf>,

    /// Take any certificate of an https proxy.
    #[arg(long)]
    pub(crate) proxy_insecure: bool,

    /// Let a public site lead to private addresses, by redirects and in the browser.
    #[arg(long)]
    pub(crate) allow_private: bool,

    /// Take any certificate.
    #[arg(short = 'k', long)]
    pub(crate) insecure: bool,

    /// Trust the CA certificates in this file (PEM) instead of the system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,

    /// Use this address for a name; `*` stands for every name.
    #[arg(long, value_name = "HOST:PORT:ADDR")]
    pub(crate) resolve: Vec<String>,
}

/// How to get there, and within what bounds.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,

    /// The most time for the whole fetch, in seconds.
    #[arg(short = 'm', long, value_name = "SECONDS")]
    pub(crate) max_time: Option<String>,

    /// The most time for name lookup, TCP and TLS each, in seconds. Default: 5.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) connect_timeout: Option<String>,

    /// How often a network error, a failing origin and a rate limit are each retried on their tier. Default: 2.
    #[arg(long, value_name = "N")]
    pub(crate) retry: Option<u32>,

    /// The most attempts for one fetch, on all tiers together. Default: 12.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_attempts: Option<u32>,

    /// The most attempts in the browser for one fetch. Default: 3.
    #[arg(long, value_name = "N")]
    pub(crate) max_visits: Option<u32>,

    /// The most bytes of bodies for one fetch, block pages included, as 500000, 10k, 5M, 1G.
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_bytes: Option<String>,

    /// The largest body taken, in bytes or as 10k, 5M, 1G. Default: 32M.
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_size: Option<String>,
}

/// A pool of proxies.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Proxies")]
pub(crate) struct ProxyPoolArgs {
    /// Go through the proxies listed there, one URL a line; an http or https URL is fetched once, directly.
    #[arg(long, value_name = "FILE|URL", conflicts_with = "proxy")]
    pub(crate) proxies: Option<String>,

    /// Go through an account at a provider that speaks this dialect: a name, or a file. With -U.
    #[arg(long, value_name = "DIALECT", conflicts_with_all = ["proxy", "proxies"])]
    pub(crate) dialect: Option<String>,

    /// The account's gateway. Default: the dialect's.
    #[arg(long, value_name = "URL")]
    pub(crate) gateway: Option<String>,

    /// Come out in this country: two letters.
    #[arg(long, value_name = "CC")]
    pub(crate) country: Option<String>,

    /// Come out in this state or region.
    #[arg(long, value_name = "NAME")]
    pub(crate) state: Option<String>,

    /// Come out in this city.
    #[arg(long, value_name = "NAME")]
    pub(crate) city: Option<String>,

    /// Come out at this postal code.
    #[arg(long, value_name = "CODE")]
    pub(crate) zip: Option<String>,

    /// Come out of the network of this number.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) asn: Option<String>,

    /// Come out of this internet provider's network.
    #[arg(long, value_name = "NAME")]
    pub(crate) isp: Option<String>,

    /// How long a session of the account lasts: 90s, 30m. Default: as the provider keeps it.
    #[arg(long, value_name = "TIME")]
    pub(crate) session_ttl: Option<String>,

    #[command(flatten)]
    pub(crate) password: PasswordSource,

    /// How long an identity keeps its exit. Default: sticky.
    #[arg(long, value_name = "MODE", value_enum)]
    pub(crate) proxy_mode: Option<RotationModeArg>,

    /// The most attempts by one proxy at once. Default: no such limit.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) proxy_concurrency: Option<u32>,

    /// What to do while no proxy works. Default: none.
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(crate) proxy_fallback: Option<ProxyFallbackArg>,
}
