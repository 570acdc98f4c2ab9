//! Sending a page off: what its requests carry, and what came instead of a page.

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chromiumoxide::cdp::browser_protocol::{fetch, network, page};
use http::{HeaderName, Method, StatusCode, header};
use url::Url;

use super::super::answer::Head;
use super::super::block;
use super::super::faults::{self, Fault};
use super::super::watch::{Orders, Step};
use super::wait::{Deadlines, unexpected_file};
use super::{OPEN_LIMIT, Page, Visit};
use crate::error::{Error, Result};
use crate::kind::ErrorKind;
use crate::request::Request;
use crate::response::Answer;
use crate::view::{BodyForm, Load};

impl Page {
    /// Goes there. An answer when there is no document to show: a 204, a status without a body, a file.
    pub(super) async fn arrive(&self, visit: &Visit<'_>, deadlines: &Deadlines) -> Result<Option<Answer>> {
        let mut orders = orders(visit);
        self.dress(visit, &orders).await?;
        loop {
            match self.navigate(visit, deadlines).await? {
                Arrival::Document => return Ok(None),
                Arrival::Answer(answer) => return Ok(Some(*answer)),
                // Only its bytes told the browser that this is no page, and they are gone: ask once more.
                Arrival::Download if !orders.file && visit.request.method.is_safe() => {
                    orders.file = true;
                    self.watch.again(orders.clone());
                }
                Arrival::Download => return Err(unexpected_file()),
            }
        }
    }

    /// Tells the browser what is paused for us, and what is not loaded at all.
    async fn dress(&self, visit: &Visit<'_>, orders: &Orders) -> Result<()> {
        let answers = fetch::RequestPattern {
            resource_type: Some(network::ResourceType::Document),
            request_stage: Some(fetch::RequestStage::Response),
            ..Default::default()
        };
        let mut patterns = vec![answers];
        if let Some(origin) = &orders.own {
            let own = format!("{}/*", origin.ascii_serialization());
            patterns.push(fetch::RequestPattern { url_pattern: Some(own), ..Default::default() });
        }
        if orders.gated {
            patterns.push(fetch::RequestPattern {
                resource_type: Some(network::ResourceType::Document),
                request_stage: Some(fetch::RequestStage::Request),
                ..Default::default()
            });
        }
        patterns.extend(block::patterns(&visit.view.block));
        self.watch.order(orders.clone());
        let enable = fetch::EnableParams { patterns: Some(patterns), handle_auth_requests: None };
        self.run(&enable, OPEN_LIMIT).await?;
        if visit.view.block.contains(&Load::Trackers) {
            self.run(&block::trackers(), OPEN_LIMIT).await?;
        }
        Ok(())
    }

    /// Asks before each document of the page is asked for, redirects too. Ends when one may not be.
    pub(super) async fn keep_out(&self, visit: &Visit<'_>) -> Error {
        let Some(gate) = visit.gate else { return std::future::pending().await };
        loop {
            self.watch
                .until(|state, _| if state.waiting.is_empty() { Step::Event } else { Step::Done(()) })
                .await;
            let Some((url, request)) = self.watch.take_waiting() else { continue };
            let passed = match Url::parse(&url) {
                Ok(url) if matches!(url.scheme(), "http" | "https") => {
                    gate.pass(&url).await.map_err(|error| error.with_url(&url))
                }
                _ => Ok(()),
            };
            if let Err(error) = passed {
                let reason = network::ErrorReason::BlockedByClient;
                let refuse = fetch::FailRequestParams::new(request.request_id.clone(), reason);
                self.connection.tell(Some(&self.session), &refuse, Box::new(()));
                return error;
            }
            self.connection.tell(Some(&self.session), &*request, Box::new(()));
        }
    }

    async fn navigate(&self, visit: &Visit<'_>, deadlines: &Deadlines) -> Result<Arrival> {
        let mut go = page::NavigateParams::new(visit.request.url.as_str());
        let referer = visit.request.headers.iter().find(|(name, _)| *name == header::REFERER);
        if let Some(page) = referer.and_then(|(_, value)| value.to_str().ok()) {
            // How much of it another origin is told is the policy's to say, of redirects too.
            go.referrer = Some(page.to_owned());
            go.referrer_policy = Some(page::ReferrerPolicy::StrictOriginWhenCrossOrigin);
        }
        let left = deadlines.total.saturating_duration_since(Instant::now());
        let file = self.watch.until(|state, _| match &state.held {
            Some(held) if held.file => Step::Done(()),
            _ => Step::Event,
        });
        let reply = tokio::select! {
            biased;
            () = file => return self.file(visit, deadlines).await.map(Box::new).map(Arrival::Answer),
            error = self.missed(visit, deadlines) => return Err(error),
            reply = self.run(&go, left) => reply,
        };
        let reply = match reply {
            Ok(reply) => reply,
            Err(Fault::Slow(_)) => {
                return Err(Error::new(ErrorKind::Timeout, "the page did not answer in time"));
            }
            Err(fault) => return Err(fault.into()),
        };
        if reply.is_download == Some(true) || self.watch.read(|state| state.download) {
            return Ok(Arrival::Download);
        }
        match reply.error_text {
            None => Ok(Arrival::Document),
            Some(text) => self.without_document(&text, visit).map(Box::new).map(Arrival::Answer),
        }
    }

    /// The answer behind a navigation that showed no document, if there is one.
    fn without_document(&self, text: &str, visit: &Visit<'_>) -> Result<Answer> {
        let refused = self.watch.read(|state| state.coming.clone().or_else(|| state.refused.clone()));
        let Some(document) = refused.filter(|document| document.response.is_some()) else {
            return Err(given_up(text));
        };
        let mut head = Head::read(&document, None, visit.bounds)?;
        let empty = match text.trim_start_matches("net::") {
            "ERR_ABORTED" => matches!(head.status.as_u16(), 204 | 205),
            "ERR_HTTP_RESPONSE_CODE_FAILURE" | "ERR_INVALID_AUTH_CREDENTIALS" => true,
            _ => false,
        };
        if head.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Err(refused_by_proxy());
        }
        if !empty {
            return Err(given_up(text));
        }
        head.shown.used.settled = true;
        Ok(head.with(Bytes::new()))
    }
}

/// Why a navigation came to nothing. One that the browser gave up by itself lost its renderer: word of the
/// crash may come later than the answer.
fn given_up(text: &str) -> Error {
    if text.trim_start_matches("net::") == "ERR_ABORTED" {
        return Fault::PageGone.into();
    }
    faults::navigation(text)
}

/// What came of sending a page off.
enum Arrival {
    /// The page shows it.
    Document,
    /// There is nothing to show.
    Answer(Box<Answer>),
    /// The browser wanted to save it.
    Download,
}

/// What becomes of the page's requests: the caller's own headers, method and body, on requests to the URL's origin
/// only; what is not loaded.
fn orders(visit: &Visit<'_>) -> Orders {
    let request: &Request = visit.request;
    let headers: Vec<(HeaderName, String)> = request
        .headers
        .iter()
        .filter(|(name, _)| !is_browsers_own(name))
        .filter_map(|(name, value)| Some((name.clone(), value.to_str().ok()?.to_owned())))
        .collect();
    let body = request.body.as_ref().map(|body| STANDARD.encode(body));
    let plain = matches!(request.method, Method::GET | Method::HEAD) && body.is_none();
    let own = (!headers.is_empty() || !plain).then(|| request.url.origin());
    Orders {
        headers,
        own,
        first: (!plain).then(|| (request.method.to_string(), body)),
        block: visit.view.block.clone(),
        raw: visit.view.body == Some(BodyForm::Raw),
        file: false,
        gated: visit.gate.is_some(),
    }
}

pub(super) fn refused_by_proxy() -> Error {
    Error::new(ErrorKind::Proxy, "the proxy refused the browser, or could not be reached")
}

/// Headers that the browser writes itself: another value would contradict what the page sees. It is told the page that
/// a navigation comes from, and the cookies.
fn is_browsers_own(name: &HeaderName) -> bool {
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
