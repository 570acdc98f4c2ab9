//! Waits for a page: deadlines, settling, selectors and challenges.

use std::time::{Duration, Instant};

use chromiumoxide_cdp::cdp::browser_protocol::dom;

use super::super::error;
use super::super::page_events::{PageState, WaitStep};
use super::{Page, PageTask};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::settings::limits::Limits;
use crate::text::redact;
use crate::transport::chromium::error::CdpError;

/// The deadlines of the parts of a visit.
#[derive(Clone, Copy)]
pub(super) struct Deadlines {
    /// For the site's first response.
    start: Instant,
    /// For the parsed document.
    navigation: Instant,
    /// For all waiting. The time from here to `total` is for reading the page.
    pub(super) work: Instant,
    pub(super) total: Instant,
}

impl Deadlines {
    /// Returns the deadlines of a visit that begins now.
    pub(super) fn new(limits: &Limits, total: Instant) -> Self {
        let now = Instant::now();
        let after = |limit: Duration| now.checked_add(limit).map_or(total, |end| end.min(total));
        Self {
            start: after(limits.browser_start),
            navigation: after(limits.browser_navigation),
            work: total.checked_sub(READ_RESERVE).unwrap_or(total),
            total,
        }
    }

    /// Returns the deadlines of another document in the same visit.
    pub(super) fn restarted(&self, limits: &Limits) -> Self {
        Self::new(limits, self.total)
    }
}

impl Page {
    /// Waits until the document is parsed and the network is idle, or the time is up. Returns whether it settled.
    pub(super) async fn settle(&self, visit: &PageTask<'_>, deadlines: &Deadlines) -> Result<bool> {
        let settle_from = |now: Instant| {
            now.checked_add(visit.limits.browser_settle).map_or(deadlines.work, |end| end.min(deadlines.work))
        };
        let mut settle = settle_from(Instant::now());
        let mut refreshes = self.watcher.with_state(|state| state.refresh_count);
        let parsed = deadlines.navigation.min(deadlines.work);
        self.watcher
            .wait_until(|state, now| {
                if let WaitStep::Done(error) = find_failure(state, visit.limits) {
                    return WaitStep::Done(Err(error));
                }
                if let Some(text) = &state.error_page {
                    return WaitStep::Done(Err(error::navigation_error(text)));
                }
                if state.offered_file().is_some() {
                    return WaitStep::Done(Ok(false));
                }
                if refreshes != state.refresh_count {
                    // The document after a refresh has as much time as after a redirect.
                    (refreshes, settle) = (state.refresh_count, settle_from(now));
                }
                if state.current_document.is_none() {
                    // There is nothing to read, so no time is reserved for reading.
                    let due = deadlines.navigation;
                    return if now >= due {
                        WaitStep::Done(Err(timeout_error(state, visit.limits)))
                    } else {
                        WaitStep::At(due)
                    };
                }
                let mut wake = if state.dom_ready { settle } else { parsed };
                if let Some(scheduled) = state.scheduled {
                    wake = wake.max(scheduled.until).min(deadlines.work);
                }
                if now >= wake {
                    return WaitStep::Done(Ok(false));
                }
                match state.check_idle(NETWORK_IDLE_TIME, now) {
                    WaitStep::Done(()) => WaitStep::Done(Ok(true)),
                    WaitStep::Event => WaitStep::At(wake),
                    WaitStep::At(idle) => WaitStep::At(idle.min(wake)),
                }
            })
            .await
    }

    /// Waits until the visit fails: the site does not respond in time, no document loads in time, or the page ends.
    pub(super) async fn wait_for_failure(&self, visit: &PageTask<'_>, deadlines: &Deadlines) -> Error {
        self.watcher
            .wait_until(|state, now| {
                if let WaitStep::Done(error) = find_failure(state, visit.limits) {
                    return WaitStep::Done(error);
                }
                let responded = state.pending_document.as_ref().is_some_and(|pending| {
                    pending.response().is_some()
                        || pending.exchange.fields.is_some()
                        || !pending.redirects.is_empty()
                });
                let due = if responded || state.current_document.is_some() {
                    deadlines.navigation
                } else {
                    deadlines.start
                };
                if now >= due {
                    WaitStep::Done(timeout_error(state, visit.limits))
                } else {
                    WaitStep::At(due)
                }
            })
            .await
    }

    /// Checks the syntax of `selector` on the blank page, where the browser cannot reject it for another reason.
    pub(super) async fn check_selector(&self, selector: &str, deadline: Instant) -> Result<()> {
        match self.matches(selector, deadline.saturating_duration_since(Instant::now())).await {
            Ok(_) => Ok(()),
            Err(CdpError::Protocol(_)) => {
                let selector = redact::escape_terminal(selector);
                Err(Error::new(ErrorKind::InvalidRequest, format!("`{selector}` is not a CSS selector")))
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// Waits until `selector` matches.
    pub(super) async fn wait_for_selector(&self, selector: &str, deadline: Instant) -> Result<()> {
        let mut next_closed = Instant::now();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let selector = redact::escape_terminal(selector);
                let message = format!("timed out waiting for an element that matches `{selector}`");
                return Err(Error::new(ErrorKind::Timeout, message)
                    .with_hint("check the CSS selector against the page, or allow more time"));
            }
            let matched = match self.matches(selector, left).await {
                Ok(false) if Instant::now() >= next_closed => {
                    let found = self.matches_in_closed_trees(selector, left).await;
                    next_closed = Instant::now() + CLOSED_POLL;
                    found
                }
                matched => matched,
            };
            match matched {
                Ok(true) => return Ok(()),
                Err(fault @ (CdpError::BrowserClosed | CdpError::PageClosed)) => return Err(fault.into()),
                // The page may be navigating: try again.
                Ok(false) | Err(_) => tokio::time::sleep(POLL.min(left)).await,
            }
        }
    }

    async fn matches(&self, selector: &str, limit: Duration) -> Result<bool, CdpError> {
        let root = self.run(&dom::GetDocumentParams { depth: Some(0), pierce: None }, limit).await?.root;
        let found = self.run(&dom::QuerySelectorParams::new(root.node_id, selector), limit).await?;
        if *found.node_id.inner() != 0 {
            return Ok(true);
        }
        let Ok(quoted) = serde_json::to_string(selector) else { return Ok(false) };
        self.evaluate((&self.session, &self.target), &format!("({FIND_IN_SHADOW_TREES})({quoted})"), limit)
            .await
    }

    /// Whether the page has crashed or is closed.
    pub(super) fn has_ended(&self) -> bool {
        self.watcher.with_state(PageState::has_ended)
    }

    /// Whether requests of the page are in flight.
    pub(super) fn has_requests(&self) -> bool {
        self.watcher.with_state(PageState::has_requests)
    }

    /// Waits for a new document, at most [`CHALLENGE_POLL`] and until `until`. Returns whether to check again.
    pub(super) async fn wait_for_change(&self, until: Instant) -> bool {
        let before = self.watcher.with_state(|state| state.document_count);
        let poll = (Instant::now() + CHALLENGE_POLL).min(until);
        self.watcher
            .wait_until(|state, now| {
                if now >= until || state.has_ended() {
                    WaitStep::Done(false)
                } else if state.document_count != before || now >= poll {
                    WaitStep::Done(true)
                } else {
                    WaitStep::At(poll)
                }
            })
            .await
    }
}

/// Returns the error that ends the visit, if one occurred.
pub(super) fn find_failure(state: &PageState, limits: &Limits) -> WaitStep<Error> {
    if state.has_ended() {
        return WaitStep::Done(CdpError::PageClosed.into());
    }
    let documents = [&state.pending_document, &state.current_document];
    for document in documents.into_iter().flatten() {
        if document.redirects.len() > limits.max_redirects as usize {
            return WaitStep::Done(Error::new(
                ErrorKind::Redirect,
                format!("more than {} redirects", limits.max_redirects),
            ));
        }
        if document.received > limits.max_body {
            return WaitStep::Done(body_too_large_error(limits));
        }
    }
    match state.current_document.as_ref().and_then(|document| document.failed.as_deref()) {
        // A page that stops its loading or navigates elsewhere is not truncated.
        None | Some("net::ERR_ABORTED") => WaitStep::Event,
        Some(text) => WaitStep::Done(error::truncated_error(text)),
    }
}

fn timeout_error(state: &PageState, limits: &Limits) -> Error {
    let navigation = limits.browser_navigation.min(limits.browser_total);
    let message = match &state.pending_document {
        _ if state.current_document.is_some() => format!("the page was not ready within {navigation:?}"),
        Some(pending) if pending.response().is_some() || !pending.redirects.is_empty() => {
            format!("the browser showed no page within {navigation:?} of the request")
        }
        _ => format!(
            "the site did not respond to the browser within {:?}",
            limits.browser_start.min(limits.browser_total)
        ),
    };
    Error::new(ErrorKind::Timeout, message)
}

pub(super) fn body_too_large_error(limits: &Limits) -> Error {
    Error::new(ErrorKind::BodyTooLarge, format!("the page exceeds the limit of {} bytes", limits.max_body))
}

/// Returns the error for a file where the tier supports only a page.
pub(super) fn unexpected_file_error() -> Error {
    Error::new(ErrorKind::Browser, "the response is a file, not a page")
        .with_hint("fetch it with `--max-tier impersonate`")
}

/// Whether an element of an open shadow tree matches.
const FIND_IN_SHADOW_TREES: &str = "selector => {
    const find = root => {
        for (const { shadowRoot } of root.querySelectorAll('*')) {
            if (shadowRoot && (shadowRoot.querySelector(selector) || find(shadowRoot))) return true;
        }
        return false;
    };
    return find(document);
}";
/// A page is idle after this long without a request in flight.
const NETWORK_IDLE_TIME: Duration = Duration::from_millis(500);
const CHALLENGE_POLL: Duration = Duration::from_secs(1);
/// Part of the total time that is reserved for reading the page.
const READ_RESERVE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(100);
/// The time between two searches of closed shadow trees.
const CLOSED_POLL: Duration = Duration::from_secs(1);
