//! The parameters of the CDP events that are used, in the protocol's form.

use std::collections::HashMap;

use serde::Deserialize;

// Only the fields that are used, so that changes to others do not break parsing.

/// A document's response.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct NetworkResponse {
    pub url: String,
    pub status: u16,
    #[serde(default)]
    pub headers: HashMap<String, String>,
    #[serde(default)]
    pub mime_type: String,
    #[serde(default)]
    pub protocol: String,
    pub timing: Option<ResourceTiming>,
}

/// Milliseconds since the request's start; -1 for a phase that did not happen.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in super::super) struct ResourceTiming {
    pub dns_start: f64,
    pub dns_end: f64,
    pub connect_start: f64,
    pub connect_end: f64,
    pub ssl_start: f64,
    pub ssl_end: f64,
    pub receive_headers_start: f64,
    pub receive_headers_end: f64,
}

impl Default for ResourceTiming {
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
pub(super) struct RequestWillBeSent {
    pub request_id: String,
    pub loader_id: String,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub frame_id: Option<String>,
    pub redirect_response: Option<RedirectResponse>,
}

#[derive(Deserialize)]
pub(super) struct RedirectResponse {
    pub url: String,
    pub status: u16,
    #[serde(default)]
    pub headers: HashMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResponseReceived {
    pub request_id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub response: NetworkResponse,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResponseExtraInfo {
    pub request_id: String,
    pub status_code: u16,
    pub headers: HashMap<String, String>,
    /// The raw head; only over HTTP/1.
    pub headers_text: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DataReceived {
    pub request_id: String,
    pub data_length: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoadingEnded {
    pub request_id: String,
    pub error_text: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct FrameNavigated {
    pub frame: FrameInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FrameInfo {
    pub id: String,
    pub parent_id: Option<String>,
    pub loader_id: String,
    pub url: String,
    pub url_fragment: Option<String>,
    pub unreachable_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NavigatedWithinDocument {
    pub frame_id: String,
    pub url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LifecycleEvent {
    pub frame_id: String,
    pub loader_id: String,
    pub name: String,
}

#[derive(Deserialize)]
pub(super) struct DialogOpening {
    #[serde(rename = "type")]
    pub kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestPaused {
    pub request_id: String,
    pub request: PausedRequest,
    pub resource_type: String,
    #[serde(default)]
    pub frame_id: String,
    /// The request's id in the events of `Network`.
    pub network_id: Option<String>,
    /// For a request that follows a redirect: the id of the previous request.
    pub redirected_request_id: Option<String>,
    pub response_status_code: Option<u16>,
    pub response_error_reason: Option<String>,
    #[serde(default)]
    pub response_headers: Vec<HeaderField>,
}

/// One header field.
#[derive(Deserialize)]
pub(super) struct HeaderField {
    pub name: String,
    pub value: String,
}

#[derive(Deserialize)]
pub(super) struct PausedRequest {
    pub url: String,
    #[serde(default)]
    pub headers: HashMap<String, String>,
}
