//! Decides about requests and responses that the browser pauses: continue, block or read.

use chromiumoxide_cdp::cdp::browser_protocol::fetch::{
    AuthChallengeResponse, AuthChallengeResponseResponse, ContinueRequestParams, ContinueWithAuthParams,
    FailRequestParams, HeaderEntry,
};
use chromiumoxide_cdp::cdp::browser_protocol::network::ErrorReason;
use http::HeaderName;
use url::{Origin, Url};

use super::super::resource_blocking;
use super::EventReply;
use super::events::{AuthRequired, HeaderField, MAX_REQUESTS, RequestPaused};
use super::paused_response::{
    InterceptRules, PausedResponse, essence, header_value, is_attachment, is_viewer_type,
};
use super::state::PageState;
use crate::exchange::credentials::may_send;
use crate::settings::render::ResourceKind;

/// Returns the command for a paused request of a frame that has its own session.
pub(super) fn intercept_in_frame(event: RequestPaused, block: &[ResourceKind]) -> EventReply {
    if resource_blocking::is_blocked(block, &event.resource_type) {
        fail_request(event.request_id)
    } else {
        continue_request(event.request_id)
    }
}

impl PageState {
    pub(super) fn on_request_paused(&mut self, event: RequestPaused) -> Option<EventReply> {
        let has_response = event.response_status_code.is_some() || event.response_error_reason.is_some();
        Some(match (has_response, event.response_status_code) {
            (true, Some(status)) if event.resource_type == "Document" && event.frame_id == self.frame => {
                return self.on_document_response(event, status);
            }
            (true, _) => continue_request(event.request_id),
            (false, _) if resource_blocking::is_blocked(&self.rules.block, &event.resource_type) => {
                fail_request(event.request_id)
            }
            (false, _)
                if self.rules.pause_documents
                    && event.resource_type == "Document"
                    && event.frame_id == self.frame =>
            {
                let url = event.request.url.clone();
                let request = self.rewrite_request(event);
                self.pending_requests.push_back((url, Box::new(request)));
                return None;
            }
            (false, _) => EventReply::Continue(Box::new(self.rewrite_request(event))),
        })
    }

    /// Answers a Digest challenge of the URL's origin, once for each request. The browser shows the response to any other.
    pub(super) fn on_auth_required(&mut self, event: AuthRequired) -> EventReply {
        let challenge = &event.auth_challenge;
        let from = Url::parse(&challenge.origin).map(|url| url.origin()).ok();
        let digest = self.rules.digest.as_ref().filter(|(origin, _)| {
            challenge.source != "Proxy"
                && challenge.scheme.eq_ignore_ascii_case("digest")
                && from.as_ref() == Some(origin)
                && self.answered_challenges.len() < MAX_REQUESTS
        });
        let mut answer = AuthChallengeResponse::new(AuthChallengeResponseResponse::CancelAuth);
        if let Some((_, digest)) = digest
            && self.answered_challenges.insert(event.request_id.clone())
        {
            let (user, password) = digest.credentials();
            answer.response = AuthChallengeResponseResponse::ProvideCredentials;
            answer.username = Some(user.to_owned());
            answer.password = Some(password.expose().to_owned());
        }
        EventReply::Authenticate(Box::new(ContinueWithAuthParams::new(event.request_id, answer)))
    }

    /// Handles the paused response of the document.
    fn on_document_response(&mut self, event: RequestPaused, status: u16) -> Option<EventReply> {
        let loader = event.network_id.unwrap_or_default();
        let fields: Vec<(String, String)> =
            event.response_headers.into_iter().map(|HeaderField { name, value }| (name, value)).collect();
        let Some(document) = self.document_mut(&loader) else {
            return Some(continue_request(event.request_id));
        };
        document.exchange.fields = Some((status, fields.clone()));
        if is_redirect(status, &fields) {
            self.forget_sent_document(&loader);
        }
        let mut action = choose_action(status, &fields, &self.rules);
        if action == InterceptAction::Show && self.is_sent_document(&loader) {
            // The visit must know whether a challenge answered it before the page can navigate.
            action = InterceptAction::Copy;
        }
        if action == InterceptAction::Show {
            return Some(continue_request(event.request_id));
        }
        self.paused = Some(PausedResponse {
            request_id: event.request_id,
            loader_id: loader,
            url: event.request.url,
            status,
            fields,
            is_early: !self.dom_ready,
            file: action == InterceptAction::TakeAsFile,
        });
        None
    }

    /// Returns the request with the caller's headers, and for the first document the caller's method and body.
    /// Requests to another origin are unchanged, and so are requests that a redirect chain brings back from there.
    fn rewrite_request(&mut self, event: RequestPaused) -> ContinueRequestParams {
        let origin = Url::parse(&event.request.url).map(|url| url.origin()).ok();
        let stayed = event
            .redirected_request_id
            .as_ref()
            .is_none_or(|before| self.requests_with_headers.contains(before));
        let Some(origin) =
            origin.filter(|origin| stayed && self.rules.header_origin.as_ref() == Some(origin))
        else {
            return ContinueRequestParams::new(event.request_id);
        };
        if self.requests_with_headers.len() < MAX_REQUESTS {
            self.requests_with_headers.insert(event.request_id.clone());
        }
        let is_document = event.resource_type == "Document" && event.frame_id == self.frame;
        let content =
            is_document.then(|| self.take_content(event.network_id.as_deref(), &event.request.url)).flatten();
        if let Some(content) = &content
            && let Some(document) = event.network_id.as_deref().and_then(|id| self.document_mut(id))
        {
            document.exchange.request.method.clone_from(&content.method);
        }
        let content_type = content.as_ref().and_then(|content| content.content_type.clone());
        let (method, body) = content.map_or((None, None), |content| (Some(content.method), content.body));
        let given_for = |origin: &Origin| self.rules.header_origin.as_ref() == Some(origin);
        let given: Vec<_> =
            self.rules.headers.iter().filter(|(name, _)| may_send(name, &origin, given_for)).collect();
        let own = |name: &str| given.iter().any(|(own, _)| own.as_str().eq_ignore_ascii_case(name));
        let mut headers: Vec<HeaderEntry> = event
            .request
            .headers
            .into_iter()
            .filter(|(name, _)| !own(name))
            .map(|(name, value)| HeaderEntry { name, value })
            .collect();
        let added = |(name, value): &(HeaderName, String)| HeaderEntry {
            name: name.to_string(),
            value: value.clone(),
        };
        if let Some(value) = content_type.filter(|_| !own("content-type")) {
            headers.retain(|field| !field.name.eq_ignore_ascii_case("content-type"));
            headers.push(HeaderEntry { name: "content-type".to_owned(), value });
        }
        headers.extend(given.into_iter().map(added));
        let mut request = ContinueRequestParams::new(event.request_id);
        request.method = method;
        request.post_data = body.map(Into::into);
        request.headers = Some(headers);
        request
    }
}

fn fail_request(request: String) -> EventReply {
    EventReply::Fail(Box::new(FailRequestParams::new(request, ErrorReason::BlockedByClient)))
}

fn continue_request(request: String) -> EventReply {
    EventReply::Continue(Box::new(ContinueRequestParams::new(request)))
}

/// The action for a document's response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InterceptAction {
    /// The page shows it.
    Show,
    /// The page shows it, and its bytes are stored.
    Copy,
    /// Its bytes are the result, and the page does not show it.
    TakeAsFile,
}

fn choose_action(status: u16, fields: &[(String, String)], rules: &InterceptRules) -> InterceptAction {
    let has = |name| header_value(fields, name);
    let hidden = match status {
        _ if is_redirect(status, fields) => return InterceptAction::Show,
        204 | 205 | 304 | 407 => return InterceptAction::Show,
        // The browser would show its own prompt instead.
        401 => has("www-authenticate").is_some(),
        _ => false,
    };
    if hidden || is_attachment(fields) || rules.file || !is_displayable(&essence(has("content-type"))) {
        InterceptAction::TakeAsFile
    } else if rules.raw {
        InterceptAction::Copy
    } else {
        InterceptAction::Show
    }
}

fn is_redirect(status: u16, fields: &[(String, String)]) -> bool {
    (300..=399).contains(&status) && header_value(fields, "location").is_some()
}

/// Whether a page shows documents of this media type itself. Without a type, the browser sniffs the bytes.
fn is_displayable(mime: &str) -> bool {
    let (kind, name) = mime.split_once('/').unwrap_or((mime, ""));
    if is_viewer_type(mime) || SAVED_TEXT_TYPES.contains(&mime) {
        return false;
    }
    match kind {
        "application" => {
            matches!(name, "xhtml+xml" | "xml" | "json" | "javascript" | "x-javascript" | "ecmascript")
                || name.ends_with("+xml")
                || name.ends_with("+json")
        }
        "font" | "model" => false,
        _ => true,
    }
}

/// The text types that Chromium does not show (`mime_util.cc`, `kUnsupportedTextTypes`).
const SAVED_TEXT_TYPES: [&str; 20] = [
    "text/calendar",
    "text/x-calendar",
    "text/x-vcalendar",
    "text/vcalendar",
    "text/vcard",
    "text/x-vcard",
    "text/directory",
    "text/ldif",
    "text/qif",
    "text/x-qif",
    "text/x-csv",
    "text/x-vcf",
    "text/rtf",
    "text/comma-separated-values",
    "text/csv",
    "text/tab-separated-values",
    "text/tsv",
    "text/ofx",
    "text/vnd.sun.j2me.app-descriptor",
    "text/x-ms-iqy",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_headers_go_to_their_origin_and_not_back_to_it_from_another() {
        let mut page = PageState::new("F");
        let own = |url: &str| Some(Url::parse(url).unwrap().origin());
        let headers = vec![(HeaderName::from_static("x-api-key"), "hunter2".to_owned())];
        page.rules =
            InterceptRules { headers, header_origin: own("https://a.test/"), ..InterceptRules::default() };
        let mut number = 0;
        let mut has = |url: &str, before: Option<u32>| {
            number += 1;
            let before = before.map_or_else(String::new, |id| format!(r#""redirectedRequestId":"{id}","#));
            let text = format!(
                r#"{{"requestId":"{number}",{before}"request":{{"url":"{url}","headers":{{"Accept":"*/*"}}}},
                    "resourceType":"Script","frameId":"F"}}"#
            );
            let request = page.rewrite_request(serde_json::from_str(&text).unwrap());
            request.headers.is_some_and(|headers| headers.iter().any(|header| header.name == "x-api-key"))
        };
        assert!(has("https://a.test/x", None));
        assert!(has("https://a.test:443/redirected", Some(1)));
        for other in [
            "https://b.test/x",
            "http://a.test/x",
            "https://a.test:8443/x",
            "https://www.a.test/x",
            "nonsense",
        ] {
            assert!(!has(other, None) && !has(other, Some(1)), "{other}");
        }
        assert!(!has("https://a.test/back", Some(3)), "from a request that was paused");
        assert!(!has("https://a.test/back", Some(99)), "from a request that was not paused");
        assert!(!has("https://a.test/next", Some(13)), "and for the rest of the chain");
        assert!(has("https://a.test/y", None));
    }

    #[test]
    fn a_response_is_shown_copied_or_read_as_a_file() {
        let (shown, raw) =
            (InterceptRules::default(), InterceptRules { raw: true, ..InterceptRules::default() });
        let any = InterceptRules { file: true, ..InterceptRules::default() };
        for (status, fields, rules, want) in [
            (200, &[("Content-Type", "text/html; charset=x")][..], &shown, InterceptAction::Show),
            (200, &[("content-type", "text/html")], &raw, InterceptAction::Copy),
            (200, &[("content-type", "text/html")], &any, InterceptAction::TakeAsFile),
            (200, &[], &shown, InterceptAction::Show),
            (200, &[("content-type", "text/csv")], &shown, InterceptAction::TakeAsFile),
            (200, &[("content-type", "video/mp4")], &shown, InterceptAction::TakeAsFile),
            (200, &[("content-type", "image/png")], &shown, InterceptAction::Show),
            (200, &[("content-type", "application/PDF")], &raw, InterceptAction::TakeAsFile),
            (200, &[("content-type", "application/problem+json")], &shown, InterceptAction::Show),
            (
                200,
                &[("content-type", "text/html"), ("content-disposition", "Attachment; filename=a")],
                &shown,
                InterceptAction::TakeAsFile,
            ),
            (
                200,
                &[("content-type", "text/html"), ("content-disposition", "inline")],
                &shown,
                InterceptAction::Show,
            ),
            (302, &[("location", "/"), ("content-type", "application/pdf")], &raw, InterceptAction::Show),
            (401, &[("www-authenticate", "Basic")], &shown, InterceptAction::TakeAsFile),
            (401, &[], &shown, InterceptAction::Show),
            (407, &[("proxy-authenticate", "Basic")], &raw, InterceptAction::Show),
            (204, &[("content-type", "application/pdf")], &any, InterceptAction::Show),
        ] {
            let fields: Vec<_> =
                fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(choose_action(status, &fields, rules), want, "{status} {fields:?}");
        }
    }
}
