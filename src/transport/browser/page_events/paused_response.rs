//! What to do with requests and responses that the browser pauses, and a response that is paused.

use http::HeaderName;
use url::Origin;

use crate::render::ResourceKind;

/// The rules for a page's requests and responses.
#[derive(Clone, Default)]
pub(in super::super) struct InterceptRules {
    /// Headers for requests to one origin only: see [`crate::credentials`].
    pub headers: Vec<(HeaderName, String)>,
    /// That origin. `None` when nothing is added to its requests.
    pub header_origin: Option<Origin>,
    /// Method and body (base64) of the first document's request.
    pub first_request: Option<(String, Option<String>)>,
    /// Resources that the page and its frames do not load.
    pub block: Vec<ResourceKind>,
    /// Store documents as the server sent them.
    pub raw: bool,
    /// Read the first document as a file, whatever its type.
    pub file: bool,
    /// Pause document requests until the hooks permit them.
    pub pause_documents: bool,
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
    /// Whether to read the body instead of showing it. Otherwise the body is copied and the page shows it.
    pub file: bool,
}

impl PausedResponse {
    /// Returns the first value of a header field.
    pub(in super::super) fn field(&self, name: &str) -> Option<&str> {
        header_value(&self.fields, name)
    }

    /// Returns the media type without its parameters.
    pub(in super::super) fn mime_type(&self) -> String {
        essence(self.field("content-type"))
    }
}

/// Returns the first value of the field `name`.
pub(super) fn header_value<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// Returns the value without its parameters, in lower case.
pub(super) fn essence(value: Option<&str>) -> String {
    value.and_then(|value| value.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase()
}
