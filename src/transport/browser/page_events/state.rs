//! The state machine of a page, driven by its events. No I/O and no clock.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chromiumoxide_cdp::cdp::browser_protocol::fetch::ContinueRequestParams;

use super::document::{DocumentExchange, MainDocument, WireResponse};
use super::events::{
    DataReceived, DialogOpening, DownloadWillBegin, FieldList, FrameEvent, FrameNavigated, LifecycleEvent,
    LoadingEnded, NavigatedWithinDocument, RequestExtraInfo, RequestId, RequestWillBeSent, ResponseExtraInfo,
    ResponseReceived, parse_event,
};
use super::paused_response::{InterceptRules, OfferedFile, PausedResponse, SentDocument, is_viewer_type};
use super::traffic::Traffic;
use super::{EventReply, WaitStep};
use crate::transport::chromium::page_memory::MemoryExcess;

/// A navigation of the page that has not begun.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct PendingNavigation {
    /// When it begins, plus a tolerance. A page that does not navigate then is idle nevertheless.
    pub until: Instant,
}

/// The state of a page.
#[derive(Default)]
pub(in super::super) struct PageState {
    pub(super) frame: String,
    pub(super) rules: InterceptRules,
    /// The response that is paused until the visit has read it.
    pub paused: Option<PausedResponse>,
    /// The requests whose challenge was answered. A second one means that the credentials are wrong.
    pub(super) answered_challenges: HashSet<String>,
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
    pub(super) traffic: Traffic,
    /// The navigation that the page has scheduled.
    pub scheduled: Option<PendingNavigation>,
    /// Whether the navigation that begins is a refresh.
    pub(super) is_refreshing: bool,
    /// The number of refreshes to other documents.
    pub refresh_count: u32,
    /// The document whose request had the caller's method and body.
    pub(super) sent_document: Option<SentDocument>,
    /// Ids (in the commands of `Fetch`) of paused requests that got the caller's headers.
    pub(super) requests_with_headers: HashSet<String>,
    /// The download that the browser started.
    pub download: Option<OfferedFile>,
    /// The response without a document to which the page navigated itself: a 204 or 205. The page stays.
    pub empty_document: Option<MainDocument>,
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
        if !self.dom_ready || self.has_requests() || self.rules.awaits_load && !self.loaded {
            return WaitStep::Event;
        }
        let Some(last) = self.traffic.last() else { return WaitStep::Event };
        // A page that has fired `load` with nothing in flight is idle sooner than others.
        let mut idle_at = last + if self.loaded { quiet } else { quiet * 2 };
        if let Some(scheduled) = self.scheduled {
            idle_at = idle_at.max(scheduled.until);
        }
        if idle_at <= now { WaitStep::Done(()) } else { WaitStep::At(idle_at) }
    }

    pub(in super::super) const fn rules(&self) -> &InterceptRules {
        &self.rules
    }

    /// Returns the file that the page leads to.
    pub(in super::super) fn offered_file(&self) -> Option<OfferedFile> {
        if let Some(paused) = self.paused.as_ref().filter(|paused| paused.file) {
            let (url, replaces_page) = (paused.url.clone(), paused.replaces_page());
            return Some(OfferedFile { url, is_paused: true, replaces_page, is_early: paused.is_early });
        }
        if self.download.is_some() {
            return self.download.clone();
        }
        // Without a media type, the browser has detected it by the bytes.
        let documents = [&self.pending_document, &self.current_document];
        let mut responses = documents.into_iter().flatten().filter_map(MainDocument::response);
        let url = responses.find(|response| is_viewer_type(&response.mime_type))?.url.clone();
        Some(OfferedFile { url, is_paused: false, replaces_page: true, is_early: false })
    }

    /// Whether requests of the page are in flight.
    pub(in super::super) fn has_requests(&self) -> bool {
        self.pending_document.is_some() || !self.traffic.is_empty()
    }

    /// Whether the page has crashed or is closed.
    pub(in super::super) fn has_ended(&self) -> bool {
        self.crashed || self.closed
    }

    pub(super) fn on_event(&mut self, method: &str, params: &str, now: Instant) -> Option<EventReply> {
        match method {
            "Network.requestWillBeSent" => self.on_request(parse_event(params)?, now),
            "Network.responseReceived" => self.on_response(parse_event(params)?),
            "Network.requestWillBeSentExtraInfo" => self.on_request_extra_info(params),
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
            "Page.frameStoppedLoading" => {
                let stopped: FrameEvent = parse_event(params)?;
                self.on_stopped_loading(&stopped.frame_id, now);
            }
            "Page.frameScheduledNavigation" => self.on_scheduled(&parse_event(params)?, now),
            "Page.frameRequestedNavigation" => self.on_requested_navigation(&parse_event(params)?),
            "Page.frameClearedScheduledNavigation" => {
                let cleared: FrameEvent = parse_event(params)?;
                self.on_unscheduled(&cleared.frame_id, now);
            }
            "Page.javascriptDialogOpening" => {
                let dialog: DialogOpening = parse_event(params)?;
                // Navigating away must succeed; all other dialogs are dismissed.
                return Some(EventReply::Dialog { accept: dialog.kind == "beforeunload" });
            }
            "Fetch.authRequired" => return Some(self.on_auth_required(parse_event(params)?)),
            "Page.downloadWillBegin" => {
                let download: DownloadWillBegin = parse_event(params)?;
                if download.frame_id == self.frame {
                    let (url, is_early) = (download.url, !self.dom_ready);
                    self.download =
                        Some(OfferedFile { url, is_paused: false, replaces_page: false, is_early });
                }
            }
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
        let main = event.kind.as_deref() == Some("Document")
            && event.frame_id.as_deref() == Some(&self.frame)
            && event.request_id == event.loader_id;
        self.traffic.begin(&event, now);
        if main {
            self.on_document_request(event);
        }
    }

    fn on_document_request(&mut self, mut event: RequestWillBeSent) {
        let same = self.pending_document.as_ref().is_some_and(|pending| pending.loader_id == event.loader_id);
        if !same {
            let redirects = self.refreshed_documents();
            self.pending_document = Some(MainDocument::new(&event, redirects));
        }
        if let (Some(redirect), Some(pending)) =
            (event.redirect_response.take(), self.pending_document.as_mut())
        {
            record_accept_ch(&mut self.accept_ch, &redirect.url, &redirect.headers);
            pending.redirect(redirect, &event);
        }
    }

    /// Returns the redirects so far, if a refresh of the current document begins. A refresh is a redirect, as on the HTTP
    /// tiers.
    fn refreshed_documents(&mut self) -> Vec<DocumentExchange> {
        let is_refresh = std::mem::take(&mut self.is_refreshing) && self.rules.follows_refresh;
        let Some(document) = self.current_document.as_ref().filter(|_| is_refresh) else { return Vec::new() };
        let mut redirects = document.redirects.clone();
        self.refresh_count += 1;
        if document.response().is_some() {
            redirects.push(document.exchange.clone());
        }
        redirects
    }

    fn on_response(&mut self, event: ResponseReceived) {
        let ResponseReceived { request_id, kind, response } = event;
        if kind == "Document" && self.document_mut(&request_id).is_some() {
            record_accept_ch(&mut self.accept_ch, &response.url, &response.headers);
            if let Some(document) = self.document_mut(&request_id) {
                document.exchange.response = Some(response);
            }
        }
    }

    /// Reads the head of a document's request, but not those of other requests, which may be many.
    fn on_request_extra_info(&mut self, params: &str) {
        if let Some(event) = parse_event::<RequestId>(params)
            && let Some(document) = self.document_mut(&event.request_id)
            && let Some(RequestExtraInfo { headers: FieldList(fields) }) = parse_event(params)
        {
            document.exchange.request.fields = fields;
        }
    }

    fn on_extra_info(&mut self, event: ResponseExtraInfo) {
        if let Some(document) = self.document_mut(&event.request_id) {
            document.add_wire(WireResponse {
                status: event.status_code,
                headers: event.headers,
                text: event.headers_text,
            });
        }
    }

    fn on_loading_ended(&mut self, event: LoadingEnded, now: Instant) {
        self.traffic.end(&event.request_id, now);
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
            let ended = self.pending_document.take();
            self.empty_document = ended.filter(|document| {
                document.response().is_some_and(|response| matches!(response.status, 204 | 205))
            });
        }
    }

    /// A navigation that shows no document ends the loading of the page that began it, without a `load` event.
    fn on_stopped_loading(&mut self, frame: &str, now: Instant) {
        let is_received = self.current_document.as_ref().is_some_and(|document| document.finished);
        if frame == self.frame && is_received && self.pending_document.is_none() && !self.loaded {
            (self.dom_ready, self.loaded) = (true, true);
            self.traffic.touch(now);
        }
    }

    fn on_frame_navigated(&mut self, event: FrameNavigated, now: Instant) {
        let frame = event.frame;
        if frame.id != self.frame || frame.parent_id.is_some() {
            return;
        }
        self.committed_loader = frame.loader_id;
        self.traffic.start_document(&self.committed_loader, now);
        self.dom_ready = false;
        self.loaded = false;
        self.scheduled = None;
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
        self.traffic.touch(now);
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

/// Maximum of Accept-CH values that are recorded per page, and the length of each.
const MAX_ACCEPT_CH: usize = 100;
const MAX_ACCEPT_CH_LEN: usize = 4096;

#[cfg(test)]
mod tests;
