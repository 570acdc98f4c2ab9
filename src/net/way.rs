//! The way to a host: straight, or through a proxy of any kind. All tiers go by it.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use boring::ssl::{SslConnector, SslMethod, SslVerifyMode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_boring::SslStreamBuilder;
use url::Url;

use super::ahead::Ahead;
use super::dns::{Names, Overrides};
use super::private::{is_literal, is_private, names_private};
use super::tls::{self, BoxIo, Trust};
use super::{dial, roots, socks, tunnel};
use crate::bounds::Bounds;
use crate::error::{Error, Result};
use crate::kind::ErrorKind;
use crate::proxy::{Proxy, ProxyScheme, Route};
use crate::trace::Timings;
use crate::traffic::Meter;

/// How hosts are reached. Makes no connection until it is called.
#[derive(Default)]
pub(crate) struct Ways {
    names: Names,
    /// For https proxies; sites have a trust of their own.
    trust: Trust,
    to_proxies: OnceLock<SslConnector>,
    allow_private: bool,
}

/// One connection to make.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    /// The origin as a URL has it: an IPv6 address in brackets.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) proxy: Option<&'a Proxy>,
    /// No address may be private: a public site led here.
    pub(crate) guarded: bool,
    pub(crate) bounds: &'a Bounds,
    /// Where the bytes to and from the proxy are counted.
    pub(crate) meter: &'a Arc<Meter>,
    /// What CONNECT says, if anything.
    pub(crate) user_agent: Option<&'a str>,
}

impl Ways {
    /// # Errors
    /// [`ErrorKind::Config`] when the CA file of `trust` cannot be used.
    pub(crate) fn new(overrides: Overrides, trust: Trust) -> Result<Self> {
        let ways = Self { names: Names::new(overrides), trust, ..Self::default() };
        if ways.trust.ca_file.is_some() {
            ways.connector()?;
        }
        Ok(ways)
    }

    /// Public sites may lead to private addresses.
    pub(crate) const fn allow_private(mut self, allow: bool) -> Self {
        self.allow_private = allow;
        self
    }

    /// Whether what a fetch of `first` leads to has to be public: it is public itself.
    pub(crate) async fn guards(&self, route: &Route, first: &Url, bounds: &Bounds) -> bool {
        !self.allow_private && !self.is_private(route, first, bounds).await
    }

    /// Whether `url` is known to lead to a private address. A name that the proxy resolves is not
    /// looked up here, and one that was given an address by hand is what the user wants.
    pub(crate) async fn is_private(&self, route: &Route, url: &Url, bounds: &Bounds) -> bool {
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(0));
        let proxied = route.proxy(url).is_some_and(|proxy| !proxy.scheme().resolves_here());
        if !proxied && self.names.overridden(host, port).is_some() {
            return false;
        }
        if is_literal(host) || proxied {
            return names_private(host);
        }
        let addresses = self.names.lookup(host, port, bounds.dns).await.unwrap_or_default();
        !addresses.is_empty() && addresses.into_iter().all(is_private)
    }

    /// Whether the host of `way` says by itself that it may not be led to.
    #[cfg_attr(not(feature = "browser"), expect(dead_code, reason = "the browser tier alone asks"))]
    pub(crate) fn forbids(&self, way: &Way<'_>) -> bool {
        let here = way.proxy.is_none_or(|proxy| proxy.scheme().resolves_here());
        let meant = here && self.names.overridden(way.host, way.port).is_some();
        way.guarded && !meant && names_private(way.host)
    }

    /// A byte stream to the origin: straight, or through a tunnel.
    pub(crate) async fn open(&self, way: &Way<'_>, timings: &mut Timings) -> Result<BoxIo> {
        let Some(proxy) = way.proxy else {
            let addresses = self.addresses(way, timings).await?;
            let stream = reach(way.host, way.port, &addresses, way.bounds, timings).await?;
            return Ok(Box::pin(Ahead::new(stream)));
        };
        if proxy.scheme().is_socks() {
            return self.through_socks(way, proxy, timings).await;
        }
        let mut stream = self.to_proxy(way, proxy, timings).await?;
        let started = Instant::now();
        let authority = format!("{}:{}", way.host, way.port);
        tunnel::connect(&mut stream, proxy, &authority, way.user_agent, way.bounds.connect).await?;
        timings.connect += started.elapsed();
        Ok(stream)
    }

    /// A byte stream to the proxy itself, inside TLS where its scheme says so.
    pub(crate) async fn to_proxy(
        &self,
        way: &Way<'_>,
        proxy: &Proxy,
        timings: &mut Timings,
    ) -> Result<BoxIo> {
        let unreachable = |cause| {
            Error::new(ErrorKind::Proxy, format!("the proxy {proxy} cannot be reached")).with_source(cause)
        };
        let bounds = way.bounds;
        let started = Instant::now();
        let addresses =
            self.names.lookup(proxy.host(), proxy.port(), bounds.dns).await.map_err(unreachable)?;
        timings.dns += started.elapsed();
        let stream =
            reach(proxy.host(), proxy.port(), &addresses, bounds, timings).await.map_err(unreachable)?;
        let stream: BoxIo = Box::pin(Ahead::new(Metered::new(stream, Arc::clone(way.meter))));
        if proxy.scheme() != ProxyScheme::Https {
            return Ok(stream);
        }
        let started = Instant::now();
        let stream = self.wrap(proxy, stream, bounds).await.map_err(|cause| {
            let hint =
                "check its host name; `--proxy-cacert FILE` trusts another CA, `--proxy-insecure` anything";
            unreachable(cause).with_hint(hint)
        })?;
        timings.connect += started.elapsed();
        Ok(stream)
    }

    async fn wrap(&self, proxy: &Proxy, stream: BoxIo, bounds: &Bounds) -> Result<BoxIo> {
        let name = format!("{}:{}", proxy.host(), proxy.port());
        let broken = |cause| {
            Error::new(ErrorKind::Tls, format!("TLS for {name} could not be set up")).with_source(cause)
        };
        let mut configuration = self.connector()?.configure().map_err(broken)?;
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
        Ok(Box::pin(shaken.map_err(|failure| tls::failed(&name, &failure))?))
    }

    /// What all connections to https proxies share: an honest client, nobody's browser.
    fn connector(&self) -> Result<&SslConnector> {
        if let Some(connector) = self.to_proxies.get() {
            return Ok(connector);
        }
        let store = roots::store(self.trust.ca_file.as_deref())?;
        let build = || {
            let mut builder = SslConnector::builder(SslMethod::tls())?;
            builder.set_cert_store_ref(&store);
            builder.set_alpn_protos(b"\x08http/1.1")?;
            Ok::<_, boring::error::ErrorStack>(builder.build())
        };
        let connector = build().map_err(|cause| {
            Error::new(ErrorKind::Tls, "TLS for https proxies could not be set up").with_source(cause)
        })?;
        Ok(self.to_proxies.get_or_init(|| connector))
    }

    async fn through_socks(&self, way: &Way<'_>, proxy: &Proxy, timings: &mut Timings) -> Result<BoxIo> {
        let targets = if proxy.scheme().resolves_here() {
            let addresses = self.addresses(way, timings).await?;
            addresses
                .into_iter()
                .take(MAX_TRIES)
                .map(|address| socks::Target::Address(address, way.port))
                .collect()
        } else {
            vec![socks::Target::host(way.host, way.port)]
        };
        let mut last = Error::new(ErrorKind::Dns, format!("`{}` has no address", way.host));
        for target in &targets {
            let stream = self.to_proxy(way, proxy, timings).await?;
            let started = Instant::now();
            let outcome = socks::connect(stream, proxy, target, way.bounds.connect).await;
            timings.connect += started.elapsed();
            match outcome {
                Ok(stream) => return Ok(stream),
                Err(refusal) if refusal.of_address => last = refusal.error,
                Err(refusal) => return Err(refusal.error),
            }
        }
        Err(last)
    }

    /// The origin's addresses, looked up here.
    async fn addresses(&self, way: &Way<'_>, timings: &mut Timings) -> Result<Vec<IpAddr>> {
        let started = Instant::now();
        let mut addresses = self.names.lookup(way.host, way.port, way.bounds.dns).await?;
        timings.dns += started.elapsed();
        if way.guarded && self.names.overridden(way.host, way.port).is_none() {
            addresses.retain(|address| !is_private(*address));
            if addresses.is_empty() {
                return Err(led_astray(way.host));
            }
        }
        Ok(addresses)
    }
}

impl fmt::Debug for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ways").field("allow_private", &self.allow_private).finish_non_exhaustive()
    }
}

/// A public site led to a private address.
pub(crate) fn led_astray(host: &str) -> Error {
    Error::new(ErrorKind::Redirect, format!("a public site led to the private address of `{host}`"))
        .with_hint("`--allow-private` lets it, where you trust the site")
}

async fn reach(
    host: &str,
    port: u16,
    addresses: &[IpAddr],
    bounds: &Bounds,
    timings: &mut Timings,
) -> Result<TcpStream> {
    let started = Instant::now();
    let stream = dial::connect(host, addresses, port, bounds.connect).await?;
    timings.connect += started.elapsed();
    tracing::debug!(host, port, address = stream.peer_addr().ok().map(tracing::field::display), "connected");
    Ok(stream)
}

/// A byte stream whose bytes are counted.
pub(crate) struct Metered<S> {
    io: S,
    meter: Arc<Meter>,
}

impl<S> Metered<S> {
    pub(crate) const fn new(io: S, meter: Arc<Meter>) -> Self {
        Self { io, meter }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.meter.received(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.meter.sent(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs))?;
        self.meter.sent(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// The most addresses of one name that a SOCKS proxy is asked for in turn.
const MAX_TRIES: usize = 4;
