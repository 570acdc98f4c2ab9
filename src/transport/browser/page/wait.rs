//! How long a page is waited for, and for what.

use std::time::{Duration, Instant};

use chromiumoxide::cdp::browser_protocol::dom;

use super::super::error::{self, CdpError};
use super::super::page_events::{PageState, WaitStep};
use super::{Page, PageTask};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::limits::Limits;
use crate::redact;

/// When each part of a visit must be over.
#[derive(Clone, Copy)]
pub(super) struct Deadlines {
    /// The site's first answer.
    start: Instant,
    /// The document, parsed.
    navigation: Instant,
    /// All waiting: what is left until `total` is for reading the page.
    pub(super) work: Instant,
    pub(super) total: Instant,
}

impl Deadlines {
    /// Those of a visit that begins now.
    pub(super) fn new(bounds: &Limits, total: Instant) -> Self {
        let now = Instant::now();
        let after = |limit: Duration| now.checked_add(limit).map_or(total, |end| end.min(total));
        Self {
            start: after(bounds.browser_start),
            navigation: after(bounds.browser_navigation),
            work: total.checked_sub(READ_RESERVE).unwrap_or(total),
            total,
        }
    }

    /// Those of another document of the same visit.
    pub(super) fn restarted(&self, bounds: &Limits) -> Self {
        Self::new(bounds, self.total)
    }
}

impl Page {
    /// Waits until the document is parsed and the network quiet, or long enough. Whether it came to rest.
    pub(super) async fn settle(&self, visit: &PageTask<'_>, deadlines: &Deadlines) -> Result<bool> {
        let begun = Instant::now();
        let enough = begun
            .checked_add(visit.limits.browser_settle)
            .map_or(deadlines.work, |end| end.min(deadlines.work));
        let parsed = deadlines.navigation.min(deadlines.work);
        self.watcher
            .wait_until(|state, now| {
                if let WaitStep::Done(error) = find_failure(state, visit.limits) {
                    return WaitStep::Done(Err(error));
                }
                if let Some(text) = &state.error_page {
                    return WaitStep::Done(Err(error::navigation_error(text)));
                }
                if state.current_document.is_none() {
                    // There is nothing to read: no time has to be kept for it.
                    let due = deadlines.navigation;
                    return if now >= due {
                        WaitStep::Done(Err(timeout_error(state, visit.limits)))
                    } else {
                        WaitStep::At(due)
                    };
                }
                let wake = if state.dom_ready { enough } else { parsed };
                if now >= wake {
                    return WaitStep::Done(Ok(false));
                }
                match state.check_idle(NETWORK_IDLE_TIME, now) {
                    WaitStep::Done(()) => WaitStep::Done(Ok(true)),
                    WaitStep::Event => WaitStep::At(wake),
                    WaitStep::At(rest) => WaitStep::At(rest.min(wake)),
                }
            })
            .await
    }

    /// Ends when the site has not answered, or no document has come, in time, or nothing can come any more.
    pub(super) async fn wait_for_failure(&self, visit: &PageTask<'_>, deadlines: &Deadlines) -> Error {
        self.watcher
            .wait_until(|state, now| {
                if let WaitStep::Done(error) = find_failure(state, visit.limits) {
                    return WaitStep::Done(error);
                }
                let answered = state.pending_document.as_ref().is_some_and(|coming| {
                    coming.response.is_some() || coming.fields.is_some() || !coming.redirects.is_empty()
                });
                let due = if answered || state.current_document.is_some() {
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

    /// Whether `selector` is one, tried on the empty page: there nothing else can be refused.
    pub(super) async fn check_selector(&self, selector: &str, deadline: Instant) -> Result<()> {
        match self.matches(selector, deadline.saturating_duration_since(Instant::now())).await {
            Ok(_) => Ok(()),
            Err(CdpError::Protocol(_)) => {
                let shown = redact::escape_terminal(selector);
                Err(Error::new(ErrorKind::InvalidRequest, format!("`{shown}` is not a CSS selector")))
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// Waits until `selector` matches.
    pub(super) async fn wait_for_selector(&self, selector: &str, deadline: Instant) -> Result<()> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let shown = redact::escape_terminal(selector);
                return Err(Error::new(ErrorKind::Timeout, format!("nothing matched `{shown}` in time"))
                    .with_hint("check the CSS selector against the page, or allow more time"));
            }
            match self.matches(selector, left).await {
                Ok(true) => return Ok(()),
                Err(fault @ (CdpError::BrowserClosed | CdpError::PageClosed)) => return Err(fault.into()),
                // The page may be moving on under our feet: look again.
                Ok(false) | Err(_) => tokio::time::sleep(POLL.min(left)).await,
            }
        }
    }

    async fn matches(&self, selector: &str, limit: Duration) -> Result<bool, CdpError> {
        let root = self.run(&dom::GetDocumentParams { depth: Some(0), pierce: None }, limit).await?.root;
        let found = self.run(&dom::QuerySelectorParams::new(root.node_id, selector), limit).await?;
        Ok(*found.node_id.inner() != 0)
    }

    /// Waits for a new document or a little while, before `until`. Whether to look again.
    pub(super) async fn wait_for_change(&self, until: Instant) -> bool {
        let before = self.watcher.with_state(|state| state.document_count);
        let look = (Instant::now() + CHALLENGE_POLL).min(until);
        self.watcher
            .wait_until(|state, now| {
                if now >= until || state.has_ended() {
                    WaitStep::Done(false)
                } else if state.document_count != before || now >= look {
                    WaitStep::Done(true)
                } else {
                    WaitStep::At(look)
                }
            })
            .await
    }
}

/// Why waiting on is pointless, if it is.
pub(super) fn find_failure(state: &PageState, bounds: &Limits) -> WaitStep<Error> {
    if state.has_ended() {
        return WaitStep::Done(CdpError::PageClosed.into());
    }
    let documents = [&state.pending_document, &state.current_document];
    for document in documents.into_iter().flatten() {
        if document.redirects.len() > bounds.max_redirects as usize {
            return WaitStep::Done(Error::new(
                ErrorKind::Redirect,
                format!("more than {} redirects", bounds.max_redirects),
            ));
        }
        let viewed =
            document.response.as_ref().is_some_and(|response| response.mime_type == "application/pdf");
        if viewed {
            // What it shows, and gives as the body, is its own viewer.
            return WaitStep::Done(unexpected_file_error());
        }
        if document.received > bounds.max_body {
            return WaitStep::Done(body_too_large_error(bounds));
        }
    }
    match state.current_document.as_ref().and_then(|shown| shown.failed.as_deref()) {
        // A page that stops its own loading, or goes elsewhere, is none that broke off.
        None | Some("net::ERR_ABORTED") => WaitStep::Event,
        Some(text) => WaitStep::Done(error::truncated_error(text)),
    }
}

fn timeout_error(state: &PageState, bounds: &Limits) -> Error {
    let message = match &state.pending_document {
        _ if state.current_document.is_some() => "the page was not ready in time".to_owned(),
        Some(coming) if coming.response.is_some() || !coming.redirects.is_empty() => {
            format!(
                "no page came within {:?} of asking for it",
                bounds.browser_navigation.min(bounds.browser_total)
            )
        }
        _ => format!(
            "the site did not answer the browser within {:?}",
            bounds.browser_start.min(bounds.browser_total)
        ),
    };
    Error::new(ErrorKind::Timeout, message)
}

pub(super) fn body_too_large_error(bounds: &Limits) -> Error {
    Error::new(ErrorKind::BodyTooLarge, format!("the page is larger than {} bytes", bounds.max_body))
}

/// A file where only a page can be dealt with.
pub(super) fn unexpected_file_error() -> Error {
    Error::new(ErrorKind::Browser, "the answer is a file, not a page")
        .with_hint("get it with `--max-tier impersonate`")
}

/// No request in flight for this long: the page rests.
const NETWORK_IDLE_TIME: Duration = Duration::from_millis(500);
const CHALLENGE_POLL: Duration = Duration::from_secs(1);
/// Kept of the total time for reading the page.
const READ_RESERVE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(100);
