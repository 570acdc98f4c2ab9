//! Resolves names: `--resolve` overrides, literals, localhost, the hosts file, then DNS, cached.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::time::Duration;

use hickory_resolver::config::{ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData};
use hickory_resolver::{Resolver, TokioResolver};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::registrable_domain::is_localhost;

/// Overrides of name resolution: (host, port) to address, as in curl's `--resolve`.
pub(crate) type Overrides = HashMap<(String, u16), IpAddr>;

#[derive(Default)]
pub(crate) struct HostResolver {
    overrides: Overrides,
    system: OnceCell<SystemResolver>,
}

/// The hosts file, and the name servers of the system.
struct SystemResolver {
    hosts: HashMap<String, Vec<IpAddr>>,
    dns: TokioResolver,
}

impl HostResolver {
    pub(crate) fn new(overrides: Overrides) -> Self {
        Self { overrides, system: OnceCell::new() }
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
        if is_localhost(&name) {
            // RFC 6761: never sent to a name server.
            return Ok(vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]);
        }
        let system = self.system.get_or_try_init(SystemResolver::load).await?;
        if let Some(addresses) = system.hosts.get(&name) {
            return Ok(interleave(addresses.clone()));
        }
        let found = timeout(within, system.query(bare)).await.map_err(|_| {
            Error::new(ErrorKind::Timeout, format!("timed out after {within:?} resolving `{bare}`"))
        })?;
        let addresses = found.map_err(|cause| lookup_error(bare, cause))?;
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

impl SystemResolver {
    async fn load() -> Result<Self> {
        let hosts = tokio::fs::read(HOSTS_FILE).await.unwrap_or_default();
        Ok(Self { hosts: parse_hosts(&String::from_utf8_lossy(&hosts)), dns: build_resolver()? })
    }

    /// Asks for both address families at once. The addresses of the first answer do not wait for the other family
    /// (RFC 8305, section 3).
    async fn query(&self, host: &str) -> Result<Vec<IpAddr>, NetError> {
        let name = dns_name(host)?;
        let mut six = pin!(self.dns.ipv6_lookup(name.clone()));
        let mut four = pin!(self.dns.ipv4_lookup(name));
        let (six, four) = tokio::select! {
            six = &mut six => match six {
                // Addresses of the other family are tried last in any case.
                Ok(six) => (Ok(six), timeout(IPV4_DELAY, four).await.ok()),
                Err(cause) => (Err(cause), Some(four.await)),
            },
            four = &mut four => match four {
                Ok(four) => match timeout(IPV6_DELAY, six).await {
                    Ok(six) => (six, Some(Ok(four))),
                    Err(_) => return Ok(addresses(&four)),
                },
                Err(cause) => (six.await, Some(Err(cause))),
            },
        };
        match (six, four) {
            (Err(six), Some(Err(four))) => Err(if is_missing(&six) { four } else { six }),
            (six, four) => {
                Ok([six.ok(), four.and_then(Result::ok)].iter().flatten().flat_map(addresses).collect())
            }
        }
    }
}

fn addresses(lookup: &Lookup) -> Vec<IpAddr> {
    let address = |data: &RData| match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    };
    lookup.answers().iter().filter_map(|record| address(&record.data)).collect()
}

/// Converts a host of a URL. Its labels may contain any byte, such as `_`, and begin with `-` (RFC 2181, section 11).
fn dns_name(host: &str) -> Result<Name, NetError> {
    let labels = host.strip_suffix('.').unwrap_or(host).split('.').map(str::as_bytes);
    let mut name = Name::from_labels(labels)?;
    name.set_fqdn(host.ends_with('.'));
    Ok(name)
}

/// Reads a hosts file: an address and its names per line, `#` begins a comment. The names are in lower case.
fn parse_hosts(text: &str) -> HashMap<String, Vec<IpAddr>> {
    let mut hosts = HashMap::<String, Vec<IpAddr>>::new();
    for line in text.trim_start_matches('\u{feff}').lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse) else { continue };
        for name in words {
            let addresses = hosts.entry(name.trim_end_matches('.').to_ascii_lowercase()).or_default();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    hosts
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
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = 4096;
    builder.build().map_err(|cause| {
        Error::new(ErrorKind::Dns, "the system's DNS configuration cannot be used").with_source(cause)
    })
}

/// Whether the name server answered that there is no such address.
fn is_missing(cause: &NetError) -> bool {
    matches!(cause, NetError::Dns(DnsError::NoRecordsFound(_)))
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

const HOSTS_FILE: &str = "/etc/hosts";
/// How long IPv4 addresses wait for IPv6 ones, the "resolution delay" of RFC 8305, section 8.
const IPV6_DELAY: Duration = Duration::from_millis(50);
/// How long IPv6 addresses wait for IPv4 ones, which replace them where they cannot be reached.
const IPV4_DELAY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_characters_are_asked() {
        for (host, expected) in [
            ("my_shop.example", Some("my_shop.example")),
            ("-lead.example", Some("-lead.example")),
            ("_dmarc.a.example.", Some("_dmarc.a.example")),
            ("trailing-.example", Some("trailing-.example")),
            ("r3---sn-4g5e.example", Some("r3---sn-4g5e.example")),
            ("a..example", None),
            (".example", None),
            ("", None),
        ] {
            let labels = |name: Name| name.iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(".");
            let name = dns_name(host).ok().map(labels);
            assert_eq!(name.as_deref(), expected, "{host}");
        }
        assert!(dns_name(&"a".repeat(64)).is_err());
        assert!(dns_name(&["a"; 200].join(".")).is_err());
    }

    #[test]
    fn a_hosts_file_has_names_of_any_form_and_both_families() {
        let hosts = parse_hosts(
            "\u{feff}# x\n10.0.0.1\tMy_Shop.example alias. # y\n::1 my_shop.example\nbad a\n10.0.0.1 alias\n",
        );
        let list = |text: &[&str]| text.iter().map(|t| t.parse::<IpAddr>().unwrap()).collect::<Vec<_>>();
        assert_eq!(hosts["my_shop.example"], list(&["10.0.0.1", "::1"]));
        assert_eq!(hosts["alias"], list(&["10.0.0.1"]));
        assert_eq!(hosts.len(), 2);
    }

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
