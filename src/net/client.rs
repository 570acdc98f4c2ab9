//! The HTTP client: sends a request and follows redirects and refreshes.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, Method, StatusCode, Version, header};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use url::{Position, Url};
use wreq_proto::body::Incoming;

use super::body::{self, BodyLimits};
use super::connect::{Connector, private_address_error};
use super::exchange;
use super::fetch_metadata::RedirectChain;
use super::hooks::{AttemptRequest, RequestHooks, ResponseHead};
use super::pool::{CheckedOut, Pool, PoolConfig};
use super::redirect;
use super::refresh::{self, Refresh};
use super::tls::{TlsConnector, TrustConfig};
use super::wire_url;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::phase::FetchPhase;
use crate::exchange::request::Request;
use crate::exchange::response::{Body, BodyStream, HttpVersion, RawResponse, ReceivedHead, Redirect};
use crate::exchange::trace::Timings;
use crate::identity::hsts::HstsStore;
use crate::settings::limits::Limits;

/// A request of the redirect chain: URL and cookies.
type VisitedRequest = (Url, Vec<(String, String)>);

/// The HTTP client. Opens no connection before the first request.
pub(crate) struct HttpClient {
    pub(super) connector: Arc<Connector>,
    pub(super) tls: TlsConnector,
    pub(super) pool: Pool,
    hsts: Option<HstsStore>,
}

/// Where a chain of redirects is.
struct RedirectState<'a> {
    /// The next request.
    request: Cow<'a, Request>,
    chain: RedirectChain,
    redirects: Vec<Redirect>,
    visited: Vec<VisitedRequest>,
    timings: Timings,
    /// How many Digest challenges were answered.
    challenges: u32,
}

/// The head of a response, and its body that was not read yet.
struct Answer {
    head: http::response::Parts,
    received: ReceivedHead,
    incoming: Incoming,
    checked_out: Option<CheckedOut>,
}

impl HttpClient {
    pub(crate) fn new(connector: Arc<Connector>, trust: TrustConfig) -> Result<Self> {
        let (tls, pool) = (TlsConnector::new(trust)?, Pool::new(PoolConfig::default()));
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
    pub(crate) async fn execute(&self, call: AttemptRequest<'_>) -> Result<RawResponse> {
        let now = Instant::now();
        let deadline = now.checked_add(call.limits.http_total).unwrap_or(now + FAR_FUTURE);
        timeout_at(deadline, self.follow_redirects(call, deadline)).await.unwrap_or_else(|_| {
            let message = format!("the attempt timed out after {:?}", call.limits.http_total);
            Err(Error::new(ErrorKind::Timeout, message).with_url(&call.request.url))
        })
    }

    async fn follow_redirects(&self, call: AttemptRequest<'_>, deadline: Instant) -> Result<RawResponse> {
        let limits = BodyLimits {
            read_idle: call.limits.read_idle,
            deadline: (!call.streaming).then_some(deadline),
            max_body: if call.streaming { call.limits.max_file } else { call.limits.max_body },
        };
        let request = self.upgrade(wire_url::escape_path(Cow::Borrowed(call.request), call.is_browser()));
        let mut state = RedirectState {
            chain: RedirectChain::new(&request),
            request,
            redirects: Vec::new(),
            visited: Vec::new(),
            timings: Timings::default(),
            challenges: 0,
        };
        loop {
            let cookies = call.identity.jar().pairs(&state.request.url);
            let answer = self.request(&call, &mut state, &cookies).await?;
            if state.challenges < MAX_CHALLENGES
                && may_answer_challenge(&state.request, &answer.head, state.challenges == 0)
            {
                state.challenges += 1;
                if let Some(hooks) = call.hooks {
                    let url = &state.request.url;
                    hooks.before_request(url).await.map_err(|error| error.with_url(url))?;
                }
                drain_body(body::read_raw(answer.incoming, answer.checked_out, limits)).await;
                continue;
            }
            let Answer { head, .. } = &answer;
            if let Some(next) = redirect::next_request(&state.request, head.status, &head.headers)? {
                self.follow_redirect(&call, &mut state, answer, next, limits).await?;
                continue;
            }
            if let Some(response) = self.finish(&call, &mut state, answer, cookies, limits).await? {
                return Ok(response);
            }
        }
    }

    /// Sends the request of `state` and records what the head of the response says to the identity.
    async fn request(
        &self,
        call: &AttemptRequest<'_>,
        state: &mut RedirectState<'_>,
        cookies: &[(String, String)],
    ) -> Result<Answer> {
        let RedirectState { request, chain, redirects, timings, .. } = state;
        let current = AttemptRequest { request, ..*call };
        let (response, checked_out) =
            self.send_once(current, chain, cookies, timings).await.map_err(|error| {
                let error = error.with_url(&request.url);
                // A server has answered an earlier request of the chain.
                if redirects.is_empty() { error } else { error.mark_sent() }
            })?;
        call.report_phase(FetchPhase::Body);
        let (mut head, incoming) = response.into_parts();
        check_header_count(&head.headers, call.limits)?;
        let received = exchange::take_received(&mut head.extensions);
        call.identity.client_hints().record(&request.url, &head.headers);
        call.identity.jar().store(&request.url, head.headers.get_all(header::SET_COOKIE));
        if let Some(hsts) = &self.hsts {
            hsts.learn(&request.url, &head.headers);
        }
        Ok(Answer { head, received, incoming, checked_out })
    }

    /// Makes `next` the request of `state`, if it is approved.
    async fn follow_redirect(
        &self,
        call: &AttemptRequest<'_>,
        state: &mut RedirectState<'_>,
        answer: Answer,
        next: Request,
        limits: BodyLimits,
    ) -> Result<()> {
        let Answer { mut head, received, incoming, checked_out } = answer;
        let mut next = wire_url::escape_path(Cow::Owned(next), call.is_browser());
        if state.request.auto_referer {
            redirect::set_referer(next.to_mut(), &state.request.url);
        }
        state.chain.push(&next.url);
        let next = self.upgrade(next);
        self.approve_redirect(call, head.status, &next, state.redirects.len()).await?;
        match exchange::take_unread(&mut head.extensions).filter(|_| call.is_browser()) {
            Some(unread) => unread.cancel(),
            None => drain_body(body::read_raw(incoming, checked_out, limits)).await,
        }
        if next.url.scheme() != state.chain.current().scheme() {
            state.chain.push(&next.url);
        }
        let redirect = Redirect::new(state.request.url.clone(), head.status, head.headers);
        state.redirects.push(redirect.with_received(received));
        state.request = Cow::Owned(next.into_owned());
        Ok(())
    }

    /// Returns the response with its body. If it has a refresh, the target becomes the request of `state` instead.
    async fn finish(
        &self,
        call: &AttemptRequest<'_>,
        state: &mut RedirectState<'_>,
        answer: Answer,
        cookies: Vec<(String, String)>,
        limits: BodyLimits,
    ) -> Result<Option<RawResponse>> {
        let Answer { head, received, incoming, checked_out } = answer;
        let body = if state.request.method == Method::HEAD || is_bodiless(head.status) {
            drop(incoming);
            if let Some(checked_out) = checked_out {
                checked_out.release().await;
            }
            Body::Buffered(Bytes::new())
        } else {
            let raw = body::read_raw(incoming, checked_out, limits);
            Body::Streaming(body::decode(raw, &head.headers, limits).await?)
        };
        let current = AttemptRequest { request: &state.request, ..*call };
        let response = ResponseHead { status: head.status, headers: &head.headers, url: &state.request.url };
        let (refresh, body) = peek_refresh(&current, &response, body).await;
        if let Some((next, delay, page)) = self.next_refresh(&current, refresh, &cookies, &state.visited)? {
            self.approve_redirect(call, head.status, &next, state.redirects.len()).await?;
            drop(body);
            sleep(delay).await;
            state.chain = RedirectChain::new(&next);
            state.visited.push((state.request.url.clone(), cookies));
            let page = page.filter(|_| call.hooks.is_some_and(RequestHooks::wants_request_capture));
            let redirect = Redirect::new(state.request.url.clone(), head.status, head.headers);
            state.redirects.push(Redirect { received, page, ..redirect });
            state.request = Cow::Owned(next);
            return Ok(None);
        }
        Ok(Some(RawResponse {
            status: head.status,
            version: http_version(head.version),
            headers: head.headers,
            received,
            url: state.request.url.clone(),
            redirects: std::mem::take(&mut state.redirects),
            body,
            timings: state.timings,
            browser: None,
        }))
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
        call: &AttemptRequest<'_>,
        refresh: Option<FoundRefresh>,
        cookies: &[(String, String)],
        visited: &[VisitedRequest],
    ) -> Result<Option<(Request, Duration, Option<Bytes>)>> {
        let Some((refresh, page)) = refresh else { return Ok(None) };
        let Some(next) = refresh::next_request(call.request, &refresh.url, call.is_browser())? else {
            return Ok(None);
        };
        let next = self.upgrade(wire_url::escape_path(Cow::Owned(next), call.is_browser())).into_owned();
        let next_cookies = call.identity.jar().pairs(&next.url);
        let is_same = |url: &Url, sent: &[(String, String)]| {
            url[..Position::AfterQuery] == next.url[..Position::AfterQuery] && *sent == next_cookies
        };
        let is_repeated =
            is_same(&call.request.url, cookies) || visited.iter().any(|(url, sent)| is_same(url, sent));
        Ok((!is_repeated).then_some((next, refresh.delay, page)))
    }

    /// Checks that a redirect or a refresh may be followed after `count` others.
    async fn approve_redirect(
        &self,
        call: &AttemptRequest<'_>,
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
    call: &AttemptRequest<'_>,
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
