//! One page: opened, sent somewhere, waited for, read, closed.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chromiumoxide::cdp::browser_protocol::{dom, emulation, fetch, inspector, network, page, target};
use chromiumoxide::types::Command;
use http::{HeaderName, Method, header};

use super::answer::{self, Head};
use super::connection::Connection;
use super::faults::{self, Fault};
use super::targets::Targets;
use super::watch::{Document, PageState, Rewrite, Step, Watch};
use super::{BrowserOptions, StillChallenged};
use crate::bounds::Bounds;
use crate::error::{Error, Result};
use crate::kind::ErrorKind;
use crate::redact;
use crate::request::Request;
use crate::response::Answer;
use crate::view::View;

/// A page of ours. Dropping it closes it.
pub(super) struct Page {
    connection: Connection,
    target: String,
    session: String,
    watch: Arc<Watch>,
}

/// What a page is to do.
pub(super) struct Visit<'a> {
    pub request: &'a Request,
    pub bounds: &'a Bounds,
    pub view: &'a View,
    pub still_challenged: Option<&'a StillChallenged>,
    pub deadline: Instant,
}

impl Page {
    /// Opens a blank page in `context`; `held` is let go of when the page is closed.
    pub(super) async fn open(
        connection: Connection,
        targets: Arc<Targets>,
        context: &str,
        options: &BrowserOptions,
        max_body: u64,
        held: Box<dyn Any + Send + Sync>,
    ) -> Result<Self> {
        let expectation = targets.expect(context);
        let mut create = target::CreateTargetParams::new("about:blank");
        create.browser_context_id = Some(context.to_owned().into());
        // A window of its own: a tab behind another one is hidden and draws nothing.
        create.new_window = Some(true);
        let target: String = connection.run(None, &create, OPEN_LIMIT).await?.target_id.into();
        let attached = tokio::time::timeout(OPEN_LIMIT, targets.claim(&target)).await;
        drop(expectation);
        let close = target::CloseTargetParams::new(target.clone());
        let attached = match attached {
            Ok(Some(attached)) => attached,
            Ok(None) => return Err(Fault::Gone.into()),
            Err(_) => {
                connection.tell(None, &close, held);
                return Err(Fault::Slow("Target.attachedToTarget").into());
            }
        };
        for stray in targets.strays(context) {
            connection.tell(None, &target::CloseTargetParams::new(stray), Box::new(()));
        }
        targets.hold(&attached.session, held);
        let page = Self { connection, target, session: attached.session, watch: attached.watch };
        page.listen(options, max_body).await?;
        Ok(page)
    }

    async fn listen(&self, options: &BrowserOptions, max_body: u64) -> Result<()> {
        let room = i64::try_from(max_body).unwrap_or(i64::MAX / 4).saturating_add(1);
        let network = network::EnableParams {
            max_resource_buffer_size: Some(room),
            max_total_buffer_size: Some(room.saturating_mul(2)),
            ..network::EnableParams::default()
        };
        let (page, inspector) = (page::EnableParams::default(), inspector::EnableParams::default());
        let lifecycle = page::SetLifecycleEventsEnabledParams::new(true);
        tokio::try_join!(
            self.run(&page, OPEN_LIMIT),
            self.run(&network, OPEN_LIMIT),
            self.run(&inspector, OPEN_LIMIT),
            self.run(&lifecycle, OPEN_LIMIT),
        )?;
        if options.headful {
            self.run(&emulation::SetFocusEmulationEnabledParams::new(true), OPEN_LIMIT).await?;
        }
        Ok(())
    }

    /// Goes where `visit` says and brings back what is there when it has settled.
    pub(super) async fn visit(&self, visit: &Visit<'_>) -> Result<Answer> {
        if let Some(selector) = &visit.view.wait_for {
            self.check(selector, visit.deadline).await?;
        }
        self.dress(visit.request).await?;
        if let Some(answer) = self.navigate(visit).await? {
            return Ok(answer);
        }
        let mut settled = self.settle(visit).await?;
        let until = visit.deadline.checked_sub(LAST_LEG).unwrap_or(visit.deadline);
        let missed = match &visit.view.wait_for {
            Some(selector) => self.wait_for(selector, until).await.err(),
            None => None,
        };
        if let Some(error) = missed {
            // A refusal does not have the element either, and is the better answer.
            let refusal = match self.collect(visit).await {
                Ok((head, body)) => (head.status.as_u16() >= 400 || is_challenged(visit, &head, &body))
                    .then(|| head.with(body)),
                Err(_) => None,
            };
            return refusal.ok_or(error);
        }
        let (mut head, mut body) = self.collect(visit).await?;
        let until = until.min(Instant::now() + CHALLENGE_LIMIT);
        while is_challenged(visit, &head, &body) && self.moves_on(until).await {
            settled = self.settle(visit).await?;
            (head, body) = self.collect(visit).await?;
        }
        head.shown.used.settled = settled;
        if visit.request.method == Method::HEAD {
            body.clear();
        }
        Ok(head.with(body))
    }

    /// The caller's own headers, method and body, on requests to the URL's origin only.
    async fn dress(&self, request: &Request) -> Result<()> {
        let headers: Vec<(String, String)> = request
            .headers
            .iter()
            .filter(|(name, _)| !is_browsers_own(name))
            .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
            .collect();
        let body = request.body.as_ref().map(|body| STANDARD.encode(body));
        let plain = matches!(request.method, Method::GET | Method::HEAD) && body.is_none();
        if headers.is_empty() && plain {
            return Ok(());
        }
        let first = (!plain).then(|| (request.method.to_string(), body));
        self.watch.rewrite(Rewrite { headers, first });
        let origin = request.url.origin().ascii_serialization();
        let pattern =
            fetch::RequestPattern { url_pattern: Some(format!("{origin}/*")), ..Default::default() };
        let enable = fetch::EnableParams { patterns: Some(vec![pattern]), handle_auth_requests: None };
        self.run(&enable, OPEN_LIMIT).await?;
        Ok(())
    }

    /// Sends the page off. An answer when there will be no document: a 204, a status without body.
    async fn navigate(&self, visit: &Visit<'_>) -> Result<Option<Answer>> {
        let go = page::NavigateParams::new(visit.request.url.as_str());
        let left = visit.deadline.saturating_duration_since(Instant::now());
        let reply = tokio::select! {
            biased;
            end = self.watch.until(|state, _| trouble(state, visit.bounds)) => return Err(end),
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
            return Err(download());
        }
        match reply.error_text {
            None => Ok(None),
            Some(text) => self.without_document(&text, visit).map(Some),
        }
    }

    /// The answer behind a navigation that showed no document, if there is one.
    fn without_document(&self, text: &str, visit: &Visit<'_>) -> Result<Answer> {
        let refused = self.watch.read(|state| state.coming.clone().or_else(|| state.refused.clone()));
        let Some(document) = refused.filter(|document| document.response.is_some()) else {
            return Err(faults::navigation(text));
        };
        let mut head = Head::read(&document, None, visit.bounds)?;
        let empty = match text.trim_start_matches("net::") {
            "ERR_ABORTED" => matches!(head.status.as_u16(), 204 | 205),
            "ERR_HTTP_RESPONSE_CODE_FAILURE" | "ERR_INVALID_AUTH_CREDENTIALS" => true,
            _ => false,
        };
        if head.status == http::StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Err(refused_by_proxy());
        }
        if !empty {
            return Err(faults::navigation(text));
        }
        head.shown.used.settled = true;
        Ok(head.with(Bytes::new()))
    }

    /// Waits until the document is parsed and the network quiet, or long enough. Whether it came to rest.
    async fn settle(&self, visit: &Visit<'_>) -> Result<bool> {
        let enough = (Instant::now() + SETTLE_LIMIT)
            .min(visit.deadline.checked_sub(LAST_LEG).unwrap_or(visit.deadline));
        self.watch
            .until(|state, now| {
                if let Step::Done(error) = trouble(state, visit.bounds) {
                    return Step::Done(Err(error));
                }
                if let Some(text) = &state.broken {
                    return Step::Done(Err(faults::navigation(text)));
                }
                if now >= visit.deadline {
                    return Step::Done(Err(late(state)));
                }
                if state.dom_ready && now >= enough {
                    return Step::Done(Ok(false));
                }
                let wake = if state.dom_ready { enough } else { visit.deadline };
                match state.at_rest(QUIET, now) {
                    Step::Done(()) => Step::Done(Ok(true)),
                    Step::Event => Step::At(wake),
                    Step::At(rest) => Step::At(rest.min(wake)),
                }
            })
            .await
    }

    /// Whether `selector` is one, tried on the empty page: there nothing else can be refused.
    async fn check(&self, selector: &str, deadline: Instant) -> Result<()> {
        match self.matches(selector, deadline.saturating_duration_since(Instant::now())).await {
            Ok(_) => Ok(()),
            Err(Fault::Refused(_)) => {
                let shown = redact::terminal(selector);
                Err(Error::new(ErrorKind::InvalidRequest, format!("`{shown}` is not a CSS selector")))
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// Waits until `selector` matches.
    async fn wait_for(&self, selector: &str, deadline: Instant) -> Result<()> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let shown = redact::terminal(selector);
                return Err(Error::new(ErrorKind::Timeout, format!("nothing matched `{shown}` in time"))
                    .with_hint("check the CSS selector against the page, or allow more time"));
            }
            match self.matches(selector, left).await {
                Ok(true) => return Ok(()),
                Err(fault @ (Fault::Gone | Fault::PageGone)) => return Err(fault.into()),
                // The page may be moving on under our feet: look again.
                Ok(false) | Err(_) => tokio::time::sleep(POLL.min(left)).await,
            }
        }
    }

    async fn matches(&self, selector: &str, limit: Duration) -> Result<bool, Fault> {
        let root = self.run(&dom::GetDocumentParams { depth: Some(0), pierce: None }, limit).await?.root;
        let found = self.run(&dom::QuerySelectorParams::new(root.node_id, selector), limit).await?;
        Ok(*found.node_id.inner() != 0)
    }

    /// Waits for a new document or a little while, before `until`. Whether to look again.
    async fn moves_on(&self, until: Instant) -> bool {
        let before = self.watch.read(|state| state.documents);
        let look = (Instant::now() + CHALLENGE_POLL).min(until);
        self.watch
            .until(|state, now| {
                if now >= until || state.is_over() {
                    Step::Done(false)
                } else if state.documents != before || now >= look {
                    Step::Done(true)
                } else {
                    Step::At(look)
                }
            })
            .await
    }

    /// Reads the document: its DOM when it is markup, else its bytes.
    async fn collect(&self, visit: &Visit<'_>) -> Result<(Head, Bytes)> {
        let (document, url) = self.watch.read(|state| (state.current.clone(), state.url.clone()));
        let document: Document = document
            .ok_or_else(|| Error::new(ErrorKind::Browser, "the page shows nothing from the network"))?;
        let mut head = Head::read(&document, url.as_deref(), visit.bounds)?;
        if head.status == http::StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Err(refused_by_proxy());
        }
        let markup = document.response.as_ref().is_some_and(answer::is_markup);
        let (body, text) = tokio::select! {
            biased;
            end = self.watch.until(|state, _| trouble(state, visit.bounds)) => return Err(end),
            read = self.body(&document, markup, visit.deadline) => read?,
        };
        if body.len() as u64 > visit.bounds.max_body {
            return Err(too_large(visit.bounds));
        }
        if text {
            head.says_utf8();
        }
        Ok((head, body))
    }

    /// The body, and whether the browser decoded its characters.
    async fn body(&self, document: &Document, markup: bool, deadline: Instant) -> Result<(Bytes, bool)> {
        let left = || deadline.saturating_duration_since(Instant::now());
        if markup {
            let root = dom::GetDocumentParams { depth: Some(0), pierce: None };
            let root = self.run(&root, left()).await?.root;
            let outer =
                dom::GetOuterHtmlParams { node_id: Some(root.node_id), ..dom::GetOuterHtmlParams::default() };
            return Ok((self.run(&outer, left()).await?.outer_html.into(), true));
        }
        let body = network::GetResponseBodyParams::new(document.loader.clone());
        let body = self.run(&body, left()).await?;
        if !body.base64_encoded {
            return Ok((body.body.into(), true));
        }
        let bytes = STANDARD.decode(body.body).map_err(|cause| {
            Error::new(ErrorKind::Browser, "the browser's answer was not understood").with_source(cause)
        })?;
        Ok((bytes.into(), false))
    }

    async fn run<C: Command>(&self, command: &C, limit: Duration) -> Result<C::Response, Fault> {
        // A crashed page never answers.
        let over = self.watch.until(|state, _| if state.is_over() { Step::Done(()) } else { Step::Event });
        tokio::select! {
            answer = self.connection.run(Some(&self.session), command, limit) => answer,
            () = over => Err(Fault::PageGone),
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // What the page holds goes with its session.
        self.connection.tell(None, &target::CloseTargetParams::new(self.target.clone()), Box::new(()));
    }
}

fn is_challenged(visit: &Visit<'_>, head: &Head, body: &Bytes) -> bool {
    let judge = |judge: &StillChallenged| judge(head.status.as_u16(), &head.headers, &head.url, body);
    visit.still_challenged.is_some_and(judge)
}

/// Why waiting on is pointless, if it is.
fn trouble(state: &PageState, bounds: &Bounds) -> Step<Error> {
    if state.is_over() {
        return Step::Done(Fault::PageGone.into());
    }
    let documents = [&state.coming, &state.current];
    for document in documents.into_iter().flatten() {
        if document.redirects.len() > bounds.max_redirects as usize {
            return Step::Done(Error::new(
                ErrorKind::Redirect,
                format!("more than {} redirects", bounds.max_redirects),
            ));
        }
        let viewed =
            document.response.as_ref().is_some_and(|response| response.mime_type == "application/pdf");
        if viewed {
            // What it shows, and gives as the body, is its own viewer.
            return Step::Done(download());
        }
        if document.received > bounds.max_body {
            return Step::Done(too_large(bounds));
        }
    }
    Step::Event
}

fn late(state: &PageState) -> Error {
    let what = if state.current.is_none() { "did not answer" } else { "was not ready" };
    Error::new(ErrorKind::Timeout, format!("the page {what} in time"))
}

fn too_large(bounds: &Bounds) -> Error {
    Error::new(ErrorKind::BodyTooLarge, format!("the page is larger than {} bytes", bounds.max_body))
}

fn refused_by_proxy() -> Error {
    Error::new(ErrorKind::Proxy, "the proxy refused the browser, or could not be reached")
}

fn download() -> Error {
    Error::new(ErrorKind::Browser, "the answer is a file, not a page")
        .with_hint("get it with `--max-tier impersonate`")
}

/// Headers that the browser writes itself: another value would contradict what the page sees.
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
    ) || name.as_str().starts_with("sec-")
        || name.as_str().starts_with("proxy-")
}

/// To open a page, and for the commands that prepare it.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// No request in flight for this long: the page rests.
const QUIET: Duration = Duration::from_millis(500);
/// A page that never rests is taken as it is after this.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
/// A challenge that has not let go by then will not.
const CHALLENGE_LIMIT: Duration = Duration::from_secs(15);
const CHALLENGE_POLL: Duration = Duration::from_secs(1);
/// Kept of the total time for reading the page.
const LAST_LEG: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(100);
