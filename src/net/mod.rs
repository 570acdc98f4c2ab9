//! The HTTP engine under both HTTP tiers: names, connections, TLS, exchange, redirects, bodies.

mod body;
mod connect;
mod dns;
mod exchange;
pub(crate) mod fetch_metadata;
mod ffi;
mod header_order;
pub(crate) mod headers;
mod http2;
mod io;
mod pool;
mod redirect;
mod request_capture;
mod roots;
mod tls;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Response as HttpResponse, StatusCode, Version, header};
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;
use wreq_proto::body::Incoming;

use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::fingerprint::profile::WireProtocol;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::phase::FetchPhase;
use crate::request::Request;
use crate::response::{Body, BodyStream, HttpVersion, RawResponse, Redirect, SentRequest};
use crate::tier::Tier;
use crate::trace::Timings;

pub(crate) use connect::{ConnectTarget, Connector, private_address_error};
pub(crate) use dns::Overrides;
pub(crate) use roots::find_system_bundle as system_roots;
pub(crate) use tls::TrustConfig;

#[cfg(feature = "browser")]
pub(crate) use {
    connect::http_proxy::{authorization_header as proxy_authorization, refusal_error as refused_by_proxy},
    io::metered::Metered,
    tls::BoxIo,
};

use exchange::SendError;
use fetch_metadata::RedirectChain;
use pool::{CheckedOut, ConnectionKey, Pool, PoolAdmission, PoolConfig, PooledConn};

/// One request to make as one identity within bounds.
#[derive(Clone, Copy)]
pub(crate) struct ClientRequest<'a> {
    pub(crate) request: &'a Request,
    pub(crate) identity: &'a Identity,
    pub(crate) limits: &'a Limits,
    pub(crate) streaming: bool,
    /// Who says whether a redirect may be followed.
    pub(crate) hooks: Option<&'a dyn RequestHooks>,
}

impl ClientRequest<'_> {
    fn report_phase(&self, stage: fn(Tier) -> FetchPhase) {
        if let Some(gate) = self.hooks {
            gate.on_phase(stage);
        }
    }
}

/// Asked before a redirect is followed, and told how the request goes on.
pub(crate) trait RequestHooks: Send + Sync {
    /// Whether the browser, which follows redirects by itself, has to ask before each document too.
    #[cfg_attr(not(feature = "browser"), expect(dead_code, reason = "the browser tier alone reads it"))]
    fn is_strict(&self) -> bool {
        false
    }

    /// Ends when `url` may be asked for; the error says why it may not.
    fn before_request<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<()>>;

    /// Whether [`sent`](Self::sent) is wanted: what nobody wants is not put together.
    fn wants_request_capture(&self) -> bool {
        false
    }

    /// Told a request as it leaves, the last one last.
    fn on_request_sent(&self, request: SentRequest) {
        let _ = request;
    }

    /// Told how far the attempt is: at this stage of its tier.
    fn on_phase(&self, stage: fn(Tier) -> FetchPhase) {
        let _ = stage;
    }
}

/// What was asked for, and with which cookies.
type VisitedRequest = (Method, Url, Vec<(String, String)>);

/// An answer's head with its body behind it, and the connection to give back after that.
type PooledResponse = (HttpResponse<Incoming>, Option<CheckedOut>);

/// The engine. Makes no connection until it is called.
pub(crate) struct HttpClient {
    connector: Arc<Connector>,
    tls: tls::TlsConnector,
    pool: Pool,
}

impl HttpClient {
    pub(crate) fn new(ways: Arc<Connector>, trust: TrustConfig) -> Result<Self> {
        Ok(Self {
            connector: ways,
            tls: tls::TlsConnector::new(trust)?,
            pool: Pool::new(PoolConfig::default()),
        })
    }

    /// The same engine with at most so many connections open at once. Default: 1024.
    pub(crate) fn with_max_connections(mut self, connections: usize) -> Self {
        self.pool = Pool::new(PoolConfig { max_connections: connections.max(1), ..PoolConfig::default() });
        self
    }

    /// Closes the idle connections of an identity that asks no more.
    pub(crate) fn drop_identity(&self, identity: u64) {
        self.pool.drop_identity(identity);
    }

    /// Makes `call`, follows its redirects, and returns the last answer with its body still coming.
    pub(crate) async fn execute(&self, call: ClientRequest<'_>) -> Result<RawResponse> {
        let now = Instant::now();
        let deadline = now.checked_add(call.limits.http_total).unwrap_or(now + FAR_FUTURE);
        timeout_at(deadline, self.follow_redirects(call, deadline)).await.unwrap_or_else(|_| {
            let message = format!("the attempt took longer than {:?}", call.limits.http_total);
            Err(Error::new(ErrorKind::Timeout, message).with_url(&call.request.url))
        })
    }

    async fn follow_redirects(&self, call: ClientRequest<'_>, deadline: Instant) -> Result<RawResponse> {
        let limits = body::BodyLimits {
            read_idle: call.limits.read_idle,
            deadline: (!call.streaming).then_some(deadline),
            max_body: if call.streaming { call.limits.max_file } else { call.limits.max_body },
        };
        let mut request = Cow::Borrowed(call.request);
        let mut journey = RedirectChain::new(&request);
        let mut hops: Vec<Redirect> = Vec::new();
        let mut seen: Vec<VisitedRequest> = Vec::new();
        let mut timings = Timings::default();
        // The address asked for may be private; where it is not, what it leads to may not be either.
        let mut guarded = false;
        loop {
            let jar = call.identity.jar();
            let cookies = jar.pairs(&request.url);
            let is_same = |(method, url, sent): &VisitedRequest| {
                *method == request.method && *url == request.url && *sent == cookies
            };
            if seen.iter().any(is_same) {
                return Err(redirect_loop_error(&request.url, call.request));
            }
            let (response, borrowed) = self
                .send_once(
                    ClientRequest { request: &request, ..call },
                    &journey,
                    &cookies,
                    guarded,
                    &mut timings,
                )
                .await
                .map_err(|error| error.with_url(&request.url))?;
            call.report_phase(FetchPhase::Body);
            let (mut head, incoming) = response.into_parts();
            check_header_count(&head.headers, call.limits)?;
            call.identity.client_hints().record(&request.url, &head.headers);
            jar.store(&request.url, head.headers.get_all(header::SET_COOKIE));
            if let Some(next) = redirect::next_request(&request, head.status, &head.headers)? {
                if hops.len() >= call.limits.max_redirects as usize {
                    let message = format!("more than {} redirects", call.limits.max_redirects);
                    return Err(Error::new(ErrorKind::Redirect, message).with_url(&call.request.url));
                }
                tracing::debug!(
                    status = head.status.as_u16(),
                    to = crate::redact::url(&next.url),
                    "redirected"
                );
                guarded = self
                    .connector
                    .requires_public(call.identity.proxy_rules(), &call.request.url, call.limits)
                    .await;
                if guarded
                    && self.connector.is_private(call.identity.proxy_rules(), &next.url, call.limits).await
                {
                    return Err(private_address_error(next.url.host_str().unwrap_or_default()));
                }
                if let Some(gate) = call.hooks {
                    gate.before_request(&next.url).await.map_err(|error| error.with_url(&next.url))?;
                }
                match exchange::take_unread(&mut head.extensions).filter(|_| is_browser(&call)) {
                    Some(unread) => unread.cancel(),
                    None => drain_body(body::read_raw(incoming, borrowed, limits)).await,
                }
                journey.push(&next.url);
                seen.push((request.method.clone(), request.url.clone(), cookies));
                hops.push(Redirect::new(request.url.clone(), head.status));
                request = Cow::Owned(next);
                continue;
            }
            let empty = request.method == Method::HEAD || is_bodiless(head.status);
            let body = if empty {
                drop(incoming);
                if let Some(borrowed) = borrowed {
                    borrowed.release().await;
                }
                Body::Buffered(bytes::Bytes::new())
            } else {
                let raw = body::read_raw(incoming, borrowed, limits);
                Body::Streaming(body::decode(raw, &head.headers, limits).await?)
            };
            return Ok(RawResponse {
                status: head.status,
                version: http_version(head.version),
                headers: head.headers,
                url: match request {
                    Cow::Borrowed(request) => request.url.clone(),
                    Cow::Owned(request) => request.url,
                },
                redirects: hops,
                body,
                timings,
                browser: None,
            });
        }
    }

    /// One request and its answer's head, on an open connection or a new one. An open connection
    /// that turns out dead is replaced once.
    async fn send_once(
        &self,
        call: ClientRequest<'_>,
        journey: &RedirectChain,
        cookies: &[(String, String)],
        guarded: bool,
        timings: &mut Timings,
    ) -> Result<PooledResponse> {
        let started = Instant::now();
        // A script's request to another origin takes no credentials along, and a connection of its own.
        let anonymous = is_browser(&call)
            && call.request.context.is_script()
            && journey.is_cross_origin()
            && cookies.is_empty();
        let key = connection_key(&call, anonymous)?;
        let proxy = call.identity.proxy_rules().proxy(&call.request.url);
        let way = ConnectTarget {
            host: &key.host,
            port: key.port,
            proxy,
            requires_public: guarded,
            limits: call.limits,
            byte_counter: call.identity.byte_counter(),
            user_agent: call.identity.profile().browser.as_ref().map(|browser| browser.user_agent.as_str()),
        };
        let proxied = proxy.filter(|proxy| !key.tls && !proxy.scheme().is_socks());
        let mut fresh = false;
        loop {
            let pooled = if fresh { None } else { self.pool.checkout(&key) };
            let reused = pooled.is_some();
            let lease = match pooled {
                Some(lease) => lease,
                None => {
                    call.report_phase(FetchPhase::Connect);
                    // Boxed: it is large, and most requests need none.
                    Box::pin(self.connect(call.identity, &key, &way, fresh, timings)).await?
                }
            };
            let over = match (&lease, key.tls) {
                (PooledConn::Http2(_), _) => WireProtocol::Http2,
                (PooledConn::Http1(_), true) => WireProtocol::Http1,
                // Chrome trusts a loopback host without TLS as much as others with it.
                (PooledConn::Http1(_), false) if is_loopback(&key.host) => WireProtocol::Http1,
                (PooledConn::Http1(_), false) => WireProtocol::Cleartext,
            };
            let proxy_authorization = proxied
                .and_then(|proxy| proxy.credentials())
                .map(|(user, password)| headers::basic_auth(user, password.expose()));
            let hints = call.identity.client_hints();
            let occasion = headers::HeaderContext {
                protocol: over,
                chain: journey,
                hints,
                cookies,
                proxy_authorization,
            };
            let fields = headers::build(call.identity.profile(), call.request, &occasion)?;
            if let Some(gate) = call.hooks.filter(|gate| gate.wants_request_capture()) {
                gate.on_request_sent(request_capture::capture(
                    call.request,
                    over == WireProtocol::Http2,
                    &fields,
                ));
            }
            call.report_phase(FetchPhase::Response);
            let progress = exchange::UploadProgress::default();
            let sending = self.send(lease, &key, call.request, fields, proxied.is_some(), &progress);
            let sent =
                progress.run_with_idle_timeout(call.limits.first_byte, sending).await.ok_or_else(|| {
                    // A connection that swallows requests is not for the next one.
                    self.pool.remove_shared(&key);
                    let message = format!("no answer came within {:?}", call.limits.first_byte);
                    Error::new(ErrorKind::Timeout, message)
                })?;
            match sent {
                Ok(answered) => {
                    timings.first_byte = started.elapsed();
                    if let (Some(proxy), StatusCode::PROXY_AUTHENTICATION_REQUIRED) =
                        (proxied, answered.0.status())
                    {
                        return Err(connect::http_proxy::refusal_error(proxy, 407));
                    }
                    return Ok(answered);
                }
                Err(SendError::Unsent(_)) if !fresh => fresh = true,
                // A server may close an idle connection at the very moment it is used.
                Err(SendError::Broken(_)) if reused && call.request.method.is_safe() => fresh = true,
                Err(SendError::Unsent(error) | SendError::Broken(error)) => return Err(error),
            }
            self.pool.remove_shared(&key);
        }
    }

    async fn send(
        &self,
        lease: PooledConn,
        key: &ConnectionKey,
        request: &Request,
        fields: headers::WireHeaders,
        absolute: bool,
        progress: &exchange::UploadProgress,
    ) -> Result<PooledResponse, SendError> {
        match lease {
            PooledConn::Http2(mut shared) => {
                Ok((exchange::send_http2(&mut shared, request, fields, progress).await?, None))
            }
            PooledConn::Http1(mut sender) => {
                let response = exchange::send_http1(&mut sender, request, fields, absolute, progress).await?;
                Ok((response, Some(self.pool.track_checked_out(key, sender))))
            }
        }
    }

    /// Opens a connection, or shares one that somebody opened meanwhile.
    async fn connect(
        &self,
        identity: &Identity,
        key: &ConnectionKey,
        way: &ConnectTarget<'_>,
        fresh: bool,
        timings: &mut Timings,
    ) -> Result<PooledConn> {
        let _turn = self.pool.lock_connecting(key).await;
        if !fresh && let Some(lease) = self.pool.checkout(key) {
            return Ok(lease);
        }
        let bounds = way.limits;
        let permit = match self.pool.reserve(key, fresh, bounds.connect).await? {
            PoolAdmission::Connect(permit) => permit,
            PoolAdmission::Reuse(lease) => return Ok(lease),
        };
        let io = match way.proxy {
            // It takes the whole URL in place of a tunnel.
            Some(proxy) if !key.tls && !proxy.scheme().is_socks() => {
                self.connector.connect_to_proxy(way, proxy, timings).await?
            }
            _ => self.connector.open(way, timings).await?,
        };
        if !key.tls {
            return Ok(PooledConn::Http1(exchange::handshake_http1(io, bounds, permit).await?));
        }
        let started = Instant::now();
        let stream = self.tls.handshake(identity, &key.host, key.port, io, bounds.tls).await?;
        timings.tls += started.elapsed();
        tracing::debug!(
            host = key.host,
            version = stream.ssl().version_str(),
            cipher = stream.ssl().current_cipher().map(boring::ssl::SslCipherRef::name),
            resumed = stream.ssl().session_reused(),
            alpn = stream.ssl().selected_alpn_protocol().map(String::from_utf8_lossy).as_deref(),
            "TLS"
        );
        if stream.ssl().selected_alpn_protocol() == Some(b"h2") {
            let sender = exchange::handshake_http2(Box::pin(stream), identity.profile(), permit).await?;
            self.pool.insert_shared(key, &sender);
            return Ok(PooledConn::Http2(sender));
        }
        self.pool.mark_http1_only(key);
        Ok(PooledConn::Http1(exchange::handshake_http1(Box::pin(stream), bounds, permit).await?))
    }
}

fn is_browser(call: &ClientRequest<'_>) -> bool {
    call.identity.profile().browser.is_some()
}

fn connection_key(call: &ClientRequest<'_>, anonymous: bool) -> Result<ConnectionKey> {
    let url = &call.request.url;
    let host = url.host_str().filter(|host| !host.is_empty());
    let (Some(host), Some(port)) = (host, url.port_or_known_default()) else {
        return Err(Error::new(ErrorKind::InvalidUrl, "the URL names no host"));
    };
    let tls = url.scheme() == "https";
    Ok(ConnectionKey { identity: call.identity.key(), anonymous, tls, host: host.to_owned(), port })
}

fn check_header_count(headers: &HeaderMap, bounds: &Limits) -> Result<()> {
    if headers.len() > bounds.max_header_fields {
        let message = format!(
            "the answer carries {} header fields, at most {} are taken",
            headers.len(),
            bounds.max_header_fields
        );
        return Err(Error::new(ErrorKind::Protocol, message));
    }
    Ok(())
}

/// Reads a little of a redirect's body, so that the connection can be used again.
async fn drain_body(mut body: BodyStream) {
    let mut left = DRAIN_BYTES;
    let read = async {
        while let Some(Ok(chunk)) = body.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                return;
            }
        }
    };
    // Too slow or too large: the connection is closed instead.
    let _ = timeout(DRAIN_TIME, read).await;
}

fn redirect_loop_error(at: &Url, request: &Request) -> Error {
    let message = format!("the redirects lead in a circle, back to {}", crate::redact::url(at));
    Error::new(ErrorKind::Redirect, message).with_url(&request.url)
}

fn is_bodiless(status: StatusCode) -> bool {
    matches!(status.as_u16(), 204 | 304)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host.trim_matches(['[', ']']).parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

fn http_version(version: Version) -> HttpVersion {
    match version {
        Version::HTTP_2 => HttpVersion::Http2,
        Version::HTTP_10 => HttpVersion::Http10,
        _ => HttpVersion::Http11,
    }
}

/// The end of an attempt whose bound is more than a clock can count.
const FAR_FUTURE: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
const DRAIN_BYTES: usize = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_millis(500);
