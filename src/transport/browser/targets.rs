//! Tracks all targets of a browser. Each target starts paused, gets the identity's emulation, and only then
//! runs. Pages that rungs did not open (popups) are closed.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use chromiumoxide_cdp::cdp::browser_protocol::fetch::{
    ContinueRequestParams, ContinueWithAuthParams, FailRequestParams,
};
use chromiumoxide_cdp::cdp::browser_protocol::page::HandleJavaScriptDialogParams;
use chromiumoxide_cdp::cdp::browser_protocol::target::{CloseTargetParams, SetAutoAttachParams};
use chromiumoxide_cdp::cdp::browser_protocol::{inspector, network};
use chromiumoxide_cdp::cdp::js_protocol::runtime::RunIfWaitingForDebuggerParams;
use tokio::sync::Notify;

use super::emulation::Emulation;
use super::page_events::{EventReply, PageWatcher, react_in_frame};
use super::resource_blocking;
use super::target_events::{AttachedToTarget, DetachedFromTarget};
use crate::os::sync::lock_unpoisoned;
use crate::settings::render::ResourceKind;
use crate::transport::chromium::connection::{CdpConnection, CdpEvent};
use crate::transport::chromium::page_memory::{Culprit, MemoryBudget, MemoryExcess};

/// The targets of one browser, by session.
#[derive(Default)]
pub(super) struct BrowserTargets {
    state: Mutex<State>,
    /// Notifies when a page is attached or the browser has exited.
    changed: Notify,
}

#[derive(Default)]
struct State {
    contexts: HashMap<String, ContextEntry>,
    sessions: HashMap<String, TargetSession>,
    /// Pages that are attached but not claimed yet: target to session.
    unclaimed: HashMap<String, String>,
    is_closed: bool,
    /// The last process that was killed for its memory, and when. Crashes that follow are its targets'.
    memory_kill: Option<(Instant, Arc<MemoryExcess>)>,
}

struct ContextEntry {
    emulation: Arc<Emulation>,
    /// Pages requested and not claimed yet.
    expected: usize,
}

struct TargetSession {
    context: String,
    /// The session of the page, frame or worker that this target belongs to.
    parent: Option<String>,
    /// The memory that a page may use, in bytes.
    memory_limit: Option<u64>,
    kind: String,
    /// Set for a page that rungs opened; workers and frames have none.
    watcher: Option<Arc<PageWatcher>>,
    /// Resources that a frame does not load, the same as for its page.
    block: Vec<ResourceKind>,
    /// The page's permit and context, held until the browser reports that the page is closed.
    guard: Option<Box<dyn Any + Send + Sync>>,
    /// Set when the browser was asked to close the page.
    closing: Option<Closing>,
}

/// A page that the browser was asked to close and has not reported as closed.
struct Closing {
    target: String,
    /// The first request.
    since: Instant,
    /// The last request.
    asked: Instant,
}

/// A page that rungs opened, when attached.
pub(super) struct AttachedPage {
    pub session: String,
    pub watcher: Arc<PageWatcher>,
}

impl BrowserTargets {
    /// Applies `emulation` to all later targets in `context`.
    pub(super) fn register_context(&self, context: &str, emulation: Emulation) {
        self.lock()
            .contexts
            .insert(context.to_owned(), ContextEntry { emulation: Arc::new(emulation), expected: 0 });
    }

    /// Removes a disposed context.
    pub(super) fn remove_context(&self, context: &str) {
        self.lock().contexts.remove(context);
    }

    /// Announces that a page is about to be created in `context`.
    pub(super) fn expect_page(self: &Arc<Self>, context: &str) -> PendingTarget {
        if let Some(context) = self.lock().contexts.get_mut(context) {
            context.expected += 1;
        }
        PendingTarget { targets: Arc::clone(self), context: context.to_owned() }
    }

    /// Waits until `target` is attached. `None` when the browser has exited.
    pub(super) async fn claim(&self, target: &str) -> Option<AttachedPage> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.lock();
                if state.is_closed {
                    return None;
                }
                if let Some(session) = state.unclaimed.remove(target) {
                    let watcher = state.sessions.get(&session)?.watcher.clone()?;
                    return Some(AttachedPage { session, watcher });
                }
            }
            changed.await;
        }
    }

    /// Drops `guard` once the session of a page has ended, because only then is the page closed. Until then, the page
    /// may use `memory_limit` bytes.
    pub(super) fn attach_guard(&self, session: &str, guard: Box<dyn Any + Send + Sync>, memory_limit: u64) {
        if let Some(session) = self.lock().sessions.get_mut(session) {
            (session.guard, session.memory_limit) = (Some(guard), Some(memory_limit));
        }
    }

    /// Asks the browser to close the page of `session`.
    pub(super) fn close_page(&self, connection: &CdpConnection, session: &str, target: &str) {
        let now = Instant::now();
        if let Some(session) = self.lock().sessions.get_mut(session) {
            session.closing = Some(Closing { target: target.to_owned(), since: now, asked: now });
        }
        close_target(connection, target);
    }

    /// Asks again for each page that the browser has not closed. A page that commits a navigation while it is asked
    /// forgets the request, and the browser has no time limit for the reply while a debugger is attached. Returns how long
    /// the oldest of them has been closing.
    pub(super) fn repeat_closing(&self, connection: &CdpConnection, now: Instant) -> Option<Duration> {
        let mut oldest = None;
        for closing in self.lock().sessions.values_mut().filter_map(|session| session.closing.as_mut()) {
            if now.saturating_duration_since(closing.asked) >= CLOSE_REPEAT {
                closing.asked = now;
                tracing::debug!(target = closing.target, "asking again to close a page");
                close_target(connection, &closing.target);
            }
            oldest = oldest.max(Some(now.saturating_duration_since(closing.since)));
        }
        oldest
    }

    /// Returns the sessions of the frames of a page that run in other processes.
    pub(super) fn frame_sessions(&self, page: &str) -> Vec<String> {
        let state = self.lock();
        let frames = state.sessions.iter().filter(|(_, target)| target.kind == "iframe");
        let mut found: Vec<String> =
            frames.filter(|(id, _)| state.is_inside(id, page)).map(|(id, _)| id.clone()).collect();
        found.sort_unstable();
        found
    }

    /// Returns the memory limits of the open pages. `None` without a page.
    pub(super) fn memory_budget(&self) -> Option<MemoryBudget> {
        MemoryBudget::of_pages(self.lock().sessions.values().filter_map(|session| session.memory_limit))
    }

    /// Announces that a process is about to be killed for `excess`. The pages that end with it get this reason.
    pub(super) fn expect_crash(&self, excess: Arc<MemoryExcess>) {
        let mut state = self.lock();
        if excess.culprit == Culprit::SharedProcesses {
            for watcher in state.sessions.values().filter_map(|session| session.watcher.as_ref()) {
                watcher.mark_over_memory(&excess);
            }
        }
        state.memory_kill = Some((Instant::now(), excess));
    }

    /// Ends the page of a target whose process was killed for its memory. Without such a reason, a page whose frame
    /// crashed goes on.
    fn on_crashed(&self, session: &str) {
        let state = self.lock();
        let recent = state.memory_kill.as_ref().filter(|(at, _)| at.elapsed() < KILL_REPORT_LIMIT);
        let Some((_, excess)) = recent else { return };
        for watcher in state.pages_of(session) {
            watcher.mark_over_memory(excess);
        }
    }

    /// Closes the pages of `context` that rungs did not open. They were attached while another was expected.
    pub(super) fn close_orphans(&self, connection: &CdpConnection, context: &str) {
        let orphans: Vec<_> = {
            let mut state = self.lock();
            if state.contexts.get(context).is_some_and(|context| context.expected > 0) {
                return;
            }
            let State { unclaimed, sessions, .. } = &mut *state;
            let in_context =
                |session: &String| sessions.get(session).is_some_and(|session| session.context == context);
            unclaimed.extract_if(|_, session| in_context(session)).collect()
        };
        for (target, session) in orphans {
            self.close_page(connection, &session, &target);
        }
    }

    /// Ends all waits for targets of a browser that has exited.
    pub(super) fn on_browser_closed(&self) {
        let sessions: Vec<_> = {
            let mut state = self.lock();
            state.is_closed = true;
            state.sessions.drain().map(|(_, session)| session).collect()
        };
        for watcher in sessions.into_iter().filter_map(|session| session.watcher) {
            watcher.mark_closed();
        }
        self.changed.notify_waiters();
    }

    /// Handles one event of the browser. It sends commands without waiting for their replies.
    pub(super) fn on_event(&self, connection: &CdpConnection, event: &CdpEvent<'_>) {
        match event.method {
            "Target.attachedToTarget" => match serde_json::from_str::<AttachedToTarget>(event.params) {
                Ok(attached) => self.on_attached(connection, event.session, &attached),
                Err(cause) => tracing::warn!(%cause, "could not parse the event of an attached target"),
            },
            "Target.detachedFromTarget" => {
                let Ok(detached) = serde_json::from_str::<DetachedFromTarget>(event.params) else { return };
                let session = {
                    let mut state = self.lock();
                    for watcher in state.watchers_of_worker(&detached.session_id) {
                        watcher.on_worker_ended(&detached.session_id, Instant::now());
                    }
                    state.sessions.remove(&detached.session_id)
                };
                if let Some(watcher) = session.as_ref().and_then(|session| session.watcher.as_ref()) {
                    watcher.mark_closed();
                }
            }
            _ => {
                let Some(session) = event.session else { return };
                if event.method == "Inspector.targetCrashed" {
                    self.on_crashed(session);
                }
                let Some(reply) = self.reply_to(session, event) else { return };
                match reply {
                    EventReply::Dialog { accept } => {
                        let handle = HandleJavaScriptDialogParams { accept, prompt_text: None };
                        connection.send_with_guard(Some(session), &handle, Box::new(()));
                    }
                    EventReply::Continue(request) => {
                        let request: &ContinueRequestParams = &request;
                        connection.send_with_guard(Some(session), request, Box::new(()));
                    }
                    EventReply::Authenticate(request) => {
                        let request: &ContinueWithAuthParams = &request;
                        connection.send_with_guard(Some(session), request, Box::new(()));
                    }
                    EventReply::Fail(request) => {
                        let request: &FailRequestParams = &request;
                        connection.send_with_guard(Some(session), request, Box::new(()));
                    }
                }
            }
        }
    }

    /// Returns the command that an event of a page or frame requires.
    fn reply_to(&self, id: &str, event: &CdpEvent<'_>) -> Option<EventReply> {
        let watcher = {
            let state = self.lock();
            let session = state.sessions.get(id)?;
            if is_watched_worker(&session.kind) {
                for watcher in state.pages_of(id) {
                    watcher.on_worker_event(id, event.method, event.params, Instant::now());
                }
                return None;
            }
            if session.watcher.is_none() && !session.block.is_empty() {
                return react_in_frame(event.method, event.params, &session.block);
            }
            session.watcher.clone()?
        };
        watcher.on_event(event.method, event.params, Instant::now())
    }

    fn on_attached(
        &self,
        connection: &CdpConnection,
        parent_session: Option<&str>,
        attached: &AttachedToTarget,
    ) {
        let info = &attached.target_info;
        let session = attached.session_id.as_str();
        let mut unwanted = false;
        let (emulation, block) = {
            let mut state = self.lock();
            let parent = parent_session.and_then(|parent| state.sessions.get(parent));
            let of_parent = || parent.map(|parent| parent.context.clone());
            let context = info.browser_context_id.clone().or_else(of_parent).unwrap_or_default();
            let known = state.contexts.get(&context);
            let emulation = known.map(|context| Arc::clone(&context.emulation));
            let mut watcher = None;
            if info.kind == "page" {
                unwanted = info.opener_id.is_some() || known.is_none_or(|context| context.expected == 0);
                if !unwanted {
                    watcher = Some(Arc::new(PageWatcher::new(&info.target_id)));
                    state.unclaimed.insert(info.target_id.clone(), session.to_owned());
                }
            }
            let parent = parent_session.filter(|_| info.kind == "iframe");
            let block =
                parent.and_then(|parent| state.sessions.get(parent)).map_or_else(Vec::new, |parent| {
                    match &parent.watcher {
                        Some(watcher) => watcher.blocked(),
                        None => parent.block.clone(),
                    }
                });
            state.sessions.insert(
                session.to_owned(),
                TargetSession {
                    context,
                    parent: parent_session.map(str::to_owned),
                    memory_limit: None,
                    kind: info.kind.clone(),
                    watcher,
                    block: block.clone(),
                    guard: None,
                    closing: None,
                },
            );
            (emulation, block)
        };
        if unwanted {
            tracing::debug!("closing a popup");
            self.close_page(connection, session, &info.target_id);
        } else if has_children(&info.kind) {
            connection.send_with_guard(Some(session), &auto_attach(), Box::new(()));
        }
        if let Some(emulation) = emulation {
            emulation.apply(connection, session, &info.kind);
        }
        if matches!(info.kind.as_str(), "iframe" | "shared_worker" | "service_worker") {
            // Its process may be another than the page's. A page enables this itself.
            connection.send_with_guard(Some(session), &inspector::EnableParams::default(), Box::new(()));
        }
        if is_watched_worker(&info.kind) {
            connection.send_with_guard(Some(session), &watch_requests(), Box::new(()));
        }
        resource_blocking::block_in_frame(connection, session, &block);
        if attached.waiting_for_debugger {
            connection.send_with_guard(Some(session), &RunIfWaitingForDebuggerParams {}, Box::new(()));
        }
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock_unpoisoned(&self.state)
    }
}

impl State {
    /// Returns the pages that a worker may belong to. None if the target is no worker.
    fn watchers_of_worker(&self, session: &str) -> Vec<&Arc<PageWatcher>> {
        let is_worker = self.sessions.get(session).is_some_and(|target| is_watched_worker(&target.kind));
        if is_worker { self.pages_of(session) } else { Vec::new() }
    }

    /// Whether the target of `session` is a descendant of `page`.
    fn is_inside(&self, session: &str, page: &str) -> bool {
        let mut next = self.sessions.get(session).and_then(|target| target.parent.as_deref());
        for _ in 0..MAX_ANCESTORS {
            match next {
                Some(parent) if parent == page => return true,
                Some(parent) => next = self.sessions.get(parent).and_then(|target| target.parent.as_deref()),
                None => return false,
            }
        }
        false
    }

    /// Returns the page that a target belongs to, or all pages of its context for a worker that they share.
    fn pages_of(&self, session: &str) -> Vec<&Arc<PageWatcher>> {
        let mut next = self.sessions.get(session);
        let context = next.map(|session| session.context.as_str());
        // A target has few ancestors. The limit holds whatever the browser reports.
        for _ in 0..MAX_ANCESTORS {
            let Some(session) = next else { break };
            if let Some(watcher) = &session.watcher {
                return vec![watcher];
            }
            next = session.parent.as_ref().and_then(|parent| self.sessions.get(parent));
        }
        let shared = self.sessions.values().filter(|session| Some(session.context.as_str()) == context);
        shared.filter_map(|session| session.watcher.as_ref()).collect()
    }
}

/// Returns the command that attaches to the children of a target before they run.
pub(super) fn auto_attach() -> SetAutoAttachParams {
    SetAutoAttachParams {
        auto_attach: true,
        wait_for_debugger_on_start: true,
        flatten: Some(true),
        filter: None,
    }
}

/// Asks the browser to close a page, and does not wait.
fn close_target(connection: &CdpConnection, target: &str) {
    connection.send_with_guard(None, &CloseTargetParams::new(target.to_owned()), Box::new(()));
}

/// A page that is being opened, until dropped.
pub(super) struct PendingTarget {
    targets: Arc<BrowserTargets>,
    context: String,
}

impl Drop for PendingTarget {
    fn drop(&mut self) {
        if let Some(context) = self.targets.lock().contexts.get_mut(&self.context) {
            context.expected = context.expected.saturating_sub(1);
        }
    }
}

/// Whether a page's request may end in a target of this kind. A service worker makes requests of its own only.
fn is_watched_worker(kind: &str) -> bool {
    matches!(kind, "worker" | "shared_worker")
}

/// Returns the command that reports a worker's requests. Their bodies are not stored.
fn watch_requests() -> network::EnableParams {
    network::EnableParams {
        max_total_buffer_size: Some(0),
        max_resource_buffer_size: Some(0),
        ..network::EnableParams::default()
    }
}

fn has_children(kind: &str) -> bool {
    matches!(kind, "page" | "iframe" | "worker" | "shared_worker" | "service_worker")
}

/// How long after a kill the browser may report the crash of a target.
const KILL_REPORT_LIMIT: Duration = Duration::from_secs(5);
const MAX_ANCESTORS: usize = 64;
/// After this time, the browser is asked again to close a page.
const CLOSE_REPEAT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_asked_to_close_until_it_is_closed() {
        let connection = CdpConnection::new(1024);
        let targets = Arc::new(BrowserTargets::default());
        let event =
            |method, params| targets.on_event(&connection, &CdpEvent { session: None, method, params });
        event(
            "Target.attachedToTarget",
            r#"{"sessionId":"S","waitingForDebugger":false,"targetInfo":{"targetId":"T","type":"page"}}"#,
        );
        let closes = || connection.take_unsent().iter().filter(|text| text.contains("closeTarget")).count();
        // Nothing asked for this page.
        assert_eq!(closes(), 1);
        let now = Instant::now();
        let after = |seconds| targets.repeat_closing(&connection, now + Duration::from_secs(seconds));
        assert!(after(1).is_some_and(|since| since < CLOSE_REPEAT));
        assert_eq!(closes(), 0);
        assert!(after(3).is_some_and(|since| since > CLOSE_REPEAT));
        assert_eq!(closes(), 1);
        after(4);
        assert_eq!(closes(), 0);
        after(6);
        assert_eq!(closes(), 1);
        event("Target.detachedFromTarget", r#"{"sessionId":"S"}"#);
        assert_eq!((after(9), closes()), (None, 0));
    }
}
