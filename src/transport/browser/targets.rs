//! Every target the browser opens, from its first moment: it starts paused, is dressed as the
//! identity, and only then runs. Pages nobody here asked for (popups) are closed.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use chromiumoxide::cdp::browser_protocol::fetch::{ContinueRequestParams, FailRequestParams};
use chromiumoxide::cdp::browser_protocol::page::HandleJavaScriptDialogParams;
use chromiumoxide::cdp::browser_protocol::target::{CloseTargetParams, SetAutoAttachParams};
use chromiumoxide::cdp::js_protocol::runtime::RunIfWaitingForDebuggerParams;
use serde::Deserialize;
use tokio::sync::Notify;

use super::block;
use super::connection::{Connection, Event};
use super::watch::{Reaction, Watch, react_in_frame};
use super::wear::Wear;
use crate::lock::lock;
use crate::view::Load;

/// The targets of one browser, by session.
#[derive(Default)]
pub(super) struct Targets {
    state: Mutex<State>,
    /// A page was attached, or the browser went.
    changed: Notify,
}

#[derive(Default)]
struct State {
    contexts: HashMap<String, Context>,
    sessions: HashMap<String, Session>,
    /// Pages that are attached but not claimed yet: target to session.
    unclaimed: HashMap<String, String>,
    gone: bool,
}

struct Context {
    wear: Arc<Wear>,
    /// Pages asked for and not claimed yet.
    expected: usize,
}

struct Session {
    context: String,
    /// For a page of ours; a worker or frame has none.
    watch: Option<Arc<Watch>>,
    /// What a frame does not load: what its page does not.
    block: Vec<Load>,
    /// What a page holds (its permit, its context) until the browser says it is gone.
    held: Option<Box<dyn Any + Send + Sync>>,
}

/// A page of ours as it was attached.
pub(super) struct Attached {
    pub session: String,
    pub watch: Arc<Watch>,
}

impl Targets {
    /// Everything in `context` wears `wear` from now on.
    pub(super) fn dress(&self, context: &str, wear: Wear) {
        self.lock().contexts.insert(context.to_owned(), Context { wear: Arc::new(wear), expected: 0 });
    }

    /// Forgets a disposed context.
    pub(super) fn undress(&self, context: &str) {
        self.lock().contexts.remove(context);
    }

    /// Announces that a page of ours is about to be made in `context`.
    pub(super) fn expect(self: &Arc<Self>, context: &str) -> Expectation {
        if let Some(context) = self.lock().contexts.get_mut(context) {
            context.expected += 1;
        }
        Expectation { targets: Arc::clone(self), context: context.to_owned() }
    }

    /// Waits until `target` is attached. `None` when the browser is gone.
    pub(super) async fn claim(&self, target: &str) -> Option<Attached> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.lock();
                if state.gone {
                    return None;
                }
                if let Some(session) = state.unclaimed.remove(target) {
                    let watch = state.sessions.get(&session)?.watch.clone()?;
                    return Some(Attached { session, watch });
                }
            }
            changed.await;
        }
    }

    /// Lets go of `held` once the session of a page has ended: a closed page is gone only then.
    pub(super) fn hold(&self, session: &str, held: Box<dyn Any + Send + Sync>) {
        if let Some(session) = self.lock().sessions.get_mut(session) {
            session.held = Some(held);
        }
    }

    /// Pages of `context` that nobody asked for: they came while one was expected.
    pub(super) fn strays(&self, context: &str) -> Vec<String> {
        let mut state = self.lock();
        if state.contexts.get(context).is_some_and(|context| context.expected > 0) {
            return Vec::new();
        }
        let State { unclaimed, sessions, .. } = &mut *state;
        let strays = unclaimed
            .extract_if(|_, session| sessions.get(session).is_some_and(|session| session.context == context));
        strays.map(|(target, _)| target).collect()
    }

    /// Wakes everybody who waits for a target of a dead browser.
    pub(super) fn all_gone(&self) {
        let sessions: Vec<_> = {
            let mut state = self.lock();
            state.gone = true;
            state.sessions.drain().map(|(_, session)| session).collect()
        };
        for watch in sessions.into_iter().filter_map(|session| session.watch) {
            watch.closed();
        }
        self.changed.notify_waiters();
    }

    /// Takes one event of the browser. Never waits: commands it calls for are only sent.
    pub(super) fn on(&self, connection: &Connection, event: &Event<'_>) {
        match event.method {
            "Target.attachedToTarget" => match serde_json::from_str::<AttachedToTarget>(event.params) {
                Ok(attached) => self.attached(connection, event.session, &attached),
                Err(cause) => tracing::warn!(%cause, "the browser announced a target nobody understands"),
            },
            "Target.detachedFromTarget" => {
                let Ok(detached) = serde_json::from_str::<DetachedFromTarget>(event.params) else { return };
                let session = self.lock().sessions.remove(&detached.session_id);
                if let Some(watch) = session.as_ref().and_then(|session| session.watch.as_ref()) {
                    watch.closed();
                }
            }
            _ => {
                let Some(session) = event.session else { return };
                let Some(reaction) = self.react(session, event) else { return };
                match reaction {
                    Reaction::Dialog { accept } => {
                        let answer = HandleJavaScriptDialogParams { accept, prompt_text: None };
                        connection.tell(Some(session), &answer, Box::new(()));
                    }
                    Reaction::Continue(request) => {
                        let request: &ContinueRequestParams = &request;
                        connection.tell(Some(session), request, Box::new(()));
                    }
                    Reaction::Refuse(request) => {
                        let request: &FailRequestParams = &request;
                        connection.tell(Some(session), request, Box::new(()));
                    }
                }
            }
        }
    }

    /// What an event of a page or frame calls for.
    fn react(&self, session: &str, event: &Event<'_>) -> Option<Reaction> {
        let watch = {
            let state = self.lock();
            let session = state.sessions.get(session)?;
            if session.watch.is_none() && !session.block.is_empty() {
                return react_in_frame(event.method, event.params, &session.block);
            }
            session.watch.clone()?
        };
        watch.on(event.method, event.params, Instant::now())
    }

    fn attached(&self, connection: &Connection, parent: Option<&str>, attached: &AttachedToTarget) {
        let info = &attached.target_info;
        let session = attached.session_id.as_str();
        let mut unwanted = false;
        let (wear, block) = {
            let mut state = self.lock();
            let of_parent =
                || parent.and_then(|parent| state.sessions.get(parent)).map(|parent| parent.context.clone());
            let context = info.browser_context_id.clone().or_else(of_parent).unwrap_or_default();
            let known = state.contexts.get(&context);
            let wear = known.map(|context| Arc::clone(&context.wear));
            let mut watch = None;
            if info.kind == "page" {
                unwanted = info.opener_id.is_some() || known.is_none_or(|context| context.expected == 0);
                if !unwanted {
                    watch = Some(Arc::new(Watch::new(&info.target_id)));
                    state.unclaimed.insert(info.target_id.clone(), session.to_owned());
                }
            }
            let parent =
                parent.filter(|_| info.kind == "iframe").and_then(|parent| state.sessions.get(parent));
            let block = parent.map_or_else(Vec::new, |parent| match &parent.watch {
                Some(watch) => watch.block(),
                None => parent.block.clone(),
            });
            let held = None;
            state.sessions.insert(session.to_owned(), Session { context, watch, block: block.clone(), held });
            (wear, block)
        };
        if unwanted {
            tracing::debug!("closing a popup");
            let close = CloseTargetParams { target_id: info.target_id.clone().into() };
            connection.tell(None, &close, Box::new(()));
        } else if has_children(&info.kind) {
            connection.tell(Some(session), &auto_attach(), Box::new(()));
        }
        if let Some(wear) = wear {
            wear.put_on(connection, session, &info.kind);
        }
        block::in_frame(connection, session, &block);
        if attached.waiting_for_debugger {
            connection.tell(Some(session), &RunIfWaitingForDebuggerParams {}, Box::new(()));
        }
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Attach to what a target opens, before it runs.
pub(super) fn auto_attach() -> SetAutoAttachParams {
    SetAutoAttachParams {
        auto_attach: true,
        wait_for_debugger_on_start: true,
        flatten: Some(true),
        filter: None,
    }
}

/// That a page of ours is on its way; ends when dropped.
pub(super) struct Expectation {
    targets: Arc<Targets>,
    context: String,
}

impl Drop for Expectation {
    fn drop(&mut self) {
        if let Some(context) = self.targets.lock().contexts.get_mut(&self.context) {
            context.expected = context.expected.saturating_sub(1);
        }
    }
}

fn has_children(kind: &str) -> bool {
    matches!(kind, "page" | "iframe" | "worker" | "shared_worker" | "service_worker")
}

// Only the fields that are read: a browser that renames another one must not break us.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttachedToTarget {
    session_id: String,
    target_info: TargetInfo,
    waiting_for_debugger: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TargetInfo {
    target_id: String,
    #[serde(rename = "type")]
    kind: String,
    opener_id: Option<String>,
    browser_context_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DetachedFromTarget {
    session_id: String,
}
