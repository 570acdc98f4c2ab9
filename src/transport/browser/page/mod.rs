//! One page: opening, navigating, waiting, reading, closing.

mod challenge;
mod closed_shadow;
mod command;
mod content;
mod file;
mod frames;
mod isolated_world;
mod navigate;
mod scroll;
mod show;
mod shown_text;
#[cfg(test)]
mod tests;
mod wait;

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chromiumoxide_cdp::cdp::browser_protocol::{emulation, inspector, network, page, target};
use chromiumoxide_types::Command;
use http::Method;

use self::show::{ShownPage, ShownResult};
use self::wait::Deadlines;
use super::page_events::{InterceptRules, PageState, PageWatcher, WaitStep};
use super::targets::{AttachedPage, BrowserTargets};
use super::{BrowserOptions, ChallengeCheck};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::request::Request;
use crate::exchange::response::RawResponse;
use crate::net::RequestHooks;
use crate::settings::limits::Limits;
use crate::settings::render::RenderOptions;
use crate::transport::chromium::connection::CdpConnection;
use crate::transport::chromium::error::CdpError;
use crate::transport::chromium::page_memory::MemoryExcess;

/// A page that rungs opened. Dropping it closes the page.
pub(super) struct Page {
    connection: CdpConnection,
    target: String,
    session: String,
    watcher: Arc<PageWatcher>,
    targets: Arc<BrowserTargets>,
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
        targets.close_orphans(&connection, context);
        targets.attach_guard(&attached.session, guard, sizes.memory);
        let AttachedPage { session, watcher } = attached;
        let page = Self { connection, target, session, watcher, targets };
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
        for _ in 0..=MAX_REPEATS {
            if let Some(response) = self.load(visit, &deadlines).await? {
                return Ok(response);
            }
            match self.show(visit, &deadlines).await? {
                ShownResult::File(response) => return Ok(*response),
                ShownResult::Page(page) if page.is_ready && self.has_unsent_content() => {
                    // A challenge answered the request, and the page that it released came without the caller's method.
                    self.watcher.reset(InterceptRules::default());
                }
                ShownResult::Page(page) => return self.finish(visit, *page).await,
            }
        }
        let message = format!("a challenge answered the request {} times", MAX_REPEATS + 1);
        Err(Error::new(ErrorKind::Browser, message))
    }

    /// Returns the response of a page that is ready to be read.
    async fn finish(&self, visit: &PageTask<'_>, page: ShownPage) -> Result<RawResponse> {
        let ShownPage { mut head, mut body, settled, .. } = page;
        if visit.request.method == Method::HEAD {
            body.clear();
        }
        head.output.usage.settled = settled;
        if visit.render.frames {
            head.output.frames = Some(self.read_frames(visit).await?);
        }
        head.output.text = self.read_shown_text(visit).await?;
        (head.output.screenshot, head.output.pdf) = self.take_captures(visit).await?;
        Ok(head.into_response(body))
    }

    /// Whether the caller's method and body are still to be sent.
    fn has_unsent_content(&self) -> bool {
        self.watcher.with_state(PageState::has_unsent_content)
    }

    async fn run<C: Command>(&self, command: &C, limit: Duration) -> Result<C::Response, CdpError> {
        self.run_in(&self.session, command, limit).await
    }

    /// Runs a command in the session of the page or of one of its frames.
    async fn run_in<C: Command>(
        &self,
        session: &str,
        command: &C,
        limit: Duration,
    ) -> Result<C::Response, CdpError> {
        // A crashed page never replies.
        let ended = self
            .watcher
            .wait_until(|state, _| if state.has_ended() { WaitStep::Done(()) } else { WaitStep::Event });
        tokio::select! {
            reply = self.connection.run(Some(session), command, limit) => reply,
            () = ended => Err(CdpError::PageClosed),
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // The page's guard is dropped with its session.
        self.targets.close_page(&self.connection, &self.session, &self.target);
    }
}

/// How often a request is sent again because a challenge answered it, and the page that the challenge released does not
/// send it.
const MAX_REPEATS: usize = 2;
/// Limit for opening a page, and for each command that prepares it.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
