//! The HTTP engine under both HTTP tiers: names, connections, TLS, exchange, redirects, bodies.

mod ahead;
mod decode;
mod dial;
mod dns;
pub(crate) mod dress;
mod exchange;
mod ffi;
mod guard;
mod hpack;
pub(crate) mod origin;
mod pool;
mod private;
mod redirect;
mod reframe;
mod roots;
mod scatter;
mod sent;
mod socks;
mod tls;
mod tunnel;
mod way;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Response as HttpResponse, StatusCode, Version, header};
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;
use wreq_proto::body::Incoming;

use crate::bounds::Bounds;
use crate::error::{Error, Result};
use crate::fingerprint::profile::Over;
use crate::identity::Identity;
use crate::kind::ErrorKind;
use crate::request::Request;
use crate::response::{Answer, Body, BodyStream, Hop, HttpVersion, Sent};
use crate::stage::Stage;
use crate::tier::Tier;
use crate::trace::Timings;

pub(crate) use dns::Overrides;
pub(crate) use roots::system as system_roots;
pub(crate) use tls::Trust;
pub(crate) use way::{Way, Ways, led_astray};

#[cfg(feature = "browser")]
pub(crate) use {
    tls::BoxIo,
    tunnel::{authorization as proxy_authorization, refused as refused_by_proxy},
    way::Metered,
};

use exchange::Failure;
use origin::Journey;
use pool::{Borrowed, Caps, Key, Lease, Pool, Room};

/// One request to make as one identity within bounds.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) request: &'a Request,
    pub(crate) identity: &'a Identity,
    pub(crate) bounds: &'a Bounds,
    pub(crate) streaming: bool,
    /// Who says whether a redirect may be followed.
    pub(crate) gate: Option<&'a dyn Gate>,
}

impl Call<'_> {
    fn at(&self, stage: fn(Tier) -> Stage) {
        if let Some(gate) = self.gate {
            gate.at(stage);
        }
    }
}

/// Asked before a redirect is followed, and told how the request goes on.
pub(crate) trait Gate: Send + Sync {
    /// Whether the browser, which follows redirects by itself, has to ask before each document too.
    #[cfg_attr(not(feature = "browser"), expect(dead_code, reason = "the browser tier alone reads it"))]
    fn is_strict(&self) -> bool {
        false
    }

    /// Ends when `url` may be asked for; the error says why it may not.
    fn pass<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<()>>;

    /// Whether [`sent`](Self::sent) is wanted: what nobody wants is not put together.
    fn wants_sent(&self) -> bool {
        false
    }

    /// Told a request as it leaves, the last one last.
    fn sent(&self, request: Sent) {
        let _ = request;
    }

    /// Told how far the attempt is: at this stage of its tier.
    fn at(&self, stage: fn(Tier) -> Stage) {
        let _ = stage;
    }
}

/// What was asked for, and with which cookies.
type Asked = (Method, Url, Vec<(String, String)>);

/// An answer's head with its body behind it, and the connection to give back after that.
type Answered = (HttpResponse<Incoming>, Option<Borrowed>);

/// The engine. Makes no connection until it is called.
pub(crate) struct Engine {
    ways: Arc<Ways>,
    tls: tls::Tls,
    pool: Pool,
}

impl Engine {
    pub(crate) fn new(ways: Arc<Ways>, trust: Trust) -> Result<Self> {
        Ok(Self { ways, tls: tls::Tls::new(trust)?, pool: Pool::new(Caps::default()) })
    }

    /// The same engine with at most so many connections open at once. Default: 1024.
    pub(crate) fn holding(mut self, connections: usize) -> Self {
        self.pool = Pool::new(Caps { total: connections.max(1), ..Caps::default() });
        self
    }

    /// Closes the idle connections of an identity that asks no more.
    pub(crate) fn forget(&self, identity: u64) {
        self.pool.forget(identity);
    }

    /// Makes `call`, follows its redirects, and returns the last answer with its body still coming.
    pub(crate) async fn fetch(&self, call: Call<'_>) -> Result<Answer> {
        let now = Instant::now();
        let deadline = now.checked_add(call.bounds.http_total).unwrap_or(now + FAR_FUTURE);
        timeout_at(deadline, self.follow(call, deadline)).await.unwrap_or_else(|_| {
            let message = format!("the attempt took longer than {:?}", call.bounds.http_total);
            Err(Error::new(ErrorKind::Timeout, message).with_url(&call.request.url))
        })
    }

    async fn follow(&self, call: Call<'_>, deadline: Instant) -> Result<Answer> {
        let limits = decode::Limits {
            read_idle: call.bounds.read_idle,
            deadline: (!call.streaming).then_some(deadline),
            max_body: if call.streaming { call.bounds.max_file } else { call.bounds.max_body },
        };
        let mut request = Cow::Borrowed(call.request);
        let mut journey = Journey::begin(&request);
        let mut hops: Vec<Hop> = Vec::new();
        let mut seen: Vec<Asked> = Vec::new();
        let mut timings = Timings::default();
        // The address asked for may be private; where it is not, what it leads to may not be either.
        let mut guarded = false;
        loop {
            let jar = call.identity.jar();
            let cookies = jar.pairs(&request.url);
            let is_same = |(method, url, sent): &Asked| {
                *method == request.method && *url == request.url && *sent == cookies
            };
            if seen.iter().any(is_same) {
                return Err(redirected_in_a_circle(&request.url, call.request));
            }
            let (response, borrowed) = self
                .once(Call { request: &request, ..call }, &journey, &cookies, guarded, &mut timings)
                .await
                .map_err(|error| error.with_url(&request.url))?;
            call.at(Stage::Body);
            let (mut head, incoming) = response.into_parts();
            check_head(&head.headers, call.bounds)?;
            call.identity.hints().note(&request.url, &head.headers);
            jar.store(&request.url, head.headers.get_all(header::SET_COOKIE));
            if let Some(next) = redirect::follow(&request, head.status, &head.headers)? {
                if hops.len() >= call.bounds.max_redirects as usize {
                    let message = format!("more than {} redirects", call.bounds.max_redirects);
                    return Err(Error::new(ErrorKind::Redirect, message).with_url(&call.request.url));
                }
                tracing::debug!(
                    status = head.status.as_u16(),
                    to = crate::redact::url(&next.url),
                    "redirected"
                );
                guarded = self.ways.guards(call.identity.route(), &call.request.url, call.bounds).await;
                if guarded && self.ways.is_private(call.identity.route(), &next.url, call.bounds).await {
                    return Err(led_astray(next.url.host_str().unwrap_or_default()));
                }
                if let Some(gate) = call.gate {
                    gate.pass(&next.url).await.map_err(|error| error.with_url(&next.url))?;
                }
                match exchange::unread(&mut head.extensions).filter(|_| is_browser(&call)) {
                    Some(unread) => unread.cancel(),
                    None => drain(decode::raw(incoming, borrowed, limits)).await,
                }
                journey.go_on(&next.url);
                seen.push((request.method.clone(), request.url.clone(), cookies));
                hops.push(Hop::new(request.url.clone(), head.status));
                request = Cow::Owned(next);
                continue;
            }
            let empty = request.method == Method::HEAD || is_bodiless(head.status);
            let body = if empty {
                drop(incoming);
                if let Some(borrowed) = borrowed {
                    borrowed.give_back().await;
                }
                Body::Whole(bytes::Bytes::new())
            } else {
                let raw = decode::raw(incoming, borrowed, limits);
                Body::Coming(decode::decoded(raw, &head.headers, limits).await?)
            };
            return Ok(Answer {
                status: head.status,
                version: version(head.version),
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
    async fn once(
        &self,
        call: Call<'_>,
        journey: &Journey,
        cookies: &[(String, String)],
        guarded: bool,
        timings: &mut Timings,
    ) -> Result<Answered> {
        let started = Instant::now();
        // A script's request to another origin takes no credentials along, and a connection of its own.
        let anonymous =
            is_browser(&call) && call.request.context.is_script() && journey.is_away() && cookies.is_empty();
        let key = key(&call, anonymous)?;
        let proxy = call.identity.route().proxy(&call.request.url);
        let way = Way {
            host: &key.host,
            port: key.port,
            proxy,
            guarded,
            bounds: call.bounds,
            meter: call.identity.meter(),
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
                    call.at(Stage::Connect);
                    // Boxed: it is large, and most requests need none.
                    Box::pin(self.connect(call.identity, &key, &way, fresh, timings)).await?
                }
            };
            let over = match (&lease, key.tls) {
                (Lease::Http2(_), _) => Over::H2,
                (Lease::Http1(_), true) => Over::H1,
                // Chrome trusts a loopback host without TLS as much as others with it.
                (Lease::Http1(_), false) if is_loopback(&key.host) => Over::H1,
                (Lease::Http1(_), false) => Over::Cleartext,
            };
            let proxy_authorization = proxied
                .and_then(|proxy| proxy.credentials())
                .map(|(user, password)| dress::basic(user, password.expose()));
            let hints = call.identity.hints();
            let occasion = dress::Occasion { over, journey, hints, cookies, proxy_authorization };
            let fields = dress::fields(call.identity.profile(), call.request, &occasion)?;
            if let Some(gate) = call.gate.filter(|gate| gate.wants_sent()) {
                gate.sent(sent::told(call.request, over == Over::H2, &fields));
            }
            call.at(Stage::Answer);
            let progress = exchange::Progress::default();
            let sending = self.send(lease, &key, call.request, fields, proxied.is_some(), &progress);
            let sent = progress.within(call.bounds.first_byte, sending).await.ok_or_else(|| {
                // A connection that swallows requests is not for the next one.
                self.pool.forget_shared(&key);
                let message = format!("no answer came within {:?}", call.bounds.first_byte);
                Error::new(ErrorKind::Timeout, message)
            })?;
            match sent {
                Ok(answered) => {
                    timings.first_byte = started.elapsed();
                    if let (Some(proxy), StatusCode::PROXY_AUTHENTICATION_REQUIRED) =
                        (proxied, answered.0.status())
                    {
                        return Err(tunnel::refused(proxy, 407));
                    }
                    return Ok(answered);
                }
                Err(Failure::Unsent(_)) if !fresh => fresh = true,
                // A server may close an idle connection at the very moment it is used.
                Err(Failure::Broken(_)) if reused && call.request.method.is_safe() => fresh = true,
                Err(Failure::Unsent(error) | Failure::Broken(error)) => return Err(error),
            }
            self.pool.forget_shared(&key);
        }
    }

    async fn send(
        &self,
        lease: Lease,
        key: &Key,
        request: &Request,
        fields: dress::Fields,
        absolute: bool,
        progress: &exchange::Progress,
    ) -> Result<Answered, Failure> {
        match lease {
            Lease::Http2(mut shared) => {
                Ok((exchange::send_http2(&mut shared, request, fields, progress).await?, None))
            }
            Lease::Http1(mut sender) => {
                let response = exchange::send_http1(&mut sender, request, fields, absolute, progress).await?;
                Ok((response, Some(self.pool.borrowed(key, sender))))
            }
        }
    }

    /// Opens a connection, or shares one that somebody opened meanwhile.
    async fn connect(
        &self,
        identity: &Identity,
        key: &Key,
        way: &Way<'_>,
        fresh: bool,
        timings: &mut Timings,
    ) -> Result<Lease> {
        let _turn = self.pool.turn(key).await;
        if !fresh && let Some(lease) = self.pool.checkout(key) {
            return Ok(lease);
        }
        let bounds = way.bounds;
        let permit = match self.pool.room(key, fresh, bounds.connect).await? {
            Room::New(permit) => permit,
            Room::Back(lease) => return Ok(lease),
        };
        let io = match way.proxy {
            // It takes the whole URL in place of a tunnel.
            Some(proxy) if !key.tls && !proxy.scheme().is_socks() => {
                self.ways.to_proxy(way, proxy, timings).await?
            }
            _ => self.ways.open(way, timings).await?,
        };
        if !key.tls {
            return Ok(Lease::Http1(exchange::begin_http1(io, bounds, permit).await?));
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
            let sender = exchange::begin_http2(Box::pin(stream), identity.profile(), permit).await?;
            self.pool.share(key, &sender);
            return Ok(Lease::Http2(sender));
        }
        self.pool.is_http1(key);
        Ok(Lease::Http1(exchange::begin_http1(Box::pin(stream), bounds, permit).await?))
    }
}

fn is_browser(call: &Call<'_>) -> bool {
    call.identity.profile().browser.is_some()
}

fn key(call: &Call<'_>, anonymous: bool) -> Result<Key> {
    let url = &call.request.url;
    let host = url.host_str().filter(|host| !host.is_empty());
    let (Some(host), Some(port)) = (host, url.port_or_known_default()) else {
        return Err(Error::new(ErrorKind::InvalidUrl, "the URL names no host"));
    };
    let tls = url.scheme() == "https";
    Ok(Key { identity: call.identity.key(), anonymous, tls, host: host.to_owned(), port })
}

fn check_head(headers: &HeaderMap, bounds: &Bounds) -> Result<()> {
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
async fn drain(mut body: BodyStream) {
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

fn redirected_in_a_circle(at: &Url, request: &Request) -> Error {
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

fn version(version: Version) -> HttpVersion {
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
