//! The parameters of the CDP events that are used, in the protocol's form.

use std::collections::HashMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

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
    #[serde(default)]
    pub loader_id: String,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub frame_id: Option<String>,
    #[serde(default)]
    pub request: InitialRequest,
    pub redirect_response: Option<NetworkResponse>,
    /// Whether the redirect has an event with its head on the wire.
    #[serde(default)]
    pub redirect_has_extra_info: bool,
}

/// A request as the page makes it. The browser adds headers.
#[derive(Default, Deserialize)]
pub(super) struct InitialRequest {
    #[serde(default)]
    pub url: String,
    #[serde(default)]
    pub method: String,
}

/// The id of a request, without the rest of an event about it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestId {
    pub request_id: String,
}

/// A request as it was sent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestExtraInfo {
    pub headers: FieldList,
}

/// The members of an object, in their order.
pub(super) struct FieldList(pub Vec<(String, String)>);

impl<'de> Deserialize<'de> for FieldList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = FieldList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with header fields")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FieldList, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(FieldList(fields))
            }
        }

        deserializer.deserialize_map(Fields)
    }
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

/// A navigation that is scheduled or requested.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ScheduledNavigation {
    pub frame_id: String,
    /// Seconds.
    #[serde(default)]
    pub delay: f64,
    pub reason: String,
    pub url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FrameEvent {
    pub frame_id: String,
}

/// A response that a worker received.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkerResponse {
    pub request_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DownloadWillBegin {
    pub frame_id: String,
    pub url: String,
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

/// A request that waits for credentials.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuthRequired {
    pub request_id: String,
    pub auth_challenge: AuthChallenge,
}

/// The challenge of a server or a proxy.
#[derive(Deserialize)]
pub(super) struct AuthChallenge {
    #[serde(default)]
    pub source: String,
    pub origin: String,
    pub scheme: String,
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

/// Parses an event's parameters. An event that cannot be parsed is ignored.
pub(super) fn parse_event<'a, T: Deserialize<'a>>(params: &'a str) -> Option<T> {
    serde_json::from_str(params).inspect_err(|cause| tracing::debug!(%cause, "could not parse an event")).ok()
}

/// Maximum of requests or redirects of one page that are tracked.
pub(super) const MAX_REQUESTS: usize = 10_000;
