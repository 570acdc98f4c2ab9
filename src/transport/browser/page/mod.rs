//! One page: opened, sent somewhere, waited for, read, closed.

mod arrive;
mod file;
mod read;
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
use super::answer::Head;
use super::connection::Connection;
use super::faults::Fault;
use super::targets::Targets;
use super::watch::{Step, Watch};
use super::{BrowserOptions, StillChallenged};
use crate::bounds::Bounds;
use crate::error::Result;
use crate::net::Gate;
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
    /// Asked before each document is.
    pub gate: Option<&'a dyn Gate>,
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
        tokio::select! {
            answer = self.go(visit) => answer,
            error = self.keep_copies(visit) => Err(error),
            error = self.keep_out(visit) => Err(error),
        }
    }

    /// The client hints that its documents asked for: URL and Accept-CH.
    pub(super) fn asked(&self) -> Vec<(String, String)> {
        self.watch.read(|state| state.asked.clone())
    }

    async fn go(&self, visit: &Visit<'_>) -> Result<Answer> {
        if let Some(selector) = &visit.view.wait_for {
            self.check(selector, visit.deadline).await?;
        }
        let deadlines = Deadlines::new(visit.bounds, visit.deadline);
        if let Some(answer) = self.arrive(visit, &deadlines).await? {
            return Ok(answer);
        }
        let mut settled = self.settle(visit, &deadlines).await?;
        if let Some(selector) = &visit.view.wait_for
            && let Err(error) = self.wait_for(selector, deadlines.work).await
        {
            // A refusal does not have the element either, and is the better answer.
            let refusal = match self.collect(visit).await {
                Ok((head, body)) => (head.status.as_u16() >= 400 || is_challenged(visit, &head, &body))
                    .then(|| head.with(body)),
                Err(_) => None,
            };
            return refusal.ok_or(error);
        }
        let (mut head, mut body) = self.collect(visit).await?;
        let until = deadlines.work.min(Instant::now() + visit.bounds.browser_challenge);
        while is_challenged(visit, &head, &body) && self.moves_on(until).await {
            settled = self.settle(visit, &deadlines.again(visit.bounds)).await?;
            (head, body) = self.collect(visit).await?;
        }
        if visit.view.scroll {
            settled &= self.scroll(visit, &deadlines).await?;
            (head, body) = self.collect(visit).await?;
        }
        if visit.request.method == Method::HEAD {
            body.clear();
        }
        head.shown.used.settled = settled;
        (head.shown.screenshot, head.shown.pdf) = self.pictures(visit).await?;
        Ok(head.with(body))
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

/// To open a page, and for the commands that prepare it.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
