//! The way to a host: straight, or through a proxy of any kind. All tiers go by it.

mod address_filter;
pub(super) mod http_proxy;
mod socks;
mod tcp;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use boring::ssl::{SslConnector, SslMethod, SslVerifyMode};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_boring::SslStreamBuilder;
use url::Url;

use super::dns::{HostResolver, Overrides};
use super::roots;
use super::tls::{self, BoxIo, TrustConfig};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::limits::Limits;
use crate::net::io::metered::Metered;
use crate::net::io::read_ahead::ReadAhead;
use crate::proxy::{Proxy, ProxyRules, ProxyScheme};
use crate::trace::Timings;
use crate::traffic::ByteCounter;
use address_filter::{is_literal, is_private, is_private_literal};

/// How hosts are reached. Makes no connection until it is called.
#[derive(Default)]
pub(crate) struct Connector {
    resolver: HostResolver,
    /// For https proxies; sites have a trust of their own.
    trust: TrustConfig,
    proxy_tls: OnceLock<SslConnector>,
    allow_private: bool,
}

/// One connection to make.
#[derive(Clone, Copy)]
pub(crate) struct ConnectTarget<'a> {
    /// The origin as a URL has it: an IPv6 address in brackets.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) proxy: Option<&'a Proxy>,
    /// No address may be private: a public site led here.
    pub(crate) requires_public: bool,
    pub(crate) limits: &'a Limits,
    /// Where the bytes to and from the proxy are counted.
    pub(crate) byte_counter: &'a Arc<ByteCounter>,
    /// What CONNECT says, if anything.
    pub(crate) user_agent: Option<&'a str>,
}

impl Connector {
    /// # Errors
    /// [`ErrorKind::Config`] when the CA file of `trust` cannot be used.
    pub(crate) fn new(overrides: Overrides, trust: TrustConfig) -> Result<Self> {
        let ways = Self { resolver: HostResolver::new(overrides), trust, ..Self::default() };
        if ways.trust.ca_file.is_some() {
            ways.proxy_tls_connector()?;
        }
        Ok(ways)
    }

    /// Public sites may lead to private addresses.
    pub(crate) const fn allow_private(mut self, allow: bool) -> Self {
        self.allow_private = allow;
        self
    }

    /// Whether what a fetch of `first` leads to has to be public: it is public itself.
    pub(crate) async fn requires_public(&self, route: &ProxyRules, first: &Url, bounds: &Limits) -> bool {
        !self.allow_private && !self.is_private(route, first, bounds).await
    }

    /// Whether `url` is known to lead to a private address. A name that the proxy resolves is not
    /// looked up here, and one that was given an address by hand is what the user wants.
    pub(crate) async fn is_private(&self, route: &ProxyRules, url: &Url, bounds: &Limits) -> bool {
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(0));
        let proxied = route.proxy(url).is_some_and(|proxy| !proxy.scheme().resolves_locally());
        if !proxied && self.resolver.override_for(host, port).is_some() {
            return false;
        }
        if is_literal(host) || proxied {
            return is_private_literal(host);
        }
        let addresses = self.resolver.lookup(host, port, bounds.dns).await.unwrap_or_default();
        !addresses.is_empty() && addresses.into_iter().all(is_private)
    }

    /// Whether the host of `way` says by itself that it may not be led to.
    #[cfg_attr(not(feature = "browser"), expect(dead_code, reason = "the browser tier alone asks"))]
    pub(crate) fn is_forbidden(&self, way: &ConnectTarget<'_>) -> bool {
        let here = way.proxy.is_none_or(|proxy| proxy.scheme().resolves_locally());
        let meant = here && self.resolver.override_for(way.host, way.port).is_some();
        way.requires_public && !meant && is_private_literal(way.host)
    }

    /// A byte stream to the origin: straight, or through a tunnel.
    pub(crate) async fn open(&self, way: &ConnectTarget<'_>, timings: &mut Timings) -> Result<BoxIo> {
        let Some(proxy) = way.proxy else {
            let addresses = self.resolve_addresses(way, timings).await?;
            let stream = connect_tcp(way.host, way.port, &addresses, way.limits, timings).await?;
            return Ok(Box::pin(ReadAhead::new(stream)));
        };
        if proxy.scheme().is_socks() {
            return self.connect_via_socks(way, proxy, timings).await;
        }
        let mut stream = self.connect_to_proxy(way, proxy, timings).await?;
        let started = Instant::now();
        let authority = format!("{}:{}", way.host, way.port);
        http_proxy::connect(&mut stream, proxy, &authority, way.user_agent, way.limits.connect).await?;
        timings.connect += started.elapsed();
        Ok(stream)
    }

    /// A byte stream to the proxy itself, inside TLS where its scheme says so.
    pub(crate) async fn connect_to_proxy(
        &self,
        way: &ConnectTarget<'_>,
        proxy: &Proxy,
        timings: &mut Timings,
    ) -> Result<BoxIo> {
        let unreachable = |cause| {
            Error::new(ErrorKind::Proxy, format!("the proxy {proxy} cannot be reached")).with_source(cause)
        };
        let bounds = way.limits;
        let started = Instant::now();
        let addresses =
            self.resolver.lookup(proxy.host(), proxy.port(), bounds.dns).await.map_err(unreachable)?;
        timings.dns += started.elapsed();
        let stream = connect_tcp(proxy.host(), proxy.port(), &addresses, bounds, timings)
            .await
            .map_err(unreachable)?;
        let stream: BoxIo = Box::pin(ReadAhead::new(Metered::new(stream, Arc::clone(way.byte_counter))));
        if proxy.scheme() != ProxyScheme::Https {
            return Ok(stream);
        }
        let started = Instant::now();
        let stream = self.handshake_with_proxy(proxy, stream, bounds).await.map_err(|cause| {
            let hint =
                "check its host name; `--proxy-cacert FILE` trusts another CA, `--proxy-insecure` anything";
            unreachable(cause).with_hint(hint)
        })?;
        timings.connect += started.elapsed();
        Ok(stream)
    }

    async fn handshake_with_proxy(&self, proxy: &Proxy, stream: BoxIo, bounds: &Limits) -> Result<BoxIo> {
        let name = format!("{}:{}", proxy.host(), proxy.port());
        let broken = |cause| {
            Error::new(ErrorKind::Tls, format!("TLS for {name} could not be set up")).with_source(cause)
        };
        let mut configuration = self.proxy_tls_connector()?.configure().map_err(broken)?;
        if self.trust.insecure {
            configuration.set_verify(SslVerifyMode::NONE);
            configuration.set_verify_hostname(false);
        }
        let ssl = configuration.into_ssl(proxy.host()).map_err(broken)?;
        let shaken =
            timeout(bounds.tls, SslStreamBuilder::new(ssl, stream).connect()).await.map_err(|_| {
                let message = format!("the TLS handshake with {name} took longer than {:?}", bounds.tls);
                Error::new(ErrorKind::Timeout, message)
            })?;
        Ok(Box::pin(shaken.map_err(|failure| tls::handshake_error(&name, &failure))?))
    }

    /// What all connections to https proxies share: an honest client, nobody's browser.
    fn proxy_tls_connector(&self) -> Result<&SslConnector> {
        if let Some(connector) = self.proxy_tls.get() {
            return Ok(connector);
        }
        let store = roots::build_trust_store(self.trust.ca_file.as_deref())?;
        let build = || {
            let mut builder = SslConnector::builder(SslMethod::tls())?;
            builder.set_cert_store_ref(&store);
            builder.set_alpn_protos(b"\x08http/1.1")?;
            Ok::<_, boring::error::ErrorStack>(builder.build())
        };
        let connector = build().map_err(|cause| {
            Error::new(ErrorKind::Tls, "TLS for https proxies could not be set up").with_source(cause)
        })?;
        Ok(self.proxy_tls.get_or_init(|| connector))
    }

    async fn connect_via_socks(
        &self,
        way: &ConnectTarget<'_>,
        proxy: &Proxy,
        timings: &mut Timings,
    ) -> Result<BoxIo> {
        let targets = if proxy.scheme().resolves_locally() {
            let addresses = self.resolve_addresses(way, timings).await?;
            addresses
                .into_iter()
                .take(MAX_SOCKS_TARGETS)
                .map(|address| socks::SocksTarget::Address(address, way.port))
                .collect()
        } else {
            vec![socks::SocksTarget::from_host(way.host, way.port)]
        };
        let mut last = Error::new(ErrorKind::Dns, format!("`{}` has no address", way.host));
        for target in &targets {
            let stream = self.connect_to_proxy(way, proxy, timings).await?;
            let started = Instant::now();
            let outcome = socks::connect(stream, proxy, target, way.limits.connect).await;
            timings.connect += started.elapsed();
            match outcome {
                Ok(stream) => return Ok(stream),
                Err(refusal) if refusal.is_address_specific => last = refusal.error,
                Err(refusal) => return Err(refusal.error),
            }
        }
        Err(last)
    }

    /// The origin's addresses, looked up here.
    async fn resolve_addresses(&self, way: &ConnectTarget<'_>, timings: &mut Timings) -> Result<Vec<IpAddr>> {
        let started = Instant::now();
        let mut addresses = self.resolver.lookup(way.host, way.port, way.limits.dns).await?;
        timings.dns += started.elapsed();
        if way.requires_public && self.resolver.override_for(way.host, way.port).is_none() {
            addresses.retain(|address| !is_private(*address));
            if addresses.is_empty() {
                return Err(private_address_error(way.host));
            }
        }
        Ok(addresses)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ways").field("allow_private", &self.allow_private).finish_non_exhaustive()
    }
}

/// A public site led to a private address.
pub(crate) fn private_address_error(host: &str) -> Error {
    Error::new(ErrorKind::Redirect, format!("a public site led to the private address of `{host}`"))
        .with_hint("`--allow-private` lets it, where you trust the site")
}

async fn connect_tcp(
    host: &str,
    port: u16,
    addresses: &[IpAddr],
    bounds: &Limits,
    timings: &mut Timings,
) -> Result<TcpStream> {
    let started = Instant::now();
    let stream = tcp::connect(host, addresses, port, bounds.connect).await?;
    timings.connect += started.elapsed();
    tracing::debug!(host, port, address = stream.peer_addr().ok().map(tracing::field::display), "connected");
    Ok(stream)
}

/// The most addresses of one name that a SOCKS proxy is asked for in turn.
const MAX_SOCKS_TARGETS: usize = 4;
