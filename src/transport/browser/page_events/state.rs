//! The state machine of a page, driven by its events. No I/O and no clock.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chromiumoxide::cdp::browser_protocol::fetch::ContinueRequestParams;
use serde::Deserialize;

use super::super::page_memory::MemoryExcess;
use super::events::{
    DataReceived, DialogOpening, FrameNavigated, LifecycleEvent, LoadingEnded, NavigatedWithinDocument,
    NetworkResponse, RequestWillBeSent, ResponseExtraInfo, ResponseReceived,
};
use super::paused_response::{InterceptRules, PausedResponse};
use super::{EventReply, WaitStep};

/// One main-frame document, from its request on.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct MainDocument {
    pub loader_id: String,
    /// The URLs that redirected here, with their status.
    pub redirects: Vec<(String, u16)>,
    pub response: Option<NetworkResponse>,
    /// The headers on the wire, including Set-Cookie.
    pub wire: Option<WireResponse>,
    /// The header fields in the order received, with the status of their response.
    pub fields: Option<(u16, Vec<(String, String)>)>,
    /// Body bytes received so far, after content decoding.
    pub received: u64,
    pub finished: bool,
    pub failed: Option<String>,
}

/// A document's response head on the wire.
#[derive(Clone, Debug)]
pub(in super::super) struct WireResponse {
    pub status: u16,
    /// By name; repeated fields are joined by line feeds.
    pub headers: HashMap<String, String>,
    /// The raw head from the status line on; only over HTTP/1.
    pub text: Option<String>,
}

/// The state of a page.
#[derive(Default)]
pub(in super::super) struct PageState {
    pub(super) frame: String,
    pub(super) rules: InterceptRules,
    /// The response that is paused until the visit has read it.
    pub paused: Option<PausedResponse>,
    /// Document requests that wait for the hooks: URL, and the command that continues the request.
    pub pending_requests: VecDeque<(String, Box<ContinueRequestParams>)>,
    /// The last document stored as the server sent it, with its loader.
    pub raw_body: Option<(String, Bytes)>,
    /// The document that is requested but not committed. A 204 or a failed load stays here.
    pub pending_document: Option<MainDocument>,
    /// The document that the browser replaced by an error page.
    pub failed_document: Option<MainDocument>,
    /// The document the page shows.
    pub current_document: Option<MainDocument>,
    /// The number of committed documents.
    pub document_count: u64,
    /// The client hints that its documents requested, including challenges and redirects: URL and Accept-CH.
    pub accept_ch: Vec<(String, String)>,
    /// The page's URL, including fragment and history changes.
    pub url: Option<String>,
    committed_loader: String,
    pub dom_ready: bool,
    loaded: bool,
    in_flight: HashSet<String>,
    /// Ids (in the commands of `Fetch`) of paused requests that got the caller's headers.
    pub(super) requests_with_headers: HashSet<String>,
    last_traffic: Option<Instant>,
    pub download: bool,
    pub crashed: bool,
    pub closed: bool,
    /// The memory limit for which the page was ended.
    pub memory_excess: Option<Arc<MemoryExcess>>,
    /// The net error of the error page shown instead of a document.
    pub error_page: Option<String>,
}

impl PageState {
    pub(super) fn new(frame: &str) -> Self {
        Self { frame: frame.to_owned(), ..Self::default() }
    }

    /// Resets to the state before any navigation.
    pub(super) fn reset(&mut self, rules: InterceptRules) {
        let (crashed, closed, memory_excess) = (self.crashed, self.closed, self.memory_excess.take());
        *self = Self { rules, crashed, closed, memory_excess, ..Self::new(&self.frame) };
    }

    /// Whether the page is idle: parsed, and without requests for `quiet`.
    pub(in super::super) fn check_idle(&self, quiet: Duration, now: Instant) -> WaitStep<()> {
        if !self.dom_ready || self.pending_document.is_some() || !(self.in_flight.is_empty()) {
            return WaitStep::Event;
        }
        let Some(last) = self.last_traffic else { return WaitStep::Event };
        // A page that has fired `load` with nothing in flight is idle sooner than others.
        let idle_at = last + if self.loaded { quiet } else { quiet * 2 };
        if idle_at <= now { WaitStep::Done(()) } else { WaitStep::At(idle_at) }
    }

    /// Whether requests of the page are in flight.
    pub(in super::super) fn has_requests(&self) -> bool {
        self.pending_document.is_some() || !self.in_flight.is_empty()
    }

    /// Whether the page has crashed or is closed.
    pub(in super::super) fn has_ended(&self) -> bool {
        self.crashed || self.closed
    }

    pub(super) fn on_event(&mut self, method: &str, params: &str, now: Instant) -> Option<EventReply> {
        match method {
            "Network.requestWillBeSent" => self.on_request(parse_event(params)?, now),
            "Network.responseReceived" => self.on_response(parse_event(params)?),
            "Network.responseReceivedExtraInfo" => self.on_extra_info(parse_event(params)?),
            "Network.dataReceived" => {
                let data: DataReceived = parse_event(params)?;
                if let Some(document) = self.document_mut(&data.request_id) {
                    document.received = document.received.saturating_add(data.data_length);
                }
            }
            "Network.loadingFinished" | "Network.loadingFailed" => {
                self.on_loading_ended(parse_event(params)?, now);
            }
            "Page.frameNavigated" => self.on_frame_navigated(parse_event(params)?, now),
            "Page.navigatedWithinDocument" => {
                let within: NavigatedWithinDocument = parse_event(params)?;
                if within.frame_id == self.frame {
                    self.url = Some(within.url);
                }
            }
            "Page.lifecycleEvent" => self.on_lifecycle_event(&parse_event(params)?, now),
            "Page.javascriptDialogOpening" => {
                let dialog: DialogOpening = parse_event(params)?;
                // Navigating away must succeed; all other dialogs are dismissed.
                return Some(EventReply::Dialog { accept: dialog.kind == "beforeunload" });
            }
            "Page.downloadWillBegin" => self.download = true,
            "Fetch.requestPaused" => return self.on_request_paused(parse_event(params)?),
            "Inspector.targetCrashed" => self.crashed = true,
            _ => {}
        }
        None
    }

    fn on_request(&mut self, event: RequestWillBeSent, now: Instant) {
        if event.frame_id.as_deref().is_some_and(|frame| frame != self.frame) {
            // Requests of child frames do not delay the page.
            return;
        }
        self.last_traffic = Some(now);
        let main = event.kind.as_deref() == Some("Document")
            && event.frame_id.as_deref() == Some(&self.frame)
            && event.request_id == event.loader_id;
        if main {
            let same =
                self.pending_document.as_ref().is_some_and(|pending| pending.loader_id == event.loader_id);
            if !same {
                self.pending_document =
                    Some(MainDocument { loader_id: event.loader_id, ..MainDocument::default() });
            }
            if let (Some(redirect), Some(pending)) = (event.redirect_response, self.pending_document.as_mut())
                && pending.redirects.len() < MAX_REQUESTS
            {
                record_accept_ch(&mut self.accept_ch, &redirect.url, &redirect.headers);
                pending.redirects.push((redirect.url, redirect.status));
                (pending.wire, pending.fields) = (None, None);
            }
        }
        let lasting = matches!(event.kind.as_deref(), Some("EventSource" | "Ping" | "Media" | "Prefetch"));
        if !lasting && self.in_flight.len() < MAX_REQUESTS {
            self.in_flight.insert(event.request_id);
        }
    }

    fn on_response(&mut self, event: ResponseReceived) {
        let ResponseReceived { request_id, kind, response } = event;
        if kind == "Document" && self.document_mut(&request_id).is_some() {
            record_accept_ch(&mut self.accept_ch, &response.url, &response.headers);
            if let Some(document) = self.document_mut(&request_id) {
                document.response = Some(response);
            }
        }
    }

    fn on_extra_info(&mut self, event: ResponseExtraInfo) {
        if let Some(document) = self.document_mut(&event.request_id) {
            document.wire = Some(WireResponse {
                status: event.status_code,
                headers: event.headers,
                text: event.headers_text,
            });
        }
    }

    fn on_loading_ended(&mut self, event: LoadingEnded, now: Instant) {
        if self.in_flight.remove(&event.request_id) {
            self.last_traffic = Some(now);
        }
        if let Some(document) = self.document_mut(&event.request_id) {
            document.finished = true;
            document.failed = event.error_text;
        }
        // A page's own navigation to a 204 or a download does not change the page: do not wait for it.
        let is_irrelevant = self.pending_document.as_ref().is_some_and(|pending| {
            pending.loader_id == event.request_id
                && pending.failed.is_some()
                && self.current_document.is_some()
        });
        if is_irrelevant {
            self.pending_document = None;
        }
    }

    fn on_frame_navigated(&mut self, event: FrameNavigated, now: Instant) {
        let frame = event.frame;
        if frame.id != self.frame || frame.parent_id.is_some() {
            return;
        }
        self.committed_loader = frame.loader_id;
        // Requests of the previous document ended with it, without an event.
        self.in_flight.retain(|id| *id == self.committed_loader);
        self.dom_ready = false;
        self.loaded = false;
        self.last_traffic = Some(now);
        if frame.unreachable_url.is_some() {
            let failed = self.pending_document.take();
            let net_error = failed.as_ref().and_then(|failed| failed.failed.clone());
            self.error_page = Some(net_error.unwrap_or_else(|| "ERR_FAILED".to_owned()));
            self.failed_document = failed;
            return;
        }
        if self.pending_document.as_ref().is_some_and(|pending| pending.loader_id == self.committed_loader) {
            self.current_document = self.pending_document.take();
            self.error_page = None;
            self.document_count += 1;
            self.url = Some(frame.url + frame.url_fragment.as_deref().unwrap_or_default());
        }
    }

    fn on_lifecycle_event(&mut self, event: &LifecycleEvent, now: Instant) {
        if event.frame_id != self.frame || event.loader_id != self.committed_loader {
            return;
        }
        match event.name.as_str() {
            "DOMContentLoaded" => self.dom_ready = true,
            "load" => self.loaded = true,
            _ => return,
        }
        self.last_traffic = Some(now);
    }

    pub(super) fn document_mut(&mut self, id: &str) -> Option<&mut MainDocument> {
        let matches = |document: &MainDocument| document.loader_id == id;
        match (&mut self.pending_document, &mut self.current_document) {
            (Some(pending), _) if matches(pending) => Some(pending),
            (_, Some(current)) if matches(current) => Some(current),
            _ => None,
        }
    }
}

/// Records the client hints that a response requests.
fn record_accept_ch(list: &mut Vec<(String, String)>, url: &str, headers: &HashMap<String, String>) {
    let named = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("accept-ch"));
    if let Some((_, value)) = named
        && list.len() < MAX_ACCEPT_CH
        && value.len() <= MAX_ACCEPT_CH_LEN
    {
        // Repeated fields are joined, their values separated by line feeds.
        list.push((url.to_owned(), value.replace('\n', ",")));
    }
}

/// Parses an event's parameters. An event that cannot be parsed is ignored.
fn parse_event<'a, T: Deserialize<'a>>(params: &'a str) -> Option<T> {
    serde_json::from_str(params).inspect_err(|cause| tracing::debug!(%cause, "could not parse an event")).ok()
}

/// Maximum of requests or redirects of one page that are tracked.
pub(super) const MAX_REQUESTS: usize = 10_000;
/// Maximum of Accept-CH values that are recorded per page, and the length of each.
const MAX_ACCEPT_CH: usize = 100;
const MAX_ACCEPT_CH_LEN: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn page(events: &[(&str, &str)]) -> PageState {
        let mut state = PageState::new("F");
        for (method, params) in events {
            state.on_event(method, params, Instant::now());
        }
        state
    }

    const REQUEST: (&str, &str) =
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
        let state = page(&[&[REQUEST, HEAD, COMMIT, READY, END][..], &again[..]].concat());
        assert_eq!(state.document_count, 2);
        assert_eq!(state.current_document.unwrap().response.unwrap().status, 200);
        assert!(!state.dom_ready);
    }

    #[test]
    fn a_frame_or_subresource_is_not_the_document() {
        let frame = r#"{"requestId":"X","loaderId":"X","type":"Document","frameId":"G"}"#;
        let script = r#"{"requestId":"Y","loaderId":"L","type":"Script","frameId":"F"}"#;
        let state = page(&[("Network.requestWillBeSent", frame), ("Network.requestWillBeSent", script)]);
        assert!(state.pending_document.is_none());
        assert_eq!(state.in_flight.len(), 1, "only the script; a frame does not delay the page");
    }

    #[test]
    fn client_hints_requested_by_a_challenge_or_a_redirect_are_kept() {
        let hop = r#"{"requestId":"L","loaderId":"L","type":"Document","frameId":"F","redirectResponse":
            {"url":"https://a/","status":302,"headers":{"Accept-CH":"Sec-CH-UA-Arch\nSec-CH-UA-Model"}}}"#;
        let challenge = r#"{"requestId":"L","type":"Document","response":
            {"url":"https://b/","status":403,"headers":{"accept-ch":"Sec-CH-UA-Bitness"}}}"#;
        let frame = r#"{"requestId":"X","type":"Document","response":
            {"url":"https://c/","status":200,"headers":{"accept-ch":"Sec-CH-UA-Model"}}}"#;
        let state = page(&[
            REQUEST,
            ("Network.requestWillBeSent", hop),
            ("Network.responseReceived", challenge),
            COMMIT,
            ("Network.responseReceived", frame),
            (
                "Network.requestWillBeSent",
                r#"{"requestId":"M","loaderId":"M","type":"Document","frameId":"F"}"#,
            ),
            ("Page.frameNavigated", r#"{"frame":{"id":"F","loaderId":"M","url":"https://b/"}}"#),
        ]);
        let own = |(url, hints): (&str, &str)| (url.to_owned(), hints.to_owned());
        let want = [("https://a/", "Sec-CH-UA-Arch,Sec-CH-UA-Model"), ("https://b/", "Sec-CH-UA-Bitness")];
        assert_eq!(state.accept_ch, want.map(own));
    }

    #[test]
    fn the_redirect_chain_is_kept_in_order() {
        let hop = r#"{"requestId":"L","loaderId":"L","type":"Document","frameId":"F",
            "redirectResponse":{"url":"http://a/","status":302}}"#;
        let state = page(&[REQUEST, ("Network.requestWillBeSent", hop)]);
        assert_eq!(state.pending_document.unwrap().redirects, [("http://a/".to_owned(), 302)]);
    }

    #[test]
    fn a_page_is_idle_when_parsed_and_without_requests() {
        let quiet = Duration::from_millis(500);
        let later = || Instant::now() + Duration::from_secs(5);
        let busy = page(&[REQUEST, HEAD, COMMIT, READY]);
        assert!(matches!(busy.check_idle(quiet, later()), WaitStep::Event));
        let done = page(&[REQUEST, HEAD, COMMIT, READY, END]);
        assert!(matches!(done.check_idle(quiet, Instant::now()), WaitStep::At(_)));
        assert!(matches!(done.check_idle(quiet, later()), WaitStep::Done(())));
        assert_eq!(done.url.as_deref(), Some("http://a/#x"));
    }

    #[test]
    fn dialogs_are_dismissed_and_leaving_is_allowed() {
        let mut state = PageState::new("F");
        for (kind, want) in [("alert", false), ("confirm", false), ("beforeunload", true)] {
            let params = format!(r#"{{"type":"{kind}","message":"x"}}"#);
            let reply = state.on_event("Page.javascriptDialogOpening", &params, Instant::now());
            assert!(matches!(reply, Some(EventReply::Dialog { accept }) if accept == want), "{kind}");
        }
    }

    #[test]
    fn unparsable_and_unknown_events_change_nothing() {
        let state =
            page(&[("Network.requestWillBeSent", "[]"), ("Page.frameNavigated", "{"), ("No.such", "{}")]);
        assert!(state.current_document.is_none() && state.in_flight.is_empty());
    }
}
