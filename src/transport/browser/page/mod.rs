//! One page: opening, navigating, waiting, reading, closing.

mod challenge;
mod content;
mod file;
mod navigate;
mod scroll;
#[cfg(test)]
mod tests;
mod wait;

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chromiumoxide::cdp::browser_protocol::{emulation, inspector, network, page, target};
use chromiumoxide::types::Command;
use http::Method;

use self::challenge::ChallengeWait;
use self::wait::Deadlines;
use super::connection::CdpConnection;
use super::error::CdpError;
use super::page_events::{PageWatcher, WaitStep};
use super::page_memory::MemoryExcess;
use super::response_head::ResponseHead;
use super::targets::BrowserTargets;
use super::{BrowserOptions, ChallengeCheck};
use crate::error::Result;
use crate::limits::Limits;
use crate::net::RequestHooks;
use crate::render::RenderOptions;
use crate::request::Request;
use crate::response::RawResponse;

/// A page that rungs opened. Dropping it closes the page.
pub(super) struct Page {
    connection: CdpConnection,
    target: String,
    session: String,
    watcher: Arc<PageWatcher>,
}

/// The task of a page: what to request and how to render it.
pub(super) struct PageTask<'a> {
    pub request: &'a Request,
    pub limits: &'a Limits,
    pub render: &'a RenderOptions,
    pub still_challenged: Option<&'a ChallengeCheck>,
    pub deadline: Instant,
    /// Consulted before each document request.
    pub hooks: Option<&'a dyn RequestHooks>,
}

/// The sizes that a page may have, in bytes.
#[derive(Clone, Copy)]
pub(super) struct PageSizes {
    pub max_body: u64,
    /// Its memory, with its frames and workers.
    pub memory: u64,
}

impl Page {
    /// Opens a blank page in `context`. `guard` is dropped when the page is closed.
    pub(super) async fn open(
        connection: CdpConnection,
        targets: Arc<BrowserTargets>,
        context: &str,
        options: &BrowserOptions,
        sizes: PageSizes,
        guard: Box<dyn Any + Send + Sync>,
    ) -> Result<Self> {
        let pending = targets.expect_page(context);
        let mut create = target::CreateTargetParams::new("about:blank");
        create.browser_context_id = Some(context.to_owned().into());
        // A separate window, because a background tab is hidden and not rendered.
        create.new_window = Some(true);
        let target: String = connection.run(None, &create, OPEN_LIMIT).await?.target_id.into();
        let attached = tokio::time::timeout(OPEN_LIMIT, targets.claim(&target)).await;
        drop(pending);
        let close = target::CloseTargetParams::new(target.clone());
        let attached = match attached {
            Ok(Some(attached)) => attached,
            Ok(None) => return Err(CdpError::BrowserClosed.into()),
            Err(_) => {
                connection.send_with_guard(None, &close, guard);
                return Err(CdpError::TimedOut("Target.attachedToTarget").into());
            }
        };
        for orphan in targets.orphans(context) {
            connection.send_with_guard(None, &target::CloseTargetParams::new(orphan), Box::new(()));
        }
        targets.attach_guard(&attached.session, guard, sizes.memory);
        let page = Self { connection, target, session: attached.session, watcher: attached.watcher };
        page.enable_events(options, sizes.max_body).await?;
        Ok(page)
    }

    async fn enable_events(&self, options: &BrowserOptions, max_body: u64) -> Result<()> {
        let buffer = i64::try_from(max_body).unwrap_or(i64::MAX / 4).saturating_add(1);
        let network = network::EnableParams {
            max_resource_buffer_size: Some(buffer),
            max_total_buffer_size: Some(buffer.saturating_mul(2)),
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

    /// Navigates to the URL of `visit`. Returns the response once the page has settled.
    pub(super) async fn visit(&self, visit: &PageTask<'_>) -> Result<RawResponse> {
        tokio::select! {
            result = self.visit_to_end(visit) => result,
            error = self.copy_documents(visit) => Err(error),
            error = self.gate_documents(visit) => Err(error),
        }
    }

    /// Returns the client hints that its documents requested: URL and Accept-CH.
    pub(super) fn accept_ch(&self) -> Vec<(String, String)> {
        self.watcher.with_state(|state| state.accept_ch.clone())
    }

    /// Returns the memory limit for which the page was ended.
    pub(super) fn memory_excess(&self) -> Option<Arc<MemoryExcess>> {
        self.watcher.with_state(|state| state.memory_excess.clone())
    }

    async fn visit_to_end(&self, visit: &PageTask<'_>) -> Result<RawResponse> {
        if let Some(selector) = &visit.render.wait_for {
            self.check_selector(selector, visit.deadline).await?;
        }
        let deadlines = Deadlines::new(visit.limits, visit.deadline);
        if let Some(response) = self.load(visit, &deadlines).await? {
            return Ok(response);
        }
        let mut settled = self.settle(visit, &deadlines).await?;
        if let Some(selector) = &visit.render.wait_for
            && let Err(error) = self.wait_for_selector(selector, deadlines.work).await
        {
            // A refusal by the site lacks the element too, and is a better result than the timeout.
            let refusal = match self.read_document(visit).await {
                Ok((head, body)) => (head.status.as_u16() >= 400 || is_challenged(visit, &head, &body))
                    .then(|| head.into_response(body)),
                Err(_) => None,
            };
            return refusal.ok_or(error);
        }
        let (mut head, mut body) = self.read_document(visit).await?;
        if is_challenged(visit, &head, &body) {
            let mut wait = ChallengeWait::start(self, visit.limits, &deadlines).await;
            while is_challenged(visit, &head, &body) && wait.next(self).await {
                settled = self.settle(visit, &deadlines.restarted(visit.limits)).await?;
                (head, body) = self.read_document(visit).await?;
            }
        }
        if visit.render.scroll {
            settled &= self.scroll(visit, &deadlines).await?;
            (head, body) = self.read_document(visit).await?;
        }
        if visit.request.method == Method::HEAD {
            body.clear();
        }
        head.output.usage.settled = settled;
        (head.output.screenshot, head.output.pdf) = self.take_captures(visit).await?;
        Ok(head.into_response(body))
    }

    async fn run<C: Command>(&self, command: &C, limit: Duration) -> Result<C::Response, CdpError> {
        // A crashed page never replies.
        let ended = self
            .watcher
            .wait_until(|state, _| if state.has_ended() { WaitStep::Done(()) } else { WaitStep::Event });
        tokio::select! {
            reply = self.connection.run(Some(&self.session), command, limit) => reply,
            () = ended => Err(CdpError::PageClosed),
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // The page's guard is dropped with its session.
        self.connection.send_with_guard(
            None,
            &target::CloseTargetParams::new(self.target.clone()),
            Box::new(()),
        );
    }
}

fn is_challenged(visit: &PageTask<'_>, head: &ResponseHead, body: &Bytes) -> bool {
    let check = |check: &ChallengeCheck| check(head.status.as_u16(), &head.headers, &head.url, body);
    visit.still_challenged.is_some_and(check)
}

/// Limit for opening a page, and for each command that prepares it.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
