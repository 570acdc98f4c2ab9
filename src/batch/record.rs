//! The stored outcome of one URL: response or error, and extracted data.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::response::{BrowserUse, Capture, FrameDocument};
use crate::exchange::tier::Tier;
use crate::exchange::trace::{Attempt, Diagnosis, Timings, Trace};
use crate::extract::{ExtractedData, Extractor};
use crate::fetcher::Response;
use crate::text::redact;

/// The outcome of one URL. Its JSON has the keys of `rungs fetch --format json`. Every key is present, `null` if it
/// has no value, with two exceptions. The body is in `body` (text), in `body_base64` (anything else) or in a `file`.
/// `fields`, `text`, `links`, `canonical` and `frames` are present if they were requested.
#[derive(Debug)]
pub struct Record {
    url: String,
    outcome: Result<Response>,
    finished_at: SystemTime,
    method: Method,
    file: Option<String>,
    /// What was sent and refused, for an archive.
    capture: Option<Box<Capture>>,
    /// The extracted fields, by name.
    pub fields: Option<Map<String, Value>>,
    /// The visible text of the page.
    pub text: Option<String>,
    /// The links of the page.
    pub links: Option<Vec<String>>,
    /// The canonical URL that the page declares.
    pub canonical: Option<String>,
}

/// The status of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordStatus {
    /// There is a response.
    Succeeded,
    /// Blocked on every allowed tier.
    Blocked,
    /// Failed for another reason.
    Failed,
}

impl Record {
    /// Creates the record of fetching `url`. The record shows the URL as it was given, without its credentials.
    #[must_use]
    pub fn new(url: &str, outcome: Result<Response>) -> Self {
        let file = outcome.as_ref().ok().and_then(Response::file).map(|path| path.display().to_string());
        let finished_at = SystemTime::now();
        Self {
            url: redact::url_text(url),
            outcome,
            finished_at,
            method: Method::GET,
            file,
            capture: None,
            fields: None,
            text: None,
            links: None,
            canonical: None,
        }
    }

    /// The URL as it was given, without its credentials.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The response.
    ///
    /// # Errors
    /// The error of the fetch.
    pub const fn outcome(&self) -> Result<&Response, &Error> {
        self.outcome.as_ref()
    }

    /// The method of the request.
    pub(super) fn method(&self) -> &str {
        self.method.as_str()
    }

    pub(super) fn set_method(&mut self, method: Method) {
        self.method = method;
    }

    /// What was sent and refused, if that was captured.
    pub(super) fn capture(&self) -> Option<&Capture> {
        self.capture.as_deref()
    }

    pub(super) fn set_capture(&mut self, capture: Option<Capture>) {
        self.capture = capture.map(Box::new);
    }

    /// Returns the response or the error itself.
    pub(super) fn into_outcome(self) -> Result<Response> {
        self.outcome
    }

    /// The time at which the fetch ended.
    #[must_use]
    pub const fn finished_at(&self) -> SystemTime {
        self.finished_at
    }

    /// The status of the response, or of the last attempt.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match &self.outcome {
            Ok(page) => Some(page.status().as_u16()),
            Err(_) => self.attempts().last()?.status,
        }
    }

    /// The tier of the last attempt.
    #[must_use]
    pub fn tier(&self) -> Option<Tier> {
        self.attempts().last().map(|attempt| attempt.tier)
    }

    /// All attempts, in order.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        self.trace().map(Trace::attempts).unwrap_or_default()
    }

    /// The duration of the fetch. For a failure, the sum of its attempts.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match &self.outcome {
            Ok(page) => page.elapsed(),
            Err(_) => self.attempts().iter().map(|attempt| attempt.elapsed).sum(),
        }
    }

    /// The file that contains the body. `None` if the body is in the record.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// Records the file that contains the body.
    pub(super) fn set_file(&mut self, file: String) {
        self.file = Some(file);
    }

    /// The record's status. With `fail_status`, a status of 400 or more is a failure.
    #[must_use]
    pub fn record_status(&self, fail_status: bool) -> RecordStatus {
        match &self.outcome {
            Ok(page) if fail_status && page.status().as_u16() >= 400 => RecordStatus::Failed,
            Ok(_) => RecordStatus::Succeeded,
            Err(error) if error.is_blocked() => RecordStatus::Blocked,
            Err(_) => RecordStatus::Failed,
        }
    }

    /// Extracts the data of `wanted`, and of the page's target, into the record. Do not call it on a thread that
    /// fetches: see [`Response::extract`].
    pub fn extract(&mut self, wanted: &Extractor) {
        if let Ok(page) = &self.outcome {
            let wanted = page.merged_extract(wanted);
            if !wanted.is_empty() {
                let read = page.extract(&wanted);
                self.set_extracted(read, &wanted);
            }
        } else if !wanted.is_empty() {
            self.set_extracted(wanted.extract_nothing(), wanted);
        }
    }

    /// Stores extracted data in the record.
    pub(super) fn set_extracted(&mut self, read: ExtractedData, wanted: &Extractor) {
        if read.is_truncated {
            tracing::warn!(
                url = self.url,
                "page exceeds a size, depth, attribute or time limit of extraction; the rest was ignored"
            );
        }
        if wanted.field_names().next().is_some() {
            self.fields = Some(read.fields);
        }
        self.text = read.text;
        self.links = read.links;
        self.canonical = read.canonical;
    }

    /// Returns one line of JSON, without a line end. Characters that a terminal would interpret are escaped.
    ///
    /// # Panics
    /// Never: every part of a record can be written as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string(self).expect("a record has string keys and numbers that JSON knows");
        match redact::escape_json(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(escaped) => escaped,
        }
    }

    pub(super) fn trace(&self) -> Option<&Trace> {
        match &self.outcome {
            Ok(page) => Some(page.trace()),
            Err(error) => error.trace(),
        }
    }

    pub(super) fn robots(&self) -> Option<&'static str> {
        self.trace().map(|trace| trace.robots().trace_label())
    }

    fn json_view(&self) -> RecordJson<'_> {
        let last = self.attempts().last();
        let page = self.outcome.as_ref().ok();
        let (body, body_base64) = match page {
            Some(page) if self.file.is_none() => match page.text() {
                Ok(text) => (Some(text), None),
                Err(_) => (None, Some(BASE64_STANDARD.encode(page.bytes()))),
            },
            _ => (None, None),
        };
        RecordJson {
            url: &self.url,
            final_url: page.map(|page| redact::url(page.url())),
            status: self.status(),
            tier: self.tier(),
            browser_profile: last.and_then(|attempt| attempt.browser_profile.as_deref()),
            http_version: page.map(|page| page.version().name()),
            reason: page.and_then(Response::reason).map(String::from_utf8_lossy),
            headers: HeadersJson(page),
            body_bytes: page.map(Response::body_len),
            body,
            body_base64,
            file: self.file(),
            elapsed_ms: self.elapsed().as_secs_f64() * 1000.0,
            timings: page.map(Response::timings),
            browser: page.and_then(Response::browser),
            robots: self.robots(),
            attempts: self.attempts(),
            error: self.outcome.as_ref().err().map(ErrorJson::new),
            fields: self.fields.as_ref(),
            text: self.text.as_deref(),
            links: self.links.as_deref(),
            canonical: self.canonical.as_deref(),
            frames: page.and_then(Response::frames),
        }
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.json_view().serialize(serializer)
    }
}

/// The JSON form of a record.
#[derive(Serialize)]
struct RecordJson<'a> {
    url: &'a str,
    final_url: Option<String>,
    status: Option<u16>,
    tier: Option<Tier>,
    browser_profile: Option<&'a str>,
    http_version: Option<&'static str>,
    reason: Option<Cow<'a, str>>,
    headers: HeadersJson<'a>,
    body_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    elapsed_ms: f64,
    timings: Option<Timings>,
    browser: Option<&'a BrowserUse>,
    /// `obeyed` or `ignored`.
    robots: Option<&'static str>,
    attempts: &'a [Attempt],
    error: Option<ErrorJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canonical: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frames: Option<&'a [FrameDocument]>,
}

/// The response headers as a list of pairs: in the order received, over HTTP/1 with the names in the case received.
pub(super) struct HeadersJson<'a>(pub(super) Option<&'a Response>);

impl Serialize for HeadersJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let Some(page) = self.0 else { return serializer.serialize_seq(Some(0))?.end() };
        let fields = page.header_fields();
        let mut list = serializer.serialize_seq(Some(fields.len()))?;
        for (name, value) in fields {
            list.serialize_element(&(name, String::from_utf8_lossy(value.as_bytes())))?;
        }
        list.end()
    }
}

#[derive(Serialize)]
pub(super) struct ErrorJson {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
    hint: Option<String>,
    diagnosis: Option<Diagnosis>,
}

impl ErrorJson {
    pub(super) fn new(error: &Error) -> Self {
        Self {
            kind: error.kind(),
            message: error.chain(),
            hint: error.hint().map(ToOwned::to_owned),
            diagnosis: error.diagnosis(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_every_key_of_fetch_and_no_secret() {
        let record =
            Record::new("http://jane:hunter2@[bad/", Err(Error::new(ErrorKind::InvalidUrl, "malformed")));
        let json: Value = serde_json::from_str(&record.to_json()).unwrap();
        for key in [
            "url",
            "final_url",
            "status",
            "tier",
            "browser_profile",
            "http_version",
            "reason",
            "headers",
            "body_bytes",
            "elapsed_ms",
            "timings",
            "browser",
            "robots",
            "attempts",
            "error",
        ] {
            assert!(json.get(key).is_some(), "{key} in {json}");
        }
        assert_eq!(json["error"]["kind"], "invalid_url");
        assert!(!record.to_json().contains("hunter2") && !format!("{record:?}").contains("hunter2"));
        assert_eq!(record.record_status(false), RecordStatus::Failed);
    }
}
