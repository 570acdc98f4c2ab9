//! The HTTP engine of both HTTP tiers: DNS, connections, TLS, HTTP/1.1 and HTTP/2, redirects, bodies.

mod body;
mod certificates;
mod codings;
mod connect;
mod dns;
mod exchange;
pub(crate) mod fetch_metadata;
mod ffi;
pub mod fuzz_parts;
mod header_order;
pub(crate) mod headers;
mod host_name;
pub(crate) mod http1;
mod http2;
mod io;
mod issuer_cache;
mod issuers;
mod pool;
mod redirect;
pub(crate) mod refresh;
mod request_capture;
mod roots;
mod tls;
mod upload;
mod wire_url;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use http::{HeaderMap, Method, Response as HttpResponse, StatusCode, Version, header};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use url::{Position, Url};
use wreq_proto::body::Incoming;

use crate::exchange::address_rule::AddressSpace;
use crate::exchange::digest_auth::DigestAuth;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::phase::FetchPhase;
use crate::exchange::registrable_domain::is_localhost;
use crate::exchange::request::Request;
use crate::exchange::response::{Body, BodyStream, HttpVersion, RawResponse, Redirect, SentRequest};
use crate::exchange::tier::Tier;
use crate::exchange::trace::Timings;
use crate::fingerprint::profile::WireProtocol;
use crate::identity::Identity;
use crate::identity::hsts::HstsStore;
use crate::settings::limits::Limits;

pub use connect::is_private_literal;
pub(crate) use connect::{ConnectTarget, Connector, is_private_address_error, private_address_error};
pub(crate) use dns::Overrides;
pub(crate) use roots::find_system_bundle as system_roots;
pub(crate) use tls::{BoxIo, TrustConfig};

#[cfg(feature = "browser")]
pub(crate) use {
    connect::http_proxy::{authorization_header as proxy_authorization, refusal_error as refused_by_proxy},
    io::metered::Metered,
    request_capture::mask_secrets,
};

use exchange::SendError;
use fetch_metadata::RedirectChain;
use pool::{CheckedOut, ConnectionKey, Pool, PoolAdmission, PoolConfig, PooledConn};
use refresh::Refresh;

/// One request, the identity that sends it, and its limits.
#[derive(Clone, Copy)]
pub(crate) struct ClientRequest<'a> {
    pub(crate) request: &'a Request,
    pub(crate) identity: &'a Identity,
    pub(crate) limits: &'a Limits,
    pub(crate) streaming: bool,
    /// Decides whether a redirect may be followed.
    pub(crate) hooks: Option<&'a dyn RequestHooks>,
}

impl ClientRequest<'_> {
    fn report_phase(&self, phase: fn(Tier) -> FetchPhase) {
        if let Some(hooks) = self.hooks {
            hooks.on_phase(phase);
        }
    }
}

/// Callbacks of one request: they approve redirects and observe progress.
pub(crate) trait RequestHooks: Send + Sync {
    /// Whether the browser tier, where Chromium follows redirects by itself, must also call `before_request`
    /// for each document.
    #[cfg_attr(not(feature = "browser"), expect(dead_code, reason = "only the browser tier reads it"))]
    fn is_strict(&self) -> bool {
        false
    }

    /// Waits until `url` may be requested.
    ///
    /// # Errors
    /// Why `url` may not be requested.
    fn before_request<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<()>>;

    /// Whether a response is a page of the site, and not a block, so that its refresh may be followed. `body` is its
    /// start; `is_complete`, whether it is all.
    fn is_genuine<'a>(
        &'a self,
        head: &'a ResponseHead<'a>,
        body: &'a Bytes,
        is_complete: bool,
    ) -> BoxFuture<'a, bool> {
        let _ = (head, body, is_complete);
        std::future::ready(true).boxed()
    }

    /// Whether [`on_request_sent`](Self::on_request_sent) is used. Otherwise no request is captured.
    fn wants_request_capture(&self) -> bool {
        false
    }

    /// Called with each request when it is sent.
    fn on_request_sent(&self, request: SentRequest) {
        let _ = request;
    }

    /// Called when the attempt enters a phase.
    fn on_phase(&self, phase: fn(Tier) -> FetchPhase) {
        let _ = phase;
    }
}

/// The head of a response.
pub(crate) struct ResponseHead<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) url: &'a Url,
}

/// A request of the redirect chain: method, URL and cookies.
type VisitedRequest = (Method, Url, Vec<(String, String)>);

/// A response, and the HTTP/1.1 connection to return to the pool after its body.
type PooledResponse = (HttpResponse<Incoming>, Option<CheckedOut>);

/// The HTTP client. Opens no connection before the first request.
pub(crate) struct HttpClient {
    connector: Arc<Connector>,
    tls: tls::TlsConnector,
    pool: Pool,
    hsts: Option<HstsStore>,
}

impl HttpClient {
    pub(crate) fn new(connector: Arc<Connector>, trust: TrustConfig) -> Result<Self> {
        let (tls, pool) = (tls::TlsConnector::new(trust)?, Pool::new(PoolConfig::default()));
        Ok(Self { connector, tls, pool, hsts: None })
    }

    /// Sets the hosts that are requested over https only.
    pub(crate) fn with_hsts(mut self, hsts: Option<HstsStore>) -> Self {
        self.hsts = hsts;
        self
    }

    /// Sets the maximum number of open connections. Default: 1024.
    pub(crate) fn with_max_connections(mut self, connections: usize) -> Self {
        self.pool = Pool::new(PoolConfig { max_connections: connections.max(1), ..PoolConfig::default() });
        self
    }

    /// Closes the idle connections of an identity that is no longer used.
    pub(crate) fn drop_identity(&self, identity: u64) {
        self.pool.drop_identity(identity);
    }

    /// Sends `call`, follows its redirects, and returns the last response with its body still streaming.
    pub(crate) async fn execute(&self, call: ClientRequest<'_>) -> Result<RawResponse> {
        let now = Instant::now();
        let deadline = now.checked_add(call.limits.http_total).unwrap_or(now + FAR_FUTURE);
        timeout_at(deadline, self.follow_redirects(call, deadline)).await.unwrap_or_else(|_| {
            let message = format!("the attempt timed out after {:?}", call.limits.http_total);
            Err(Error::new(ErrorKind::Timeout, message).with_url(&call.request.url))
        })
    }

    async fn follow_redirects(&self, call: ClientRequest<'_>, deadline: Instant) -> Result<RawResponse> {
        let limits = body::BodyLimits {
            read_idle: call.limits.read_idle,
            deadline: (!call.streaming).then_some(deadline),
            max_body: if call.streaming { call.limits.max_file } else { call.limits.max_body },
        };
        let mut request = self.upgrade(wire_url::escape_path(Cow::Borrowed(call.request), is_browser(&call)));
        let mut chain = RedirectChain::new(&request);
        let mut redirects: Vec<Redirect> = Vec::new();
        let mut visited: Vec<VisitedRequest> = Vec::new();
        let mut timings = Timings::default();
        let mut challenges = 0;
        loop {
            let jar = call.identity.jar();
            let cookies = jar.pairs(&request.url);
            let (response, checked_out) = self
                .send_once(ClientRequest { request: &request, ..call }, &chain, &cookies, &mut timings)
                .await
                .map_err(|error| {
                    let error = error.with_url(&request.url);
                    // A server has answered an earlier request of the chain.
                    if redirects.is_empty() { error } else { error.mark_sent() }
                })?;
            call.report_phase(FetchPhase::Body);
            let (mut head, incoming) = response.into_parts();
            check_header_count(&head.headers, call.limits)?;
            let received = exchange::take_received(&mut head.extensions);
            call.identity.client_hints().record(&request.url, &head.headers);
            jar.store(&request.url, head.headers.get_all(header::SET_COOKIE));
            if let Some(hsts) = &self.hsts {
                hsts.learn(&request.url, &head.headers);
            }
            if challenges < MAX_CHALLENGES && may_answer_challenge(&request, &head, challenges == 0) {
                challenges += 1;
                if let Some(hooks) = call.hooks {
                    hooks.before_request(&request.url).await.map_err(|error| error.with_url(&request.url))?;
                }
                drain_body(body::read_raw(incoming, checked_out, limits)).await;
                continue;
            }
            if let Some(next) = redirect::next_request(&request, head.status, &head.headers)? {
                let mut next = wire_url::escape_path(Cow::Owned(next), is_browser(&call));
                if request.auto_referer {
                    redirect::set_referer(next.to_mut(), &request.url);
                }
                chain.push(&next.url);
                let next = self.upgrade(next);
                self.approve_redirect(&call, head.status, &next, redirects.len()).await?;
                match exchange::take_unread(&mut head.extensions).filter(|_| is_browser(&call)) {
                    Some(unread) => unread.cancel(),
                    None => drain_body(body::read_raw(incoming, checked_out, limits)).await,
                }
                if next.url.scheme() != chain.current().scheme() {
                    chain.push(&next.url);
                }
                let redirect = Redirect::new(request.url.clone(), head.status, head.headers);
                redirects.push(redirect.with_received(received));
                request = Cow::Owned(next.into_owned());
                continue;
            }
            let empty = request.method == Method::HEAD || is_bodiless(head.status);
            let body = if empty {
                drop(incoming);
                if let Some(checked_out) = checked_out {
                    checked_out.release().await;
                }
                Body::Buffered(Bytes::new())
            } else {
                let raw = body::read_raw(incoming, checked_out, limits);
                Body::Streaming(body::decode(raw, &head.headers, limits).await?)
            };
            let current = ClientRequest { request: &request, ..call };
            let response = ResponseHead { status: head.status, headers: &head.headers, url: &request.url };
            let (refresh, body) = peek_refresh(&current, &response, body).await;
            let next = self.next_refresh(&current, refresh, &cookies, &visited)?;
            if let Some((next, delay, page)) = next {
                self.approve_redirect(&call, head.status, &next, redirects.len()).await?;
                drop(body);
                sleep(delay).await;
                chain = RedirectChain::new(&next);
                visited.push((request.method.clone(), request.url.clone(), cookies));
                let page = page.filter(|_| call.hooks.is_some_and(RequestHooks::wants_request_capture));
                let redirect = Redirect::new(request.url.clone(), head.status, head.headers);
                redirects.push(Redirect { received, page, ..redirect });
                request = Cow::Owned(next);
                continue;
            }
            return Ok(RawResponse {
                status: head.status,
                version: http_version(head.version),
                headers: head.headers,
                received,
                url: match request {
                    Cow::Borrowed(request) => request.url.clone(),
                    Cow::Owned(request) => request.url,
                },
                redirects,
                body,
                timings,
                browser: None,
            });
        }
    }

    /// Changes an http URL of a host that is requested over https only. Chromium follows an internal redirect with status
    /// 307: method, body and headers stay.
    fn upgrade<'a>(&self, mut request: Cow<'a, Request>) -> Cow<'a, Request> {
        if let Some(url) = self.hsts.as_ref().and_then(|hsts| hsts.upgrade(&request.url)) {
            tracing::debug!(to = crate::text::redact::url(&url), "upgraded to https");
            request.to_mut().url = url;
        }
        request
    }

    /// Returns the request of a refresh. `None` if it would only repeat an earlier one: a page that loads itself again is
    /// the page.
    fn next_refresh(
        &self,
        call: &ClientRequest<'_>,
        refresh: Option<FoundRefresh>,
        cookies: &[(String, String)],
        visited: &[VisitedRequest],
    ) -> Result<Option<(Request, Duration, Option<Bytes>)>> {
        let Some((refresh, page)) = refresh else { return Ok(None) };
        let Some(next) = refresh::next_request(call.request, &refresh.url, is_browser(call))? else {
            return Ok(None);
        };
        let next = self.upgrade(wire_url::escape_path(Cow::Owned(next), is_browser(call))).into_owned();
        let next_cookies = call.identity.jar().pairs(&next.url);
        let is_same = |url: &Url, sent: &[(String, String)]| {
            url[..Position::AfterQuery] == next.url[..Position::AfterQuery] && *sent == next_cookies
        };
        let is_repeated =
            is_same(&call.request.url, cookies) || visited.iter().any(|(_, url, sent)| is_same(url, sent));
        Ok((!is_repeated).then_some((next, refresh.delay, page)))
    }

    /// Checks that a redirect or a refresh may be followed after `count` others.
    async fn approve_redirect(
        &self,
        call: &ClientRequest<'_>,
        status: StatusCode,
        next: &Request,
        count: usize,
    ) -> Result<()> {
        if count >= call.limits.max_redirects as usize {
            let message = format!("more than {} redirects", call.limits.max_redirects);
            return Err(Error::new(ErrorKind::Redirect, message).with_url(&call.request.url));
        }
        tracing::debug!(status = status.as_u16(), to = crate::text::redact::url(&next.url), "redirected");
        // A name is resolved, and its addresses checked, when it is connected to.
        if self.connector.enforces(&next.address_rule)
            && self.connector.is_private_host(call.identity.proxy_rules(), &next.url)
        {
            let error = private_address_error(next.url.host_str().unwrap_or_default());
            return Err(error.with_url(&next.url).mark_sent());
        }
        match call.hooks {
            Some(hooks) => hooks.before_request(&next.url).await.map_err(|error| error.with_url(&next.url)),
            None => Ok(()),
        }
    }

    /// Sends one request and reads the response headers, on a pooled or a new connection. A pooled connection
    /// that turns out to be closed is replaced once.
    async fn send_once(
        &self,
        call: ClientRequest<'_>,
        chain: &RedirectChain,
        cookies: &[(String, String)],
        timings: &mut Timings,
    ) -> Result<PooledResponse> {
        let started = Instant::now();
        // As in Chromium, a script's cross-origin request without credentials has a connection of its own.
        let anonymous = is_browser(&call)
            && call.request.context.is_script()
            && chain.is_cross_origin()
            && cookies.is_empty();
        let key = connection_key(&call, anonymous)?;
        let proxy = call.identity.proxy_rules().proxy(&call.request.url);
        let mut target = ConnectTarget {
            host: &key.host,
            port: key.port,
            proxy,
            requires_public: false,
            limits: call.limits,
            byte_counter: call.identity.byte_counter(),
            user_agent: call.identity.profile().browser.as_ref().map(|browser| browser.user_agent.as_str()),
        };
        let proxied = proxy.filter(|proxy| !key.tls && !proxy.scheme().is_socks());
        let proxy_digest = proxied.and_then(|proxy| self.connector.proxy_digest(proxy));
        let mut challenges = 0;
        let (mut fresh, mut is_downgraded) = (false, false);
        loop {
            // Decided by the connection of the first request, and so perhaps since the last round.
            target.requires_public = self.connector.enforces(&call.request.address_rule);
            let pooled = if fresh { None } else { self.pool.checkout(&key) };
            let reused = pooled.is_some();
            let connection = match pooled {
                Some(connection) => connection,
                None => {
                    call.report_phase(FetchPhase::Connect);
                    // Boxed because the future is large and most requests do not need it.
                    Box::pin(self.connect(&call, &key, &target, fresh, timings)).await?
                }
            };
            let connection = self.check_peer(&call, &key, connection)?;
            if !chain.is_redirected() {
                call.request.address_rule.decide(connection.space());
            }
            call.request.address_rule.record_peer(connection.space());
            let protocol = match (&connection, key.tls) {
                (PooledConn::Http2(_), _) => WireProtocol::Http2,
                (PooledConn::Http1(_), true) => WireProtocol::Http1,
                // Chrome treats a loopback host without TLS as trustworthy.
                (PooledConn::Http1(_), false) if is_loopback(&key.host) => WireProtocol::Http1,
                (PooledConn::Http1(_), false) => WireProtocol::Cleartext,
            };
            let proxy_authorization = match &proxy_digest {
                Some(digest) => digest
                    .authorization(call.request.method.as_str(), &headers::absolute_form(&call.request.url)),
                None => proxied
                    .and_then(|proxy| proxy.credentials())
                    .map(|(user, password)| headers::basic_auth(user, password.expose())),
            };
            let hints = call.identity.client_hints();
            let context = headers::HeaderContext { protocol, chain, hints, cookies, proxy_authorization };
            let fields = headers::build(call.identity.profile(), call.request, &context)?;
            if let Some(hooks) = call.hooks.filter(|hooks| hooks.wants_request_capture()) {
                hooks.on_request_sent(request_capture::capture(
                    call.request,
                    protocol == WireProtocol::Http2,
                    &fields,
                ));
            }
            call.report_phase(FetchPhase::Response);
            let progress = exchange::UploadProgress::default();
            let sending = self.send(connection, &key, call.request, fields, proxied.is_some(), &progress);
            let sent =
                progress.run_with_idle_timeout(call.limits.first_byte, sending).await.ok_or_else(|| {
                    // A connection without a response is not reused.
                    self.pool.remove_shared(&key);
                    let message = format!(
                        "timed out after {:?} waiting for the response headers",
                        call.limits.first_byte
                    );
                    Error::new(ErrorKind::Timeout, message)
                })?;
            match sent {
                // The server closed an idle connection because it timed out, at the moment it was reused.
                Ok(response) if reused && !fresh && response.0.status() == StatusCode::REQUEST_TIMEOUT => {
                    fresh = true;
                }
                Ok(response) => {
                    timings.first_byte = started.elapsed();
                    if let (Some(proxy), StatusCode::PROXY_AUTHENTICATION_REQUIRED) =
                        (proxied, response.0.status())
                    {
                        let is_first = challenges == 0;
                        let headers = response.0.headers();
                        let accepts = |digest: &DigestAuth| {
                            digest.accept(headers, &header::PROXY_AUTHENTICATE, is_first)
                        };
                        if challenges < MAX_CHALLENGES && proxy_digest.as_deref().is_some_and(accepts) {
                            challenges += 1;
                            fresh = true;
                            continue;
                        }
                        return Err(connect::http_proxy::refusal_error(proxy, 407));
                    }
                    return Ok(response);
                }
                Err(SendError::RequiresHttp1(_)) if !is_downgraded => {
                    self.pool.require_http1(&key);
                    (fresh, is_downgraded) = (true, true);
                }
                Err(SendError::Unsent(_)) if !fresh => fresh = true,
                // The server may close an idle connection at the moment it is reused.
                Err(SendError::Broken(_)) if reused && call.request.method.is_safe() => fresh = true,
                Err(
                    SendError::Unsent(error) | SendError::RequiresHttp1(error) | SendError::Broken(error),
                ) => return Err(error),
            }
            self.pool.remove_shared(&key);
        }
    }

    /// Returns the connection, unless the request may not be sent to its address.
    fn check_peer(
        &self,
        call: &ClientRequest<'_>,
        key: &ConnectionKey,
        connection: PooledConn,
    ) -> Result<PooledConn> {
        let is_private = connection.space() == AddressSpace::Private;
        if !is_private || !self.connector.enforces(&call.request.address_rule) {
            return Ok(connection);
        }
        // Another fetch may use the connection again.
        if let PooledConn::Http1(sender) = connection {
            drop(self.pool.track_checked_out(key, sender));
        }
        Err(private_address_error(&key.host))
    }

    async fn send(
        &self,
        connection: PooledConn,
        key: &ConnectionKey,
        request: &Request,
        fields: headers::WireHeaders,
        absolute: bool,
        progress: &exchange::UploadProgress,
    ) -> Result<PooledResponse, SendError> {
        match connection {
            PooledConn::Http2(mut shared) => {
                Ok((exchange::send_http2(&mut shared, request, fields, progress).await?, None))
            }
            PooledConn::Http1(mut sender) => {
                let response = exchange::send_http1(&mut sender, request, fields, absolute, progress).await?;
                Ok((response, Some(self.pool.track_checked_out(key, sender))))
            }
        }
    }

    /// Opens a connection, or shares one that another request opened meanwhile.
    async fn connect(
        &self,
        call: &ClientRequest<'_>,
        key: &ConnectionKey,
        target: &ConnectTarget<'_>,
        fresh: bool,
        timings: &mut Timings,
    ) -> Result<PooledConn> {
        let _guard = self.pool.lock_connecting(key).await;
        if !fresh && let Some(connection) = self.pool.checkout(key) {
            return Ok(connection);
        }
        let limits = target.limits;
        let permit = match self.pool.reserve(key, fresh, limits.connect).await? {
            PoolAdmission::Connect(permit) => permit,
            PoolAdmission::Reuse(connection) => return Ok(connection),
        };
        let (io, space) = match target.proxy {
            // An HTTP proxy takes the absolute URL instead of a tunnel.
            Some(proxy) if !key.tls && !proxy.scheme().is_socks() => {
                self.connector.check_host(target)?;
                let io = self.connector.connect_to_proxy(target, proxy, timings).await?;
                (io, self.connector.space_of(target, None))
            }
            _ => self.connector.dial(target, timings).await?,
        };
        if !key.tls {
            return Ok(PooledConn::Http1(exchange::handshake_http1((io, space), limits, permit).await?));
        }
        let (stream, space) = self.handshake(call, key, target, (io, space), timings).await?;
        tracing::debug!(
            host = key.host,
            version = stream.ssl().version_str(),
            cipher = stream.ssl().current_cipher().map(boring::ssl::SslCipherRef::name),
            resumed = stream.ssl().session_reused(),
            alpn = stream.ssl().selected_alpn_protocol().map(String::from_utf8_lossy).as_deref(),
            "TLS"
        );
        if stream.ssl().selected_alpn_protocol() == Some(b"h2") {
            let stream = (Box::pin(stream) as BoxIo, space);
            let sender = exchange::handshake_http2(stream, call.identity.profile(), permit).await?;
            self.pool.insert_shared(key, &sender);
            return Ok(PooledConn::Http2(sender));
        }
        self.pool.mark_http1_only(key);
        Ok(PooledConn::Http1(exchange::handshake_http1((Box::pin(stream), space), limits, permit).await?))
    }
}

fn is_browser(call: &ClientRequest<'_>) -> bool {
    call.identity.profile().browser.is_some()
}

fn connection_key(call: &ClientRequest<'_>, anonymous: bool) -> Result<ConnectionKey> {
    let url = &call.request.url;
    let host = url.host_str().filter(|host| !host.is_empty());
    let (Some(host), Some(port)) = (host, url.port_or_known_default()) else {
        return Err(Error::new(ErrorKind::InvalidUrl, "the URL has no host"));
    };
    let tls = url.scheme() == "https";
    Ok(ConnectionKey {
        identity: call.identity.key(),
        anonymous,
        only_http1: call.request.only_http1,
        certificate: call.request.client_certificate.as_ref().filter(|_| tls).map(|own| own.id()),
        tls,
        host: host.to_owned(),
        port,
    })
}

fn check_header_count(headers: &HeaderMap, limits: &Limits) -> Result<()> {
    if headers.len() > limits.max_header_fields {
        let message = format!(
            "the response has {} header fields, more than the limit of {}",
            headers.len(),
            limits.max_header_fields
        );
        return Err(Error::new(ErrorKind::Protocol, message));
    }
    Ok(())
}

/// A refresh, and its page if all of it was read.
type FoundRefresh = (Refresh, Option<Bytes>);

/// Returns the refresh that a response declares, and the body, of which the start was read.
async fn peek_refresh(
    call: &ClientRequest<'_>,
    head: &ResponseHead<'_>,
    body: Body,
) -> (Option<FoundRefresh>, Body) {
    let Body::Streaming(stream) = body else { return (None, body) };
    if !refresh::is_possible(call.request, head.headers) {
        return (None, Body::Streaming(stream));
    }
    let wait = if call.streaming { REFRESH_WAIT } else { FAR_FUTURE };
    let (start, is_complete, body) = body::peek(stream, REFRESH_PREFIX, wait).await;
    let body = Body::Streaming(body);
    if !refresh::may_contain(head.headers, &start) {
        return (None, body);
    }
    let (headers, url, bytes) = (head.headers.clone(), head.url.clone(), start.clone());
    let searching = tokio::task::spawn_blocking(move || refresh::find(&headers, &url, &bytes));
    // Joining fails only while the runtime shuts down.
    let Some(found) = searching.await.ok().flatten() else { return (None, body) };
    let is_genuine = match call.hooks {
        Some(hooks) => hooks.is_genuine(head, &start, is_complete).await,
        None => true,
    };
    (is_genuine.then(|| (found, is_complete.then_some(start))), body)
}

/// Reads a small redirect body, so that the connection can be reused.
async fn drain_body(mut body: BodyStream) {
    let mut remaining = DRAIN_BYTES;
    let read = async {
        while let Some(Ok(chunk)) = body.next().await {
            remaining = remaining.saturating_sub(chunk.len());
            if remaining == 0 {
                return;
            }
        }
    };
    // On a timeout or a larger body, the connection is closed instead.
    let _ = timeout(DRAIN_TIME, read).await;
}

/// Whether the request may be sent again with an answer to the server's Digest challenge.
fn may_answer_challenge(request: &Request, head: &http::response::Parts, is_first: bool) -> bool {
    let is_challenge = head.status == StatusCode::UNAUTHORIZED
        && !request.headers.iter().any(|(name, _)| *name == header::AUTHORIZATION);
    let Some(digest) = request.digest.as_ref().filter(|_| is_challenge) else { return false };
    digest.accept(&head.headers, &header::WWW_AUTHENTICATE, is_first)
}

fn is_bodiless(status: StatusCode) -> bool {
    matches!(status.as_u16(), 204 | 304)
}

fn is_loopback(host: &str) -> bool {
    is_localhost(host)
        || host.trim_matches(['[', ']']).parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

fn http_version(version: Version) -> HttpVersion {
    match version {
        Version::HTTP_2 => HttpVersion::Http2,
        Version::HTTP_10 => HttpVersion::Http10,
        _ => HttpVersion::Http11,
    }
}

/// The deadline of an attempt whose limit exceeds the clock's range.
const FAR_FUTURE: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
/// The challenges that one attempt answers: a first one, and stale nonces.
const MAX_CHALLENGES: u32 = 3;
const DRAIN_BYTES: usize = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_millis(500);
/// Bytes of a page that are searched for a refresh.
const REFRESH_PREFIX: usize = 256 * 1024;
/// The longest wait for a part of them if the body is streamed to a file, which has no total timeout.
const REFRESH_WAIT: Duration = Duration::from_secs(5);
