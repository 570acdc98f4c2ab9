//! Waits until the page shows what the visit is for: challenges, awaited elements, files instead of pages.

use std::time::Instant;

use bytes::Bytes;

use super::super::PageVerdict;
use super::super::page_events::{DocumentExchange, MainDocument, OfferedFile, WaitStep};
use super::super::response_head::ResponseHead;
use super::challenge::ChallengeWait;
use super::wait::{Deadlines, find_failure};
use super::{Page, PageTask};
use crate::exchange::credentials::strip_fragment_and_credentials;
use crate::exchange::error::Result;
use crate::exchange::response::RawResponse;
use crate::settings::render::PageCheck;

/// What a page shows in the end.
pub(super) enum ShownResult {
    /// A file instead of the page.
    File(Box<RawResponse>),
    Page(Box<ShownPage>),
}

/// A page that is ready to be read.
pub(super) struct ShownPage {
    pub(super) head: ResponseHead,
    pub(super) body: Bytes,
    pub(super) settled: bool,
    /// Whether it is no challenge and has what the caller expects.
    pub(super) is_ready: bool,
}

/// What a page is after it has settled.
enum SettledResult {
    File(Box<RawResponse>),
    /// Whether it settled in time.
    Page(bool),
}

impl Page {
    /// Waits until the page shows what the visit is for, or the time is up.
    pub(super) async fn show(&self, visit: &PageTask<'_>, deadlines: &Deadlines) -> Result<ShownResult> {
        let mut settled = match self.settle_as_requested(visit, deadlines).await? {
            SettledResult::Page(settled) => settled,
            SettledResult::File(response) => return Ok(ShownResult::File(response)),
        };
        if let Some(selector) = &visit.render.wait_for {
            let found = tokio::select! {
                found = self.wait_for_selector(selector, deadlines.work) => Some(found),
                () = self.wait_for_offer() => None,
            };
            match found {
                Some(Ok(())) => {}
                // A refusal by the site lacks the element too, and is a better result than the timeout.
                Some(Err(error)) => return self.read_refusal(visit).await.ok_or(error),
                None => match self.settle_or_take(visit, deadlines, false).await? {
                    SettledResult::Page(again) => settled = again,
                    SettledResult::File(response) => return Ok(ShownResult::File(response)),
                },
            }
        }
        let (mut head, mut body) = self.read_document(visit).await?;
        if !is_ready(visit, &head, &body) {
            let mut wait = ChallengeWait::start(self, visit.limits, deadlines).await;
            while !is_ready(visit, &head, &body) && wait.next(self).await {
                match self.settle_or_take(visit, &deadlines.restarted(visit.limits), true).await? {
                    SettledResult::Page(again) => settled = again,
                    SettledResult::File(response) => return Ok(ShownResult::File(response)),
                }
                (head, body) = self.read_document(visit).await?;
            }
        }
        if visit.render.scroll {
            settled &= self.scroll(visit, deadlines).await?;
            (head, body) = self.read_document(visit).await?;
        }
        let is_ready = is_ready(visit, &head, &body);
        Ok(ShownResult::Page(Box::new(ShownPage { head, body, settled, is_ready })))
    }

    /// Waits until the page settles, then for the time that the caller wants, then until the page settles again.
    async fn settle_as_requested(
        &self,
        visit: &PageTask<'_>,
        deadlines: &Deadlines,
    ) -> Result<SettledResult> {
        let settled = self.settle_or_take(visit, deadlines, false).await?;
        let Some(wait) = visit.render.wait else { return Ok(settled) };
        if let SettledResult::File(_) = settled {
            return Ok(settled);
        }
        let until = Instant::now().checked_add(wait).map_or(deadlines.work, |end| end.min(deadlines.work));
        self.watcher
            .wait_until(|state, now| match find_failure(state, visit.limits) {
                WaitStep::Done(error) => WaitStep::Done(Err(error)),
                _ if now >= until || state.offered_file().is_some() => WaitStep::Done(Ok(())),
                _ => WaitStep::At(until),
            })
            .await?;
        self.settle_or_take(visit, &deadlines.restarted(visit.limits), false).await
    }

    /// Waits until the page settles. Takes the response without a document that the page leads to, if it is the result.
    /// `is_refused`: the page is not the result.
    async fn settle_or_take(
        &self,
        visit: &PageTask<'_>,
        deadlines: &Deadlines,
        is_refused: bool,
    ) -> Result<SettledResult> {
        loop {
            let settled = self.settle(visit, deadlines).await?;
            let is_refused = is_refused || self.is_refused(visit);
            let (file, empty) =
                self.watcher.with_state(|state| (state.offered_file(), state.empty_document.clone()));
            if let Some(document) =
                empty.filter(|document| is_refused || leads_from_visit(visit, document, None))
            {
                let mut head = ResponseHead::from_document(&document, None, visit.limits)?;
                head.output.usage.settled = true;
                return Ok(SettledResult::File(Box::new(head.into_response(Bytes::new()))));
            }
            let Some(file) = file else { return Ok(SettledResult::Page(settled)) };
            if file.replaces_page || is_refused || self.is_redirect_to(visit, &file) {
                let response = self.take_offered(visit, deadlines, &file).await?;
                return Ok(SettledResult::File(Box::new(response)));
            }
            self.release_offered(&file);
        }
    }

    /// Whether the page that leads to a file is not the result itself: an error page or a challenge. While a response is
    /// paused, Chromium does not read the page, so its head decides.
    fn is_refused(&self, visit: &PageTask<'_>) -> bool {
        let Some(document) = self.watcher.with_state(|state| state.current_document.clone()) else {
            return true;
        };
        let head = ResponseHead::from_document(&document, None, visit.limits);
        head.is_ok_and(|head| {
            !head.status.is_success() || is_challenge(visit, &head, &Bytes::new()).is_some()
        })
    }

    /// Whether the page only redirects to the file.
    fn is_redirect_to(&self, visit: &PageTask<'_>, file: &OfferedFile) -> bool {
        let pending = self.watcher.with_state(|state| state.pending_document.clone()).unwrap_or_default();
        file.is_early || leads_from_visit(visit, &pending, Some(&file.url))
    }

    /// Returns the page if the site refuses the visit.
    async fn read_refusal(&self, visit: &PageTask<'_>) -> Option<ShownResult> {
        let (head, body) = self.read_document(visit).await.ok()?;
        let is_refusal = head.status.as_u16() >= 400 || is_challenge(visit, &head, &body).is_some();
        is_refusal
            .then(|| ShownResult::Page(Box::new(ShownPage { head, body, settled: false, is_ready: false })))
    }

    /// Waits until the page leads to a file.
    async fn wait_for_offer(&self) {
        self.watcher
            .wait_until(|state, _| match state.offered_file() {
                Some(_) => WaitStep::Done(()),
                None => WaitStep::Event,
            })
            .await;
    }
}

/// Whether a document, or the file that it turned out to be, has the URL of the visit or was redirected from there.
fn leads_from_visit(visit: &PageTask<'_>, document: &MainDocument, file: Option<&str>) -> bool {
    let exchanges = document.redirects.iter().chain([&document.exchange]);
    file.into_iter()
        .chain(exchanges.filter_map(DocumentExchange::response_url))
        .any(|url| is_url_of(visit, url))
}

/// Whether this is the URL of the visit.
fn is_url_of(visit: &PageTask<'_>, url: &str) -> bool {
    let mut requested = visit.request.url.clone();
    strip_fragment_and_credentials(&mut requested);
    url.split('#').next() == Some(requested.as_str())
}

/// Whether a page is no challenge and has what the caller expects.
fn is_ready(visit: &PageTask<'_>, head: &ResponseHead, body: &Bytes) -> bool {
    let is_expected =
        |PageCheck(check): &PageCheck| check(head.status.as_u16(), &head.headers, &head.url, body);
    is_challenge(visit, head, body).is_none() && visit.render.expected.as_ref().is_none_or(is_expected)
}

/// Returns the verdict on a page that is a challenge.
pub(super) fn is_challenge(visit: &PageTask<'_>, head: &ResponseHead, body: &Bytes) -> Option<PageVerdict> {
    let check = visit.still_challenged?;
    Some(check(head.status.as_u16(), &head.headers, &head.url, body))
        .filter(|verdict| *verdict != PageVerdict::Page)
}
