//! What to do with requests and responses that the browser pauses, and a response that is paused.

use std::sync::Arc;

use http::HeaderName;
use url::Origin;

use crate::exchange::digest_auth::DigestAuth;
use crate::settings::render::ResourceKind;

/// The rules for a page's requests and responses.
#[derive(Clone, Default)]
pub(in super::super) struct InterceptRules {
    /// Headers for requests to one origin only: see [`crate::exchange::credentials`].
    pub headers: Vec<(HeaderName, String)>,
    /// That origin. `None` when nothing is added to its requests.
    pub header_origin: Option<Origin>,
    /// The first document's request, unless it is a GET or HEAD without a body.
    pub first_request: Option<RequestContent>,
    /// The origin that may ask for credentials, and the answer to its Digest challenges.
    pub digest: Option<(Origin, Arc<DigestAuth>)>,
    /// Resources that the page and its frames do not load.
    pub block: Vec<ResourceKind>,
    /// Store documents as the server sent them.
    pub raw: bool,
    /// Read the first document as a file, whatever its type.
    pub file: bool,
    /// Pause document requests until the hooks permit them.
    pub pause_documents: bool,
    /// Follow a refresh that the page declares for the next seconds.
    pub follows_refresh: bool,
    /// The page is idle only after its `load` event, which waits for its frames.
    pub awaits_load: bool,
}

/// A document whose request had the caller's method and body.
pub(in super::super) struct SentDocument {
    /// Its id in the events of `Network`.
    pub(super) loader_id: String,
    pub(super) url: String,
    pub(super) content: RequestContent,
}

/// The method and the body of a document's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct RequestContent {
    pub method: String,
    /// The body in base64.
    pub body: Option<String>,
    /// The content type of the body, if it has one of its own.
    pub content_type: Option<String>,
}

/// A response that stays paused until the visit has read it.
#[derive(Clone, Debug)]
pub(in super::super) struct PausedResponse {
    /// Its id in the commands of `Fetch`.
    pub request_id: String,
    /// Its id in the events of `Network`.
    pub loader_id: String,
    pub url: String,
    pub status: u16,
    pub fields: Vec<(String, String)>,
    /// Whether the page began to load it before it was parsed itself.
    pub is_early: bool,
    /// Whether to read the body instead of showing it. Otherwise the body is copied and the page shows it.
    pub file: bool,
}

/// A file that the page leads to.
#[derive(Clone, Debug)]
pub(in super::super) struct OfferedFile {
    pub url: String,
    /// Whether its response is paused, so that its bytes can be read. Otherwise the browser has consumed them.
    pub is_paused: bool,
    /// Whether the browser shows it in the place of the page. It stores other files, and the page stays.
    pub replaces_page: bool,
    /// Whether the page began to load it before it was parsed itself, as a redirect does.
    pub is_early: bool,
}

impl PausedResponse {
    /// Returns the first value of a header field.
    pub(in super::super) fn field(&self, name: &str) -> Option<&str> {
        header_value(&self.fields, name)
    }

    /// Whether a page shows the file in a viewer in its own place. It stores other files and stays.
    pub(in super::super) fn replaces_page(&self) -> bool {
        !is_attachment(&self.fields) && is_viewer_type(&self.mime_type())
    }

    /// Returns the media type without its parameters.
    pub(in super::super) fn mime_type(&self) -> String {
        essence(self.field("content-type"))
    }
}

/// Whether the server wants the response stored as a file.
pub(super) fn is_attachment(fields: &[(String, String)]) -> bool {
    header_value(fields, "content-disposition").is_some_and(|value| essence(Some(value)) == "attachment")
}

/// Whether the browser shows files of this media type in a viewer or player of its own, without their bytes.
pub(in super::super) fn is_viewer_type(mime: &str) -> bool {
    mime == "application/pdf" || mime.starts_with("audio/") || mime.starts_with("video/")
}

/// Returns the first value of the field `name`.
pub(super) fn header_value<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// Returns the value without its parameters, in lower case.
pub(super) fn essence(value: Option<&str>) -> String {
    value.and_then(|value| value.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase()
}
