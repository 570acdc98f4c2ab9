//! What one page is doing, put together from its events. Deciding only: no I/O, no clock of its own.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chromiumoxide::cdp::browser_protocol::fetch::{ContinueRequestParams, HeaderEntry};
use serde::Deserialize;
use tokio::sync::Notify;

/// A page's state, shared between who reads the events and who waits for the page.
pub(super) struct Watch {
    state: Mutex<PageState>,
    changed: Notify,
}

/// What an event calls for at once.
pub(super) enum Reaction {
    Dialog { accept: bool },
    Continue(Box<ContinueRequestParams>),
}

/// Headers (and for the first document method and body) that the caller wants on requests to one
/// origin, and on no other: credentials must not travel to third parties.
#[derive(Default)]
pub(super) struct Rewrite {
    pub headers: Vec<(String, String)>,
    pub first: Option<(String, Option<String>)>,
}

/// One main-frame document, from its request on.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    pub loader: String,
    /// The URLs that redirected here, with their status.
    pub redirects: Vec<(String, u16)>,
    pub response: Option<Response>,
    /// The headers as they came over the wire, Set-Cookie included, with the status they came with.
    pub wire: Option<(u16, HashMap<String, String>)>,
    /// Body bytes so far, content coding removed.
    pub received: u64,
    pub finished: bool,
    pub failed: Option<String>,
}

/// All that is known of a page.
#[derive(Default)]
pub(super) struct PageState {
    frame: String,
    rewrite: Rewrite,
    /// Asked for, not committed: where a 204 or a failed load stays.
    pub coming: Option<Document>,
    /// What the browser put an error page in place of.
    pub refused: Option<Document>,
    /// The document the page shows.
    pub current: Option<Document>,
    /// How many documents were committed.
    pub documents: u64,
    /// The page's address, fragment and history changes included.
    pub url: Option<String>,
    committed: String,
    pub dom_ready: bool,
    loaded: bool,
    in_flight: HashSet<String>,
    last_traffic: Option<Instant>,
    pub download: bool,
    pub crashed: bool,
    pub closed: bool,
    /// The net error of the error page shown instead of a document.
    pub broken: Option<String>,
}

impl Watch {
    pub(super) fn new(frame: &str) -> Self {
        Self { state: Mutex::new(PageState::new(frame)), changed: Notify::new() }
    }

    /// Takes one event.
    pub(super) fn on(&self, method: &str, params: &str, now: Instant) -> Option<Reaction> {
        let reaction = self.lock().on(method, params, now);
        self.changed.notify_waiters();
        reaction
    }

    /// What the caller's requests carry from now on.
    pub(super) fn rewrite(&self, rewrite: Rewrite) {
        self.lock().rewrite = rewrite;
    }

    /// The target is gone.
    pub(super) fn closed(&self) {
        self.lock().closed = true;
        self.changed.notify_waiters();
    }

    /// Waits until `check` has an answer, asking it at every event and whenever it said to.
    pub(super) async fn until<T>(&self, mut check: impl FnMut(&PageState, Instant) -> Step<T>) -> T {
        loop {
            let changed = self.changed.notified();
            let step = check(&self.lock(), Instant::now());
            match step {
                Step::Done(value) => return value,
                Step::Event => changed.await,
                Step::At(when) => {
                    // Either way the question is asked again.
                    let _ = tokio::time::timeout_at(when.into(), changed).await;
                }
            }
        }
    }

    /// Reads something of the state now.
    pub(super) fn read<T>(&self, look: impl FnOnce(&PageState) -> T) -> T {
        look(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, PageState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a question to the state was answered with.
pub(super) enum Step<T> {
    Done(T),
    /// Ask again at the next event.
    Event,
    /// Ask again then, or at the next event.
    At(Instant),
}

impl PageState {
    fn new(frame: &str) -> Self {
        Self { frame: frame.to_owned(), ..Self::default() }
    }

    /// Whether the page has come to rest: parsed, and nothing asked for since `quiet`.
    pub(super) fn at_rest(&self, quiet: Duration, now: Instant) -> Step<()> {
        if !self.dom_ready || self.coming.is_some() || !(self.in_flight.is_empty()) {
            return Step::Event;
        }
        let Some(last) = self.last_traffic else { return Step::Event };
        // A page that has fired `load` with nothing in flight rests sooner than one that has not.
        let rest = last + if self.loaded { quiet } else { quiet * 2 };
        if rest <= now { Step::Done(()) } else { Step::At(rest) }
    }

    /// Why nothing more can come of this page.
    pub(super) fn is_over(&self) -> bool {
        self.crashed || self.closed
    }

    fn on(&mut self, method: &str, params: &str, now: Instant) -> Option<Reaction> {
        match method {
            "Network.requestWillBeSent" => self.request(read(params)?, now),
            "Network.responseReceived" => self.response(read(params)?),
            "Network.responseReceivedExtraInfo" => self.wire(read(params)?),
            "Network.dataReceived" => {
                let data: DataReceived = read(params)?;
                if let Some(document) = self.document(&data.request_id) {
                    document.received = document.received.saturating_add(data.data_length);
                }
            }
            "Network.loadingFinished" | "Network.loadingFailed" => self.ended(read(params)?, now),
            "Page.frameNavigated" => self.navigated(read(params)?, now),
            "Page.navigatedWithinDocument" => {
                let within: WithinDocument = read(params)?;
                if within.frame_id == self.frame {
                    self.url = Some(within.url);
                }
            }
            "Page.lifecycleEvent" => self.lifecycle(&read(params)?, now),
            "Page.javascriptDialogOpening" => {
                let dialog: Dialog = read(params)?;
                // Leaving a page must go on; everything else is refused.
                return Some(Reaction::Dialog { accept: dialog.kind == "beforeunload" });
            }
            "Page.downloadWillBegin" => self.download = true,
            "Fetch.requestPaused" => return Some(self.paused(read(params)?)),
            "Inspector.targetCrashed" => self.crashed = true,
            _ => {}
        }
        None
    }

    fn request(&mut self, event: RequestWillBeSent, now: Instant) {
        self.last_traffic = Some(now);
        let main = event.kind.as_deref() == Some("Document")
            && event.frame_id.as_deref() == Some(&self.frame)
            && event.request_id == event.loader_id;
        if main {
            let same = self.coming.as_ref().is_some_and(|coming| coming.loader == event.loader_id);
            if !same {
                self.coming = Some(Document { loader: event.loader_id, ..Document::default() });
            }
            if let (Some(redirect), Some(coming)) = (event.redirect_response, self.coming.as_mut())
                && coming.redirects.len() < MAX_KEPT
            {
                coming.redirects.push((redirect.url, redirect.status));
                coming.wire = None;
            }
        }
        let lasting = matches!(event.kind.as_deref(), Some("EventSource" | "Ping" | "Media" | "Prefetch"));
        if !lasting && self.in_flight.len() < MAX_KEPT {
            self.in_flight.insert(event.request_id);
        }
    }

    fn response(&mut self, event: ResponseReceived) {
        if event.kind == "Document"
            && let Some(document) = self.document(&event.request_id)
        {
            document.response = Some(event.response);
        }
    }

    fn wire(&mut self, event: ExtraInfo) {
        if let Some(document) = self.document(&event.request_id) {
            document.wire = Some((event.status_code, event.headers));
        }
    }

    fn ended(&mut self, event: LoadingEnded, now: Instant) {
        self.last_traffic = Some(now);
        self.in_flight.remove(&event.request_id);
        if let Some(document) = self.document(&event.request_id) {
            document.finished = true;
            document.failed = event.error_text;
        }
        // A page's own navigation to a 204 or a download changes nothing: do not wait for it.
        let moot = self.coming.as_ref().is_some_and(|coming| {
            coming.loader == event.request_id && coming.failed.is_some() && self.current.is_some()
        });
        if moot {
            self.coming = None;
        }
    }

    fn navigated(&mut self, event: FrameNavigated, now: Instant) {
        let frame = event.frame;
        if frame.id != self.frame || frame.parent_id.is_some() {
            return;
        }
        self.committed = frame.loader_id;
        // What the last document still waited for died with it, without a word in the protocol.
        self.in_flight.retain(|id| *id == self.committed);
        self.dom_ready = false;
        self.loaded = false;
        self.last_traffic = Some(now);
        if frame.unreachable_url.is_some() {
            let refused = self.coming.take();
            let failed = refused.as_ref().and_then(|refused| refused.failed.clone());
            self.broken = Some(failed.unwrap_or_else(|| "ERR_FAILED".to_owned()));
            self.refused = refused;
            return;
        }
        if self.coming.as_ref().is_some_and(|coming| coming.loader == self.committed) {
            self.current = self.coming.take();
            self.broken = None;
            self.documents += 1;
            self.url = Some(frame.url + frame.url_fragment.as_deref().unwrap_or_default());
        }
    }

    fn lifecycle(&mut self, event: &Lifecycle, now: Instant) {
        if event.frame_id != self.frame || event.loader_id != self.committed {
            return;
        }
        match event.name.as_str() {
            "DOMContentLoaded" => self.dom_ready = true,
            "load" => self.loaded = true,
            _ => return,
        }
        self.last_traffic = Some(now);
    }

    fn paused(&mut self, event: RequestPaused) -> Reaction {
        let first = (event.resource_type == "Document").then(|| self.rewrite.first.take()).flatten();
        let (method, body) = first.map_or((None, None), |(method, body)| (Some(method), body));
        let own = |name: &str| self.rewrite.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        let mut headers: Vec<HeaderEntry> = event
            .request
            .headers
            .into_iter()
            .filter(|(name, _)| !own(name))
            .map(|(name, value)| HeaderEntry { name, value })
            .collect();
        let added = self.rewrite.headers.iter();
        headers.extend(added.map(|(name, value)| HeaderEntry { name: name.clone(), value: value.clone() }));
        let mut request = ContinueRequestParams::new(event.request_id);
        request.method = method;
        request.post_data = body.map(Into::into);
        request.headers = Some(headers);
        Reaction::Continue(Box::new(request))
    }

    fn document(&mut self, id: &str) -> Option<&mut Document> {
        let found = |document: &Document| document.loader == id;
        match (&mut self.coming, &mut self.current) {
            (Some(coming), _) if found(coming) => Some(coming),
            (_, Some(current)) if found(current) => Some(current),
            _ => None,
        }
    }
}

/// Reads an event's fields; what is not understood is as if it had not happened.
fn read<'a, T: Deserialize<'a>>(params: &'a str) -> Option<T> {
    serde_json::from_str(params)
        .inspect_err(|cause| tracing::debug!(%cause, "an event was not understood"))
        .ok()
}

// Only the fields that are read: a browser that renames another one must not break us.

/// A document's response.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response {
    pub url: String,
    pub status: u16,
    #[serde(default)]
    pub headers: HashMap<String, String>,
    #[serde(default)]
    pub mime_type: String,
    #[serde(default)]
    pub protocol: String,
    pub timing: Option<Timing>,
}

/// Milliseconds since the request's start; -1 for what did not happen.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Timing {
    pub dns_start: f64,
    pub dns_end: f64,
    pub connect_start: f64,
    pub connect_end: f64,
    pub ssl_start: f64,
    pub ssl_end: f64,
    pub receive_headers_start: f64,
    pub receive_headers_end: f64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            dns_start: -1.0,
            dns_end: -1.0,
            connect_start: -1.0,
            connect_end: -1.0,
            ssl_start: -1.0,
            ssl_end: -1.0,
            receive_headers_start: -1.0,
            receive_headers_end: -1.0,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestWillBeSent {
    request_id: String,
    loader_id: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    frame_id: Option<String>,
    redirect_response: Option<Redirected>,
}

#[derive(Deserialize)]
struct Redirected {
    url: String,
    status: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResponseReceived {
    request_id: String,
    #[serde(rename = "type")]
    kind: String,
    response: Response,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExtraInfo {
    request_id: String,
    status_code: u16,
    headers: HashMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DataReceived {
    request_id: String,
    data_length: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoadingEnded {
    request_id: String,
    error_text: Option<String>,
}

#[derive(Deserialize)]
struct FrameNavigated {
    frame: Frame,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Frame {
    id: String,
    parent_id: Option<String>,
    loader_id: String,
    url: String,
    url_fragment: Option<String>,
    unreachable_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WithinDocument {
    frame_id: String,
    url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lifecycle {
    frame_id: String,
    loader_id: String,
    name: String,
}

#[derive(Deserialize)]
struct Dialog {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestPaused {
    request_id: String,
    request: PausedRequest,
    resource_type: String,
}

#[derive(Deserialize)]
struct PausedRequest {
    #[serde(default)]
    headers: HashMap<String, String>,
}

/// How many requests or redirects of one page are remembered.
const MAX_KEPT: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn page(events: &[(&str, &str)]) -> PageState {
        let mut state = PageState::new("F");
        for (method, params) in events {
            state.on(method, params, Instant::now());
        }
        state
    }

    const ASK: (&str, &str) =
        ("Network.requestWillBeSent", r#"{"requestId":"L","loaderId":"L","type":"Document","frameId":"F"}"#);
    const HEAD: (&str, &str) = (
        "Network.responseReceived",
        r#"{"requestId":"L","type":"Document","response":{"url":"http://a/","status":403}}"#,
    );
    const COMMIT: (&str, &str) = (
        "Page.frameNavigated",
        r##"{"frame":{"id":"F","loaderId":"L","url":"http://a/","urlFragment":"#x"}}"##,
    );
    const READY: (&str, &str) =
        ("Page.lifecycleEvent", r#"{"frameId":"F","loaderId":"L","name":"DOMContentLoaded"}"#);
    const END: (&str, &str) = ("Network.loadingFinished", r#"{"requestId":"L"}"#);

    #[test]
    fn the_last_main_document_counts() {
        let again = [
            (
                "Network.requestWillBeSent",
                r#"{"requestId":"M","loaderId":"M","type":"Document","frameId":"F"}"#,
            ),
            (
                "Network.responseReceived",
                r#"{"requestId":"M","type":"Document","response":{"url":"http://a/","status":200}}"#,
            ),
            ("Page.frameNavigated", r#"{"frame":{"id":"F","loaderId":"M","url":"http://a/"}}"#),
        ];
        let state = page(&[&[ASK, HEAD, COMMIT, READY, END][..], &again[..]].concat());
        assert_eq!(state.documents, 2);
        assert_eq!(state.current.unwrap().response.unwrap().status, 200);
        assert!(!state.dom_ready);
    }

    #[test]
    fn a_frame_or_subresource_is_not_the_document() {
        let frame = r#"{"requestId":"X","loaderId":"X","type":"Document","frameId":"G"}"#;
        let script = r#"{"requestId":"Y","loaderId":"L","type":"Script","frameId":"F"}"#;
        let state = page(&[("Network.requestWillBeSent", frame), ("Network.requestWillBeSent", script)]);
        assert!(state.coming.is_none());
        assert_eq!(state.in_flight.len(), 2);
    }

    #[test]
    fn the_redirect_chain_is_kept_in_order() {
        let hop = r#"{"requestId":"L","loaderId":"L","type":"Document","frameId":"F",
            "redirectResponse":{"url":"http://a/","status":302}}"#;
        let state = page(&[ASK, ("Network.requestWillBeSent", hop)]);
        assert_eq!(state.coming.unwrap().redirects, [("http://a/".to_owned(), 302)]);
    }

    #[test]
    fn a_page_rests_when_parsed_and_quiet() {
        let quiet = Duration::from_millis(500);
        let later = || Instant::now() + Duration::from_secs(5);
        let busy = page(&[ASK, HEAD, COMMIT, READY]);
        assert!(matches!(busy.at_rest(quiet, later()), Step::Event));
        let done = page(&[ASK, HEAD, COMMIT, READY, END]);
        assert!(matches!(done.at_rest(quiet, Instant::now()), Step::At(_)));
        assert!(matches!(done.at_rest(quiet, later()), Step::Done(())));
        assert_eq!(done.url.as_deref(), Some("http://a/#x"));
    }

    #[test]
    fn dialogs_are_dismissed_and_leaving_is_allowed() {
        let mut state = PageState::new("F");
        for (kind, want) in [("alert", false), ("confirm", false), ("beforeunload", true)] {
            let params = format!(r#"{{"type":"{kind}","message":"x"}}"#);
            let reaction = state.on("Page.javascriptDialogOpening", &params, Instant::now());
            assert!(matches!(reaction, Some(Reaction::Dialog { accept }) if accept == want), "{kind}");
        }
    }

    #[test]
    fn what_is_not_understood_changes_nothing() {
        let state =
            page(&[("Network.requestWillBeSent", "[]"), ("Page.frameNavigated", "{"), ("No.such", "{}")]);
        assert!(state.current.is_none() && state.in_flight.is_empty());
    }
}
