//! Navigates a page: interception rules for its requests, and responses without a document.

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chromiumoxide_cdp::cdp::browser_protocol::{fetch, network, page};
use http::{HeaderName, Method, StatusCode, header};
use url::Url;

use super::super::error;
use super::super::page_events::{InterceptRules, RequestContent, WaitStep};
use super::super::resource_blocking;
use super::super::response_head::ResponseHead;
use super::wait::{Deadlines, unexpected_file_error};
use super::{OPEN_LIMIT, Page, PageTask};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::request::{DefaultContentType, Request};
use crate::exchange::response::RawResponse;
use crate::settings::render::{BodySource, ResourceKind};
use crate::transport::chromium::error::CdpError;

impl Page {
    /// Navigates. Returns a response when there is no document to show: a 204, a status without a body, a file.
    pub(super) async fn load(
        &self,
        visit: &PageTask<'_>,
        deadlines: &Deadlines,
    ) -> Result<Option<RawResponse>> {
        let mut rules = intercept_rules(visit).await?;
        self.enable_interception(visit, &rules).await?;
        loop {
            match self.navigate(visit, visit.request.url.as_str(), deadlines).await? {
                Navigation::Document => return Ok(None),
                Navigation::Response(response) => return Ok(Some(*response)),
                // The browser detected a file by its bytes, which are lost now: request it again.
                Navigation::Download if !rules.file && visit.request.method.is_safe() => {
                    rules.file = true;
                    self.watcher.reset(rules.clone());
                }
                Navigation::Download => return Err(unexpected_file_error()),
            }
        }
    }

    /// Enables pausing of requests and responses, and blocking of resources.
    async fn enable_interception(&self, visit: &PageTask<'_>, rules: &InterceptRules) -> Result<()> {
        let responses = fetch::RequestPattern {
            resource_type: Some(network::ResourceType::Document),
            request_stage: Some(fetch::RequestStage::Response),
            ..Default::default()
        };
        let mut patterns = vec![responses];
        if let Some(origin) = &rules.header_origin {
            let own = origin.ascii_serialization();
            // Chromium compares with the whole URL, which may contain a user and a password.
            let with_user = own.replacen("://", "://*@", 1);
            for pattern in [own, with_user] {
                let url_pattern = Some(format!("{pattern}/*"));
                patterns.push(fetch::RequestPattern { url_pattern, ..Default::default() });
            }
        }
        if rules.pause_documents {
            patterns.push(fetch::RequestPattern {
                resource_type: Some(network::ResourceType::Document),
                request_stage: Some(fetch::RequestStage::Request),
                ..Default::default()
            });
        }
        patterns.extend(resource_blocking::request_patterns(&visit.render.block));
        self.watcher.set_rules(rules.clone());
        let handle_auth_requests = rules.digest.is_some().then_some(true);
        let enable = fetch::EnableParams { patterns: Some(patterns), handle_auth_requests };
        self.run(&enable, OPEN_LIMIT).await?;
        if visit.render.block.contains(&ResourceKind::Trackers) {
            self.run(&resource_blocking::block_trackers(), OPEN_LIMIT).await?;
        }
        Ok(())
    }

    /// Consults the hooks before each document request of the page, redirects included. Returns when a request is
    /// refused.
    pub(super) async fn gate_documents(&self, visit: &PageTask<'_>) -> Error {
        let Some(hooks) = visit.hooks else { return std::future::pending().await };
        loop {
            self.watcher
                .wait_until(|state, _| {
                    if state.pending_requests.is_empty() { WaitStep::Event } else { WaitStep::Done(()) }
                })
                .await;
            let Some((url, request)) = self.watcher.take_pending_request() else { continue };
            let permitted = match Url::parse(&url) {
                Ok(url) if matches!(url.scheme(), "http" | "https") => {
                    hooks.before_request(&url).await.map_err(|error| error.with_url(&url))
                }
                _ => Ok(()),
            };
            if let Err(error) = permitted {
                let reason = network::ErrorReason::BlockedByClient;
                let refuse = fetch::FailRequestParams::new(request.request_id.clone(), reason);
                self.connection.send_with_guard(Some(&self.session), &refuse, Box::new(()));
                return error;
            }
            self.connection.send_with_guard(Some(&self.session), &*request, Box::new(()));
        }
    }

    /// Navigates to `url`.
    pub(super) async fn navigate(
        &self,
        visit: &PageTask<'_>,
        url: &str,
        deadlines: &Deadlines,
    ) -> Result<Navigation> {
        let mut navigate = page::NavigateParams::new(url);
        let referer = visit.request.headers.iter().find(|(name, _)| *name == header::REFERER);
        if let Some(page) = referer.and_then(|(_, value)| value.to_str().ok()) {
            // The policy shortens it for other origins, also after redirects.
            navigate.referrer = Some(page.to_owned());
            navigate.referrer_policy = Some(page::ReferrerPolicy::StrictOriginWhenCrossOrigin);
        }
        let left = deadlines.total.saturating_duration_since(Instant::now());
        let file = self.watcher.wait_until(|state, _| match &state.paused {
            Some(paused) if paused.file => WaitStep::Done(()),
            _ => WaitStep::Event,
        });
        let reply = tokio::select! {
            biased;
            () = file => return self.read_file(visit, deadlines).await.map(Box::new).map(Navigation::Response),
            error = self.wait_for_failure(visit, deadlines) => return Err(error),
            reply = self.run(&navigate, left) => reply,
        };
        let reply = match reply {
            Ok(reply) => reply,
            Err(CdpError::TimedOut(_)) => {
                return Err(Error::new(ErrorKind::Timeout, "timed out waiting for the navigation to start"));
            }
            Err(fault) => return Err(fault.into()),
        };
        if reply.is_download == Some(true) || self.watcher.with_state(|state| state.download.is_some()) {
            return Ok(Navigation::Download);
        }
        match reply.error_text {
            None => Ok(Navigation::Document),
            Some(text) => {
                self.response_without_document(&text, visit).map(Box::new).map(Navigation::Response)
            }
        }
    }

    /// Returns the response of a navigation that showed no document, or an error.
    fn response_without_document(&self, text: &str, visit: &PageTask<'_>) -> Result<RawResponse> {
        let failed = self
            .watcher
            .with_state(|state| state.pending_document.clone().or_else(|| state.failed_document.clone()));
        let Some(document) = failed.filter(|document| document.response().is_some()) else {
            return Err(navigation_aborted_error(text));
        };
        let mut head = ResponseHead::from_document(&document, None, visit.limits)?;
        let empty = match text.trim_start_matches("net::") {
            "ERR_ABORTED" => matches!(head.status.as_u16(), 204 | 205),
            "ERR_HTTP_RESPONSE_CODE_FAILURE" | "ERR_INVALID_AUTH_CREDENTIALS" => true,
            _ => false,
        };
        if head.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Err(proxy_refused_error());
        }
        if !empty {
            return Err(navigation_aborted_error(text));
        }
        head.output.usage.settled = true;
        Ok(head.into_response(Bytes::new()))
    }
}

/// Returns the error of a failed navigation. `ERR_ABORTED` means that the renderer crashed: the crash event may
/// arrive after the reply.
fn navigation_aborted_error(text: &str) -> Error {
    if text.trim_start_matches("net::") == "ERR_ABORTED" {
        return CdpError::PageClosed.into();
    }
    error::navigation_error(text)
}

/// The result of a navigation.
pub(super) enum Navigation {
    /// The page shows a document.
    Document,
    /// There is no document to show.
    Response(Box<RawResponse>),
    /// The browser started a download.
    Download,
}

/// Returns the rules for the page's requests: the caller's headers, method and body, only for requests to the
/// URL's origin, and the blocked resources.
async fn intercept_rules(visit: &PageTask<'_>) -> Result<InterceptRules> {
    let request: &Request = visit.request;
    let headers: Vec<(HeaderName, String)> = request
        .headers
        .iter()
        .filter(|(name, _)| !is_browser_header(name))
        .filter_map(|(name, value)| Some((name.clone(), value.to_str().ok()?.to_owned())))
        .collect();
    let body = match &request.body {
        Some(body) => Some(STANDARD.encode(body.read(MAX_BODY).await?)),
        None => None,
    };
    let content_type = request.body.as_ref().and_then(|body| match body.content_type() {
        DefaultContentType::Given(value) => value.to_str().ok().map(ToOwned::to_owned),
        DefaultContentType::Context | DefaultContentType::Absent => None,
    });
    let plain = matches!(request.method, Method::GET | Method::HEAD) && body.is_none();
    // The browser reports a challenge only of a request that is paused.
    let own = (!headers.is_empty() || !plain || request.digest.is_some()).then(|| request.url.origin());
    Ok(InterceptRules {
        headers,
        header_origin: own,
        first_request: (!plain).then(|| RequestContent {
            method: request.method.to_string(),
            body,
            content_type,
        }),
        digest: request.digest.clone().map(|digest| (request.url.origin(), digest)),
        block: visit.render.block.clone(),
        raw: visit.render.body == Some(BodySource::Raw),
        file: false,
        pause_documents: visit.hooks.is_some(),
        follows_refresh: request.follows_refresh,
        awaits_load: visit.render.frames,
    })
}

pub(super) fn proxy_refused_error() -> Error {
    Error::new(ErrorKind::Proxy, "the proxy refused the browser's connection or is unreachable")
}

/// Whether the browser writes this header itself, so that another value would contradict the page's view. Referer
/// and cookies are passed to the browser by other commands.
fn is_browser_header(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::USER_AGENT
            | header::COOKIE
            | header::HOST
            | header::CONTENT_LENGTH
            | header::CONNECTION
            | header::TRANSFER_ENCODING
            | header::ACCEPT_ENCODING
            | header::REFERER
    ) || name.as_str().starts_with("sec-")
        || name.as_str().starts_with("proxy-")
}

/// The maximum size of a request body, which is a command to the browser.
const MAX_BODY: u64 = 64 * 1024 * 1024;
