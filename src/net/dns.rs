//! Resolves names: `--resolve` overrides, literals, localhost, the hosts file, then DNS, cached.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use hickory_resolver::config::{LookupIpStrategy, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::{Resolver, TokioResolver};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;

/// Overrides of name resolution: (host, port) to address, as in curl's `--resolve`.
pub(crate) type Overrides = HashMap<(String, u16), IpAddr>;

#[derive(Default)]
pub(crate) struct HostResolver {
    overrides: Overrides,
    resolver: OnceCell<TokioResolver>,
}

impl HostResolver {
    pub(crate) fn new(overrides: Overrides) -> Self {
        Self { overrides, resolver: OnceCell::new() }
    }

    /// Returns the addresses of `host`, in the order to try them.
    pub(crate) async fn lookup(&self, host: &str, port: u16, within: Duration) -> Result<Vec<IpAddr>> {
        if let Some(address) = self.override_for(host, port) {
            return Ok(vec![address]);
        }
        let bare = host.trim_matches(['[', ']']);
        let name = bare.trim_end_matches('.').to_ascii_lowercase();
        if let Ok(address) = bare.parse() {
            return Ok(vec![address]);
        }
        if name == "localhost" || name.ends_with(".localhost") {
            // RFC 6761: never sent to a name server.
            return Ok(vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]);
        }
        let resolver = self.resolver.get_or_try_init(|| async { build_resolver() }).await?;
        let found = timeout(within, resolver.lookup_ip(bare)).await.map_err(|_| {
            Error::new(ErrorKind::Timeout, format!("timed out after {within:?} resolving `{bare}`"))
        })?;
        let found = found.map_err(|cause| lookup_error(bare, cause))?;
        let addresses: Vec<IpAddr> = found.iter().collect();
        if addresses.is_empty() {
            return Err(Error::new(ErrorKind::Dns, format!("could not resolve `{bare}`: no addresses")));
        }
        Ok(interleave(addresses))
    }

    /// Returns the `--resolve` address of `host`, if there is one.
    pub(crate) fn override_for(&self, host: &str, port: u16) -> Option<IpAddr> {
        let name = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        let find = |name: &str| self.overrides.get(&(name.to_owned(), port)).copied();
        find(&name).or_else(|| find("*"))
    }
}

/// Alternates address families, IPv6 first (RFC 8305, section 4).
fn interleave(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (mut six, mut four): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    six.reverse();
    four.reverse();
    let mut out = Vec::with_capacity(six.len() + four.len());
    while !six.is_empty() || !four.is_empty() {
        out.extend(six.pop());
        out.extend(four.pop());
    }
    out
}

fn build_resolver() -> Result<TokioResolver> {
    let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|cause| {
        // Without resolv.conf, names come from the hosts file only.
        tracing::warn!(%cause, "no system DNS configuration, using only the hosts file");
        let mut builder =
            Resolver::builder_with_config(ResolverConfig::default(), TokioRuntimeProvider::default());
        *builder.options_mut() = ResolverOpts::default();
        builder
    });
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.cache_size = 4096;
    builder.build().map_err(|cause| {
        Error::new(ErrorKind::Dns, "the system's DNS configuration cannot be used").with_source(cause)
    })
}

fn lookup_error(host: &str, cause: NetError) -> Error {
    let message = match &cause {
        NetError::Dns(DnsError::NoRecordsFound(_)) => {
            // No source: it shows only the query.
            return Error::new(ErrorKind::Dns, format!("could not resolve `{host}`: no such name"));
        }
        NetError::Timeout => format!("could not resolve `{host}`: the name server did not answer"),
        NetError::NoConnections => format!("could not resolve `{host}`: no name server can be reached"),
        _ => format!("could not resolve `{host}`"),
    };
    Error::new(ErrorKind::Dns, message).with_source(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_families_alternate_starting_with_ipv6() {
        let list = |text: &[&str]| text.iter().map(|t| t.parse::<IpAddr>().unwrap()).collect::<Vec<_>>();
        assert_eq!(
            interleave(list(&["10.0.0.1", "10.0.0.2", "::1", "10.0.0.3"])),
            list(&["::1", "10.0.0.1", "10.0.0.2", "10.0.0.3"])
        );
    }

    #[tokio::test]
    async fn overrides_literals_and_localhost_need_no_name_server() {
        let overrides = Overrides::from([(("site.example".to_owned(), 443), "127.0.0.9".parse().unwrap())]);
        let names = HostResolver::new(overrides);
        for (host, port, expected) in [
            ("Site.Example", 443, "127.0.0.9"),
            ("site.example.", 443, "127.0.0.9"),
            ("127.0.0.3", 80, "127.0.0.3"),
            ("[::1]", 80, "::1"),
            ("localhost", 80, "::1"),
        ] {
            let found = names.lookup(host, port, Duration::from_secs(1)).await.unwrap();
            assert_eq!(found[0], expected.parse::<IpAddr>().unwrap(), "{host}");
        }
    }
}
