//! Sends one request on a pooled or a new connection.

use http::{HeaderValue, Response as HttpResponse, StatusCode, header};
use tokio::time::Instant;
use wreq_proto::body::Incoming;

use super::client::HttpClient;
use super::connect::{self, ConnectTarget, private_address_error};
use super::exchange::{self, SendError};
use super::fetch_metadata::RedirectChain;
use super::headers;
use super::hooks::AttemptRequest;
use super::pool::{CheckedOut, ConnectionKey, PoolAdmission, PooledConn};
use super::request_capture;
use super::tls::BoxIo;
use crate::exchange::address_rule::AddressSpace;
use crate::exchange::digest_auth::DigestAuth;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::phase::FetchPhase;
use crate::exchange::registrable_domain::is_localhost;
use crate::exchange::request::Request;
use crate::exchange::trace::Timings;
use crate::fingerprint::profile::WireProtocol;
use crate::proxy::Proxy;

/// A response, and the HTTP/1.1 connection to return to the pool after its body.
type PooledResponse = (HttpResponse<Incoming>, Option<CheckedOut>);

/// An HTTP proxy that gets the request itself, because there is no tunnel, and its answers to challenges.
struct ForwardProxy<'a> {
    proxy: &'a Proxy,
    digest: Option<std::sync::Arc<DigestAuth>>,
    challenges: u32,
}

impl ForwardProxy<'_> {
    /// Returns the value of `Proxy-Authorization`.
    fn authorization(&self, request: &Request) -> Option<HeaderValue> {
        match &self.digest {
            Some(digest) => {
                digest.authorization(request.method.as_str(), &headers::absolute_form(&request.url))
            }
            None => {
                self.proxy.credentials().map(|(user, password)| headers::basic_auth(user, password.expose()))
            }
        }
    }

    /// Whether the request is repeated, because the proxy refused it with a challenge that can be answered.
    fn answers_challenge(&mut self, headers: &http::HeaderMap) -> bool {
        let is_first = self.challenges == 0;
        let accepts = |digest: &DigestAuth| digest.accept(headers, &header::PROXY_AUTHENTICATE, is_first);
        let answers = self.challenges < MAX_CHALLENGES && self.digest.as_deref().is_some_and(accepts);
        self.challenges += u32::from(answers);
        answers
    }
}

impl HttpClient {
    /// Sends one request and reads the response headers, on a pooled or a new connection. A pooled connection
    /// that turns out to be closed is replaced once.
    pub(super) async fn send_once(
        &self,
        call: AttemptRequest<'_>,
        chain: &RedirectChain,
        cookies: &[(String, String)],
        timings: &mut Timings,
    ) -> Result<PooledResponse> {
        let started = Instant::now();
        // As in Chromium, a script's cross-origin request without credentials has a connection of its own.
        let anonymous = call.is_browser()
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
        let forward = proxy.filter(|proxy| !key.tls && !proxy.scheme().is_socks());
        let mut forward = forward.map(|proxy| ForwardProxy {
            proxy,
            digest: self.connector.proxy_digest(proxy),
            challenges: 0,
        });
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
            let fields =
                wire_headers(&call, chain, cookies, wire_protocol(&connection, &key), forward.as_ref())?;
            call.report_phase(FetchPhase::Response);
            let sent = self.send(&call, &key, connection, fields, forward.is_some()).await?;
            match self.judge(sent, &call, &key, reused, (&mut fresh, &mut is_downgraded))? {
                Some(response) => {
                    timings.first_byte = started.elapsed();
                    match &mut forward {
                        Some(forward) if response.0.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                            if !forward.answers_challenge(response.0.headers()) {
                                return Err(connect::http_proxy::refusal_error(forward.proxy, 407));
                            }
                            fresh = true;
                        }
                        _ => return Ok(response),
                    }
                }
                None => self.pool.remove_shared(&key),
            }
        }
    }

    /// Returns the response, or `None` if the connection failed and the request is sent again. `fresh`: only on a
    /// new connection; `is_downgraded`: over HTTP/1.1.
    fn judge(
        &self,
        sent: Result<PooledResponse, SendError>,
        call: &AttemptRequest<'_>,
        key: &ConnectionKey,
        reused: bool,
        (fresh, is_downgraded): (&mut bool, &mut bool),
    ) -> Result<Option<PooledResponse>> {
        match sent {
            // The server closed an idle connection because it timed out, at the moment it was reused.
            Ok(response) if reused && !*fresh && response.0.status() == StatusCode::REQUEST_TIMEOUT => {}
            Ok(response) => return Ok(Some(response)),
            Err(SendError::RequiresHttp1(_)) if !*is_downgraded => {
                self.pool.require_http1(key);
                *is_downgraded = true;
            }
            Err(SendError::Unsent(_)) if !*fresh => {}
            // The server may close an idle connection at the moment it is reused.
            Err(SendError::Broken(_)) if reused && call.request.method.is_safe() => {}
            Err(SendError::Unsent(error) | SendError::RequiresHttp1(error) | SendError::Broken(error)) => {
                return Err(error);
            }
        }
        *fresh = true;
        Ok(None)
    }

    /// Returns the connection, unless the request may not be sent to its address.
    fn check_peer(
        &self,
        call: &AttemptRequest<'_>,
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

    /// Sends the request and waits for the head of the response.
    async fn send(
        &self,
        call: &AttemptRequest<'_>,
        key: &ConnectionKey,
        connection: PooledConn,
        fields: headers::WireHeaders,
        absolute: bool,
    ) -> Result<Result<PooledResponse, SendError>> {
        let progress = exchange::UploadProgress::default();
        let sending = async {
            match connection {
                PooledConn::Http2(mut shared) => {
                    Ok((exchange::send_http2(&mut shared, call.request, fields, &progress).await?, None))
                }
                PooledConn::Http1(mut sender) => {
                    let response =
                        exchange::send_http1(&mut sender, call.request, fields, absolute, &progress).await?;
                    Ok((response, Some(self.pool.track_checked_out(key, sender))))
                }
            }
        };
        progress.run_with_idle_timeout(call.limits.first_byte, sending).await.ok_or_else(|| {
            // A connection without a response is not reused.
            self.pool.remove_shared(key);
            let message =
                format!("timed out after {:?} waiting for the response headers", call.limits.first_byte);
            Error::new(ErrorKind::Timeout, message)
        })
    }

    /// Opens a connection, or shares one that another request opened meanwhile.
    async fn connect(
        &self,
        call: &AttemptRequest<'_>,
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

/// Builds the header fields of the request, and reports them to a caller that captures requests.
fn wire_headers(
    call: &AttemptRequest<'_>,
    chain: &RedirectChain,
    cookies: &[(String, String)],
    protocol: WireProtocol,
    forward: Option<&ForwardProxy<'_>>,
) -> Result<headers::WireHeaders> {
    let proxy_authorization = forward.and_then(|forward| forward.authorization(call.request));
    let hints = call.identity.client_hints();
    let context = headers::HeaderContext { protocol, chain, hints, cookies, proxy_authorization };
    let fields = headers::build(call.identity.profile(), call.request, &context)?;
    if let Some(hooks) = call.hooks.filter(|hooks| hooks.wants_request_capture()) {
        let is_http2 = protocol == WireProtocol::Http2;
        hooks.on_request_sent(request_capture::capture(call.request, is_http2, &fields));
    }
    Ok(fields)
}

fn wire_protocol(connection: &PooledConn, key: &ConnectionKey) -> WireProtocol {
    match (connection, key.tls) {
        (PooledConn::Http2(_), _) => WireProtocol::Http2,
        (PooledConn::Http1(_), true) => WireProtocol::Http1,
        // Chrome treats a loopback host without TLS as trustworthy.
        (PooledConn::Http1(_), false) if is_loopback(&key.host) => WireProtocol::Http1,
        (PooledConn::Http1(_), false) => WireProtocol::Cleartext,
    }
}

fn connection_key(call: &AttemptRequest<'_>, anonymous: bool) -> Result<ConnectionKey> {
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

fn is_loopback(host: &str) -> bool {
    is_localhost(host)
        || host.trim_matches(['[', ']']).parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// The challenges of a proxy that one request answers: a first one, and stale nonces.
const MAX_CHALLENGES: u32 = 3;
