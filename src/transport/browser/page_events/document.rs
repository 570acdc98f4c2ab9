//! A main-frame document with its requests and responses, those of redirects included.

use std::collections::HashMap;

use super::events::{MAX_REQUESTS, NetworkResponse, RequestWillBeSent};

/// One main-frame document, from its request on.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct MainDocument {
    pub loader_id: String,
    /// The redirects that led here, and the documents that refreshed to here.
    pub redirects: Vec<DocumentExchange>,
    pub exchange: DocumentExchange,
    /// Body bytes received so far, after content decoding.
    pub received: u64,
    pub finished: bool,
    pub failed: Option<String>,
}

/// One request for a document, and its response.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct DocumentExchange {
    pub request: DocumentRequest,
    pub response: Option<NetworkResponse>,
    /// The response head on the wire, including Set-Cookie.
    pub wire: Option<WireResponse>,
    /// The response's header fields in the order received, with its status.
    pub fields: Option<(u16, Vec<(String, String)>)>,
    /// Whether the event with the response head on the wire is still to come.
    awaits_wire: bool,
}

/// A request for a document.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct DocumentRequest {
    pub url: String,
    pub method: String,
    /// The header fields as sent, HTTP/2's pseudo headers included. Empty if the browser did not report them.
    pub fields: Vec<(String, String)>,
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

impl MainDocument {
    /// Returns the document that `event` requests.
    pub(super) fn new(event: &RequestWillBeSent, redirects: Vec<DocumentExchange>) -> Self {
        let exchange = DocumentExchange::new(event);
        Self { loader_id: event.loader_id.clone(), redirects, exchange, ..Self::default() }
    }

    pub(in super::super) const fn response(&self) -> Option<&NetworkResponse> {
        self.exchange.response.as_ref()
    }

    /// Whether its response set cookies.
    pub(super) fn sets_cookies(&self) -> bool {
        let names = self.exchange.wire.iter().flat_map(|wire| wire.headers.keys());
        names.into_iter().any(|name| name.eq_ignore_ascii_case("set-cookie"))
    }

    /// Ends the current exchange with `response`, and begins the one that `event` requests.
    pub(super) fn redirect(&mut self, response: NetworkResponse, event: &RequestWillBeSent) {
        if self.redirects.len() >= MAX_REQUESTS {
            return;
        }
        let mut ended = std::mem::replace(&mut self.exchange, DocumentExchange::new(event));
        ended.wire = ended.wire.filter(|wire| wire.status == response.status);
        ended.awaits_wire = event.redirect_has_extra_info && ended.wire.is_none();
        ended.response = Some(response);
        self.redirects.push(ended);
    }

    /// Adds a response head on the wire, which may arrive after the request that follows the redirect.
    pub(super) fn add_wire(&mut self, wire: WireResponse) {
        let late = self.redirects.last_mut().filter(|redirect| {
            let status = redirect.response.as_ref().map(|response| response.status);
            redirect.awaits_wire && status == Some(wire.status)
        });
        let exchange = match late {
            Some(redirect) => {
                redirect.awaits_wire = false;
                redirect
            }
            None => &mut self.exchange,
        };
        exchange.wire = Some(wire);
    }
}

impl DocumentExchange {
    fn new(event: &RequestWillBeSent) -> Self {
        let (url, method) = (event.request.url.clone(), event.request.method.clone());
        let request = DocumentRequest { url, method, fields: Vec::new() };
        Self { request, ..Self::default() }
    }

    /// Returns the URL of the response.
    pub(in super::super) fn response_url(&self) -> Option<&str> {
        self.response.as_ref().map(|response| response.url.as_str())
    }
}
