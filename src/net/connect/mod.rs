//! Opens connections to a host, directly or through a proxy. Used by all tiers.

mod address_filter;
pub(super) mod http_proxy;
mod socks;
mod socks4;
mod socks5;
mod socks_target;
mod tcp;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock};

use boring::ssl::{SslConnector, SslMethod, SslVerifyMode};
use http::header;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_boring::SslStreamBuilder;

use self::socks_target::SocksTarget;
use url::Url;

use super::certificates;
use super::dns::{HostResolver, Overrides};
use super::roots;
use super::tls::{self, BoxIo, TrustConfig};
use crate::exchange::address_rule::{AddressRule, AddressSpace};
use crate::exchange::digest_auth::DigestAuth;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::request::Request;
use crate::exchange::trace::Timings;
use crate::identity::traffic::ByteCounter;
use crate::net::io::metered::Metered;
use crate::net::io::read_ahead::ReadAhead;
use crate::os::sync::lock_unpoisoned;
use crate::proxy::{self, Proxy, ProxyRules, ProxyScheme};
use crate::settings::limits::Limits;
use address_filter::is_private;

pub use address_filter::is_private_literal;

/// Opens connections. Makes none before it is called.
#[derive(Default)]
pub(crate) struct Connector {
    resolver: HostResolver,
    /// The trust configuration of https proxies. Sites have their own.
    trust: TrustConfig,
    proxy_tls: OnceLock<SslConnector>,
    /// The proxies with Digest authentication, with their last challenges.
    proxy_digests: Mutex<HashMap<Proxy, Arc<DigestAuth>>>,
    allow_private: bool,
}

/// The target of one connection.
#[derive(Clone, Copy)]
pub(crate) struct ConnectTarget<'a> {
    /// The host as in the URL: an IPv6 address is in brackets.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) proxy: Option<&'a Proxy>,
    /// Whether private addresses are forbidden, because a public site led to this target. Ignored if the connector
    /// allows them.
    pub(crate) requires_public: bool,
    pub(crate) limits: &'a Limits,
    /// Counts the bytes to and from the proxy.
    pub(crate) byte_counter: &'a Arc<ByteCounter>,
    /// The `User-Agent` of CONNECT, if it is sent.
    pub(crate) user_agent: Option<&'a str>,
}

impl Connector {
    /// Creates a connector.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the CA file of `trust` cannot be used.
    pub(crate) fn new(overrides: Overrides, trust: TrustConfig) -> Result<Self> {
        let connector = Self { resolver: HostResolver::new(overrides), trust, ..Self::default() };
        if connector.trust.ca_file.is_some() {
            connector.proxy_tls_connector()?;
        }
        Ok(connector)
    }

    /// Sets whether public sites may lead to private addresses.
    pub(crate) const fn allow_private(mut self, allow: bool) -> Self {
        self.allow_private = allow;
        self
    }

    /// Records where the last response of `request` came from, for a tier that does not connect by itself: `url` after
    /// redirects. Another name than the request's own counts as public.
    #[cfg_attr(not(feature = "browser"), expect(dead_code, reason = "only the browser tier calls it"))]
    pub(crate) fn record_last_url(&self, route: &ProxyRules, request: &Request, url: &Url) {
        let is_private = if url.host() == request.url.host() {
            !request.address_rule.requires_public()
        } else {
            self.is_private_host(route, url)
        };
        request.address_rule.record_peer(if is_private {
            AddressSpace::Private
        } else {
            AddressSpace::Public
        });
    }

    /// Whether `rule` forbids private addresses, and the user did not allow them.
    pub(crate) fn enforces(&self, rule: &AddressRule) -> bool {
        !self.allow_private && rule.requires_public()
    }

    /// Whether the host of `url` is private without a lookup, and the user did not assign another address to it.
    pub(crate) fn is_private_host(&self, route: &ProxyRules, url: &Url) -> bool {
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(0));
        !self.has_override(route.proxy(url), host, port) && is_private_literal(host)
    }

    /// Fails if the host of `target` is private without a lookup, and private addresses are forbidden.
    pub(crate) fn check_host(&self, target: &ConnectTarget<'_>) -> Result<()> {
        let is_override = self.has_override(target.proxy, target.host, target.port);
        if self.requires_public_address(target) && !is_override && is_private_literal(target.host) {
            return Err(private_address_error(target.host));
        }
        Ok(())
    }

    const fn requires_public_address(&self, target: &ConnectTarget<'_>) -> bool {
        target.requires_public && !self.allow_private
    }

    /// Whether the name is resolved here, to an address that the user assigned.
    fn has_override(&self, proxy: Option<&Proxy>, host: &str, port: u16) -> bool {
        let resolves_here = proxy.is_none_or(|proxy| proxy.scheme().resolves_locally());
        resolves_here && self.resolver.override_for(host, port).is_some()
    }

    /// Whether a visit for `request` must reach public addresses only, as far as is known before it. Looks the host up
    /// if nothing is known. The address that is connected to decides.
    #[cfg_attr(not(feature = "browser"), expect(dead_code, reason = "only the browser tier calls it"))]
    pub(crate) async fn expects_public(
        &self,
        route: &ProxyRules,
        request: &Request,
        limits: &Limits,
    ) -> bool {
        if self.allow_private || request.address_rule.is_decided() {
            return self.enforces(&request.address_rule);
        }
        let url = &request.url;
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(0));
        let proxy = route.proxy(url);
        if self.has_override(proxy, host, port) {
            return true;
        }
        if is_private_literal(host) {
            return false;
        }
        if proxy.is_some_and(|proxy| !proxy.scheme().resolves_locally()) {
            return true;
        }
        let addresses = self.resolver.lookup(host, port, limits.dns).await;
        addresses.is_ok_and(|addresses| !addresses.into_iter().any(is_private))
    }

    /// Opens a byte stream to the origin, directly or through a tunnel. Returns also the kind of address that it leads
    /// to. The address of a name that a proxy resolves is not known; it counts as public.
    pub(crate) async fn dial(
        &self,
        target: &ConnectTarget<'_>,
        timings: &mut Timings,
    ) -> Result<(BoxIo, AddressSpace)> {
        self.check_host(target)?;
        let Some(proxy) = target.proxy else {
            let addresses = self.resolve_addresses(target, timings).await?;
            let stream = connect_tcp(target.host, target.port, &addresses, target.limits, timings).await?;
            let peer = stream.peer_addr().ok().map(|peer| peer.ip());
            return Ok((Box::pin(ReadAhead::new(stream)), self.space_of(target, peer)));
        };
        if proxy.scheme().is_socks() {
            return self.connect_via_socks(target, proxy, timings).await;
        }
        let mut stream = self.connect_to_proxy(target, proxy, timings).await?;
        let started = Instant::now();
        let authority = format!("{}:{}", target.host, target.port);
        let digest = self.proxy_digest(proxy);
        let mut challenges = 0;
        loop {
            let (user_agent, limit) = (target.user_agent, target.limits.connect);
            let answer =
                http_proxy::connect(&mut stream, proxy, &authority, user_agent, digest.as_deref(), limit)
                    .await?;
            let http_proxy::Answer::Challenged(headers) = answer else { break };
            let is_first = challenges == 0;
            let accepts =
                |digest: &DigestAuth| digest.accept(&headers, &header::PROXY_AUTHENTICATE, is_first);
            if challenges >= MAX_CHALLENGES || !digest.as_deref().is_some_and(accepts) {
                return Err(http_proxy::refusal_error(proxy, 407));
            }
            challenges += 1;
            stream = self.connect_to_proxy(target, proxy, timings).await?;
        }
        timings.connect += started.elapsed();
        Ok((stream, self.space_of(target, None)))
    }

    /// Returns the kind of the address `peer` of `target`. `None`: a proxy connects, to an address that is not known
    /// unless the host is one.
    pub(crate) fn space_of(&self, target: &ConnectTarget<'_>, peer: Option<IpAddr>) -> AddressSpace {
        if self.has_override(target.proxy, target.host, target.port) {
            return AddressSpace::Assigned;
        }
        if peer.map_or_else(|| is_private_literal(target.host), is_private) {
            AddressSpace::Private
        } else {
            AddressSpace::Public
        }
    }

    /// Opens a byte stream to the proxy itself, inside TLS if its scheme requires it.
    pub(crate) async fn connect_to_proxy(
        &self,
        target: &ConnectTarget<'_>,
        proxy: &Proxy,
        timings: &mut Timings,
    ) -> Result<BoxIo> {
        let unreachable = |cause| {
            Error::new(ErrorKind::Proxy, format!("the proxy {proxy} cannot be reached")).with_source(cause)
        };
        let limits = target.limits;
        let started = Instant::now();
        let addresses =
            self.resolver.lookup(proxy.host(), proxy.port(), limits.dns).await.map_err(unreachable)?;
        timings.dns += started.elapsed();
        let stream = connect_tcp(proxy.host(), proxy.port(), &addresses, limits, timings)
            .await
            .map_err(unreachable)?;
        let stream: BoxIo = Box::pin(ReadAhead::new(Metered::new(stream, Arc::clone(target.byte_counter))));
        if proxy.scheme() != ProxyScheme::Https {
            return Ok(stream);
        }
        let started = Instant::now();
        let stream = self.handshake_with_proxy(proxy, stream, limits).await.map_err(|cause| {
            let hint =
                "check its host name; trust another CA with `--proxy-cacert FILE`, or any certificate with `--proxy-insecure`";
            unreachable(cause).with_hint(hint)
        })?;
        timings.connect += started.elapsed();
        Ok(stream)
    }

    /// Returns the credentials of a proxy with Digest authentication, with its last challenge.
    pub(crate) fn proxy_digest(&self, proxy: &Proxy) -> Option<Arc<DigestAuth>> {
        let (user, password) = proxy.credentials().filter(|_| proxy.uses_digest())?;
        let mut known = lock_unpoisoned(&self.proxy_digests);
        if known.len() >= MAX_DIGESTS && !known.contains_key(proxy) {
            known.clear();
        }
        let digest =
            known.entry(proxy.clone()).or_insert_with(|| Arc::new(DigestAuth::new(user, password.clone())));
        Some(Arc::clone(digest))
    }

    async fn handshake_with_proxy(&self, proxy: &Proxy, stream: BoxIo, limits: &Limits) -> Result<BoxIo> {
        let name = format!("{}:{}", proxy.host(), proxy.port());
        let setup_error =
            |cause| Error::new(ErrorKind::Tls, format!("could not set up TLS for {name}")).with_source(cause);
        let mut configuration = self.proxy_tls_connector()?.configure().map_err(setup_error)?;
        if self.trust.insecure {
            configuration.set_verify(SslVerifyMode::NONE);
        }
        configuration.set_verify_hostname(false);
        certificates::expect_host(&mut configuration, proxy.host().trim_matches(['[', ']']));
        let ssl = configuration.into_ssl(proxy.host()).map_err(setup_error)?;
        let handshake =
            timeout(limits.tls, SslStreamBuilder::new(ssl, stream).connect()).await.map_err(|_| {
                let message =
                    format!("timed out after {:?} during the TLS handshake with {name}", limits.tls);
                Error::new(ErrorKind::Timeout, message)
            })?;
        Ok(Box::pin(handshake.map_err(|failure| tls::handshake_error(&name, &failure))?))
    }

    /// Returns the TLS connector of all https proxies. It uses no browser profile.
    fn proxy_tls_connector(&self) -> Result<&SslConnector> {
        if let Some(connector) = self.proxy_tls.get() {
            return Ok(connector);
        }
        let store = roots::build_trust_store(self.trust.ca_file.as_deref())?;
        let build = || {
            let mut builder = SslConnector::builder(SslMethod::tls())?;
            builder.set_cert_store_ref(&store);
            certificates::apply_rules(&mut builder);
            builder.set_alpn_protos(b"\x08http/1.1")?;
            Ok::<_, boring::error::ErrorStack>(builder.build())
        };
        let connector = build().map_err(|cause| {
            Error::new(ErrorKind::Tls, "could not set up TLS for https proxies").with_source(cause)
        })?;
        Ok(self.proxy_tls.get_or_init(|| connector))
    }

    async fn connect_via_socks(
        &self,
        target: &ConnectTarget<'_>,
        proxy: &Proxy,
        timings: &mut Timings,
    ) -> Result<(BoxIo, AddressSpace)> {
        let socks_targets = if proxy.scheme().resolves_locally() {
            let addresses = self.resolve_addresses(target, timings).await?;
            addresses
                .into_iter()
                .take(MAX_SOCKS_TARGETS)
                .map(|address| SocksTarget::Address(address, target.port))
                .collect()
        } else {
            vec![SocksTarget::from_host(target.host, target.port)]
        };
        let mut last = Error::new(ErrorKind::Dns, format!("`{}` has no address", target.host));
        for socks_target in &socks_targets {
            let stream = self.connect_to_proxy(target, proxy, timings).await?;
            let started = Instant::now();
            let outcome = socks::connect(stream, proxy, socks_target, target.limits.connect).await;
            timings.connect += started.elapsed();
            match outcome {
                Ok(stream) => return Ok((stream, self.space_of(target, socks_target.address()))),
                Err(refusal) if refusal.is_address_specific => last = refusal.error,
                Err(refusal) => return Err(refusal.error),
            }
        }
        Err(last)
    }

    /// Resolves the origin's addresses.
    async fn resolve_addresses(
        &self,
        target: &ConnectTarget<'_>,
        timings: &mut Timings,
    ) -> Result<Vec<IpAddr>> {
        let started = Instant::now();
        let mut addresses = self.resolver.lookup(target.host, target.port, target.limits.dns).await?;
        timings.dns += started.elapsed();
        if self.requires_public_address(target)
            && self.resolver.override_for(target.host, target.port).is_none()
        {
            addresses.retain(|address| !is_private(*address));
            if addresses.is_empty() {
                return Err(private_address_error(target.host));
            }
        }
        Ok(addresses)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("allow_private", &self.allow_private).finish_non_exhaustive()
    }
}

/// The source of an error about a private address that a public site led to.
#[derive(Debug)]
struct PrivateAddress(String);

impl fmt::Display for PrivateAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PrivateAddress {}

/// The error for a public site that led to a private address.
pub(crate) fn private_address_error(host: &str) -> Error {
    let message = format!("a public site led to the private address of `{host}`");
    Error::new(ErrorKind::Redirect, message.clone())
        .with_source(PrivateAddress(message))
        .with_hint("if you trust the site, use `--allow-private`, or `--allow HOST` for links of a crawl")
}

/// Whether an error is that of [`private_address_error`].
pub(crate) fn is_private_address_error(error: &Error) -> bool {
    proxy::is_caused_by::<PrivateAddress>(error)
}

async fn connect_tcp(
    host: &str,
    port: u16,
    addresses: &[IpAddr],
    limits: &Limits,
    timings: &mut Timings,
) -> Result<TcpStream> {
    let started = Instant::now();
    let stream = tcp::connect(host, addresses, port, limits.connect).await?;
    timings.connect += started.elapsed();
    tracing::debug!(host, port, address = stream.peer_addr().ok().map(tracing::field::display), "connected");
    Ok(stream)
}

/// The maximum number of addresses of one name that are tried through a SOCKS proxy.
const MAX_SOCKS_TARGETS: usize = 4;
/// The challenges of a proxy that one connection answers: a first one, and a stale nonce.
const MAX_CHALLENGES: u32 = 2;
/// The proxies whose challenges are kept.
const MAX_DIGESTS: usize = 1000;
