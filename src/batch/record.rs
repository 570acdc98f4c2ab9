//! One URL's outcome as it is kept: the page or the error, and what was made of it.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::extract::{ExtractedData, Extractor};
use crate::fetcher::Response;
use crate::redact;
use crate::response::BrowserUse;
use crate::tier::Tier;
use crate::trace::{Attempt, Diagnosis, Timings, Trace};

/// One URL's outcome. Serialised, it has the keys of `rungs fetch --format json`: every key is always
/// there, `null` where there is nothing to say, but the body, which is either `body` (text) or
/// `body_base64` (anything else), or in a `file`; `fields`, `text`, `links` and `canonical` are there when they were wanted.
#[derive(Debug)]
pub struct Record {
    url: String,
    outcome: Result<Response>,
    finished_at: SystemTime,
    method: Method,
    file: Option<String>,
    /// What was read out of the page, by name.
    pub fields: Option<Map<String, Value>>,
    /// What a reader sees of the page.
    pub text: Option<String>,
    /// The links of the page.
    pub links: Option<Vec<String>>,
    /// Which URL the page says it is best known by.
    pub canonical: Option<String>,
}

/// What became of a URL, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordStatus {
    /// There is a page.
    Succeeded,
    /// Blocked at every tier allowed.
    Blocked,
    /// Anything else.
    Failed,
}

impl Record {
    /// The outcome of fetching `url`, which is shown as it was typed, without its credentials.
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
            fields: None,
            text: None,
            links: None,
            canonical: None,
        }
    }

    /// The URL as it was typed, without its credentials.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The page, or why there is none.
    ///
    /// # Errors
    /// The fetch's own.
    pub const fn outcome(&self) -> Result<&Response, &Error> {
        self.outcome.as_ref()
    }

    /// The method it was asked with.
    pub(super) fn method(&self) -> &str {
        self.method.as_str()
    }

    pub(super) fn set_method(&mut self, method: Method) {
        self.method = method;
    }

    /// The page itself, or why there is none.
    pub(super) fn into_outcome(self) -> Result<Response> {
        self.outcome
    }

    /// When it ended.
    #[must_use]
    pub const fn finished_at(&self) -> SystemTime {
        self.finished_at
    }

    /// The status of the page, or of the last attempt that was answered.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match &self.outcome {
            Ok(page) => Some(page.status().as_u16()),
            Err(_) => self.attempts().last()?.status,
        }
    }

    /// The tier that got the page, or was the last to try.
    #[must_use]
    pub fn tier(&self) -> Option<Tier> {
        self.attempts().last().map(|attempt| attempt.tier)
    }

    /// Everything that was tried, first to last.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        self.trace().map(Trace::attempts).unwrap_or_default()
    }

    /// How long it took; of a failure, the attempts alone.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match &self.outcome {
            Ok(page) => page.elapsed(),
            Err(_) => self.attempts().iter().map(|attempt| attempt.elapsed).sum(),
        }
    }

    /// The file that the body is in, as it was named; `None` when it is in the record.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The body is in this file.
    pub(super) fn set_file(&mut self, file: String) {
        self.file = Some(file);
    }

    /// What became of it. With `fail_status`, a status of 400 or more is a failure.
    #[must_use]
    pub fn record_status(&self, fail_status: bool) -> RecordStatus {
        match &self.outcome {
            Ok(page) if fail_status && page.status().as_u16() >= 400 => RecordStatus::Failed,
            Ok(_) => RecordStatus::Succeeded,
            Err(error) if error.is_blocked() => RecordStatus::Blocked,
            Err(_) => RecordStatus::Failed,
        }
    }

    /// Takes up what `wanted`, and the page's target, read out of it. Not for a thread that fetches: see
    /// [`Page::extract`].
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

    /// Takes up what was read out of the page.
    pub(super) fn set_extracted(&mut self, read: ExtractedData, wanted: &Extractor) {
        if read.is_truncated {
            tracing::warn!(
                url = self.url,
                "the page is larger or deeper than is read; the rest of it was passed over"
            );
        }
        if wanted.field_names().next().is_some() {
            self.fields = Some(read.fields);
        }
        self.text = read.text;
        self.links = read.links;
        self.canonical = read.canonical;
    }

    /// One line of JSON, without its end.
    ///
    /// # Panics
    /// Never: every part of a record can be written as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a record has string keys and numbers that JSON knows")
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
        }
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.json_view().serialize(serializer)
    }
}

/// A record as JSON shows it.
#[derive(Serialize)]
struct RecordJson<'a> {
    url: &'a str,
    final_url: Option<String>,
    status: Option<u16>,
    tier: Option<Tier>,
    browser_profile: Option<&'a str>,
    http_version: Option<&'static str>,
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
}

/// A page's headers as a list of pairs.
pub(super) struct HeadersJson<'a>(pub(super) Option<&'a Response>);

impl Serialize for HeadersJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let Some(page) = self.0 else { return serializer.serialize_seq(Some(0))?.end() };
        let mut list = serializer.serialize_seq(Some(page.headers().len()))?;
        for (name, value) in page.headers() {
            list.serialize_element(&(name.as_str(), String::from_utf8_lossy(value.as_bytes())))?;
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
