//! One page: opened, sent somewhere, waited for, read, closed.

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

use self::wait::Deadlines;
use super::connection::CdpConnection;
use super::error::CdpError;
use super::page_events::{PageWatcher, WaitStep};
use super::response_head::ResponseHead;
use super::targets::BrowserTargets;
use super::{BrowserOptions, ChallengeCheck};
use crate::error::Result;
use crate::limits::Limits;
use crate::net::RequestHooks;
use crate::render::RenderOptions;
use crate::request::Request;
use crate::response::RawResponse;

/// A page of ours. Dropping it closes it.
pub(super) struct Page {
    connection: CdpConnection,
    target: String,
    session: String,
    watcher: Arc<PageWatcher>,
}

/// What a page is to do.
pub(super) struct PageTask<'a> {
    pub request: &'a Request,
    pub limits: &'a Limits,
    pub render: &'a RenderOptions,
    pub still_challenged: Option<&'a ChallengeCheck>,
    pub deadline: Instant,
    /// Asked before each document is.
    pub hooks: Option<&'a dyn RequestHooks>,
}

impl Page {
    /// Opens a blank page in `context`; `held` is let go of when the page is closed.
    pub(super) async fn open(
        connection: CdpConnection,
        targets: Arc<BrowserTargets>,
        context: &str,
        options: &BrowserOptions,
        max_body: u64,
        held: Box<dyn Any + Send + Sync>,
    ) -> Result<Self> {
        let expectation = targets.expect_page(context);
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
            Ok(None) => return Err(CdpError::BrowserClosed.into()),
            Err(_) => {
                connection.send_with_guard(None, &close, held);
                return Err(CdpError::TimedOut("Target.attachedToTarget").into());
            }
        };
        for stray in targets.orphans(context) {
            connection.send_with_guard(None, &target::CloseTargetParams::new(stray), Box::new(()));
        }
        targets.attach_guard(&attached.session, held);
        let page = Self { connection, target, session: attached.session, watcher: attached.watcher };
        page.enable_events(options, max_body).await?;
        Ok(page)
    }

    async fn enable_events(&self, options: &BrowserOptions, max_body: u64) -> Result<()> {
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
    pub(super) async fn visit(&self, visit: &PageTask<'_>) -> Result<RawResponse> {
        tokio::select! {
            answer = self.visit_to_end(visit) => answer,
            error = self.copy_documents(visit) => Err(error),
            error = self.gate_documents(visit) => Err(error),
        }
    }

    /// The client hints that its documents asked for: URL and Accept-CH.
    pub(super) fn accept_ch(&self) -> Vec<(String, String)> {
        self.watcher.with_state(|state| state.accept_ch.clone())
    }

    async fn visit_to_end(&self, visit: &PageTask<'_>) -> Result<RawResponse> {
        if let Some(selector) = &visit.render.wait_for {
            self.check_selector(selector, visit.deadline).await?;
        }
        let deadlines = Deadlines::new(visit.limits, visit.deadline);
        if let Some(answer) = self.load(visit, &deadlines).await? {
            return Ok(answer);
        }
        let mut settled = self.settle(visit, &deadlines).await?;
        if let Some(selector) = &visit.render.wait_for
            && let Err(error) = self.wait_for_selector(selector, deadlines.work).await
        {
            // A refusal does not have the element either, and is the better answer.
            let refusal = match self.read_document(visit).await {
                Ok((head, body)) => (head.status.as_u16() >= 400 || is_challenged(visit, &head, &body))
                    .then(|| head.into_response(body)),
                Err(_) => None,
            };
            return refusal.ok_or(error);
        }
        let (mut head, mut body) = self.read_document(visit).await?;
        let until = deadlines.work.min(Instant::now() + visit.limits.browser_challenge);
        while is_challenged(visit, &head, &body) && self.wait_for_change(until).await {
            settled = self.settle(visit, &deadlines.restarted(visit.limits)).await?;
            (head, body) = self.read_document(visit).await?;
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
        // A crashed page never answers.
        let over = self
            .watcher
            .wait_until(|state, _| if state.has_ended() { WaitStep::Done(()) } else { WaitStep::Event });
        tokio::select! {
            answer = self.connection.run(Some(&self.session), command, limit) => answer,
            () = over => Err(CdpError::PageClosed),
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // What the page holds goes with its session.
        self.connection.send_with_guard(
            None,
            &target::CloseTargetParams::new(self.target.clone()),
            Box::new(()),
        );
    }
}

fn is_challenged(visit: &PageTask<'_>, head: &ResponseHead, body: &Bytes) -> bool {
    let judge = |judge: &ChallengeCheck| judge(head.status.as_u16(), &head.headers, &head.url, body);
    visit.still_challenged.is_some_and(judge)
}

/// To open a page, and for the commands that prepare it.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
