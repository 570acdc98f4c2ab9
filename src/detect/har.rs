//! Responses in a HAR file ([HTTP Archive 1.2](http://www.softwareishard.com/blog/har-12-spec/)), as developer tools save
//! it.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::Deserialize;
use url::Url;

use super::ResponseView;
use super::recorded::RecordedResponse;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;

/// The responses of a HAR file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Har {
    /// In the order of the file. A redirect whose target is in the file as well is part of that response.
    pub responses: Vec<HarResponse>,
    /// The number of requests without a response, or with a URL that is neither http nor https.
    pub skipped: usize,
}

/// A response in a HAR file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HarResponse {
    /// The URL of the response.
    pub url: Url,
    /// The URL that was requested, before redirects.
    pub requested: Url,
    /// Status, header fields and body.
    pub response: RecordedResponse,
    /// Whether the file has the body.
    pub complete: bool,
}

impl HarResponse {
    /// Returns a view of the response, with an unknown tier and without a proxy.
    #[must_use]
    pub fn view(&self) -> ResponseView<'_> {
        ResponseView { requested: &self.requested, complete: self.complete, ..self.response.view(&self.url) }
    }
}

/// Parses a HAR file.
///
/// Fields that are not needed are ignored. A header field with an invalid name or value is ignored.
///
/// # Errors
/// [`ErrorKind::Protocol`], naming line and column, if it is not a HAR file.
pub fn parse(bytes: &[u8]) -> Result<Har> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let file: HarFile = serde_json::from_slice(bytes).map_err(|cause| {
        Error::new(ErrorKind::Protocol, format!("not a HAR file: {cause}"))
            .with_hint("save one in the network panel of a browser's developer tools, with content")
    })?;
    let mut responses: Vec<Option<HarResponse>> = Vec::new();
    // Redirects whose target was not seen yet: its URL, and the index of the redirect.
    let mut redirects: HashMap<Url, usize> = HashMap::new();
    let mut skipped = 0;
    for entry in file.log.entries {
        let target = entry.redirect_target();
        let Some(mut response) = entry.into_response() else {
            skipped += 1;
            continue;
        };
        if let Some(before) = redirects.remove(&response.url).and_then(|index| responses[index].take()) {
            response.requested = before.requested;
        }
        if let Some(target) = target {
            redirects.insert(target, responses.len());
        }
        responses.push(Some(response));
    }
    Ok(Har { responses: responses.into_iter().flatten().collect(), skipped })
}

#[derive(Deserialize)]
struct HarFile {
    log: HarLog,
}

#[derive(Deserialize)]
struct HarLog {
    entries: Vec<HarEntry>,
}

#[derive(Deserialize)]
struct HarEntry {
    request: HarRequest,
    response: HarAnswer,
}

#[derive(Deserialize)]
struct HarRequest {
    url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HarAnswer {
    status: i64,
    #[serde(default)]
    headers: Vec<HarHeader>,
    #[serde(default)]
    content: HarContent,
    #[serde(default, rename = "redirectURL")]
    redirect_url: Option<String>,
}

#[derive(Deserialize)]
struct HarHeader {
    name: String,
    value: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HarContent {
    size: i64,
    mime_type: Option<String>,
    text: Option<String>,
    encoding: Option<String>,
}

impl HarEntry {
    fn redirect_target(&self) -> Option<Url> {
        let target = self.response.redirect_url.as_deref().filter(|target| !target.is_empty())?;
        Url::parse(&self.request.url).ok()?.join(target).ok()
    }

    /// Returns `None` without a response or without an http URL.
    fn into_response(self) -> Option<HarResponse> {
        let url =
            Url::parse(&self.request.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        let status =
            u16::try_from(self.response.status).ok().filter(|status| (100..=999).contains(status))?;
        let mut headers: HeaderMap = self.response.headers.iter().filter_map(HarHeader::parse).collect();
        let content = self.response.content;
        let mime = content.mime_type.as_deref().filter(|mime| *mime != "x-unknown" && !mime.is_empty());
        if let Some(mime) = mime.and_then(|mime| HeaderValue::from_str(mime).ok())
            && !headers.contains_key(header::CONTENT_TYPE)
        {
            headers.insert(header::CONTENT_TYPE, mime);
        }
        let (body, complete) = content.into_body();
        let response = RecordedResponse { status, headers, body };
        Some(HarResponse { requested: url.clone(), url, response, complete })
    }
}

impl HarHeader {
    fn parse(&self) -> Option<(HeaderName, HeaderValue)> {
        let name = HeaderName::from_bytes(self.name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(self.value.trim().as_bytes()).ok()?))
    }
}

impl HarContent {
    /// Returns the decoded body and whether it is there.
    fn into_body(self) -> (Vec<u8>, bool) {
        let Some(text) = self.text else { return (Vec::new(), self.size <= 0) };
        if self.encoding.as_deref() != Some("base64") {
            return (text.into_bytes(), true);
        }
        STANDARD.decode(text.as_bytes()).map_or((Vec::new(), false), |body| (body, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn har(entries: &str) -> Har {
        parse(format!("{{\"log\":{{\"version\":\"1.2\",\"entries\":[{entries}]}}}}").as_bytes()).unwrap()
    }

    fn entry(url: &str, response: &str) -> String {
        format!("{{\"request\":{{\"method\":\"GET\",\"url\":\"{url}\"}},\"response\":{{{response}}}}}")
    }

    #[test]
    fn a_redirect_is_part_of_the_response_that_it_leads_to() {
        let entries = [
            entry(
                "https://a.example/x",
                r#""status":302,"redirectURL":"/y","headers":[],"content":{"size":0}"#,
            ),
            entry("https://a.example/s.js", r#""status":200,"content":{"text":"1"}"#),
            entry("https://a.example/y", r#""status":301,"redirectURL":"https://b.example/"#)
                .replace("example/}", "example/\"}"),
            entry("https://b.example/", r#""status":403,"content":{"mimeType":"text/html","text":"<p>no"}"#),
            entry("https://a.example/z", r#""status":302,"redirectURL":"https://c.example/","content":{}"#),
        ];
        let har = har(&entries.join(","));
        let seen: Vec<_> =
            har.responses.iter().map(|r| (r.response.status, r.requested.as_str(), r.url.as_str())).collect();
        assert_eq!(
            seen,
            [
                (200, "https://a.example/s.js", "https://a.example/s.js"),
                (403, "https://a.example/x", "https://b.example/"),
                (302, "https://a.example/z", "https://a.example/z"),
            ]
        );
        assert_eq!(har.responses[1].response.headers["content-type"], "text/html");
    }

    #[test]
    fn bodies_are_decoded_and_missing_ones_are_incomplete() {
        let entries = [
            entry("https://a.example/1", r#""status":200,"content":{"text":"aGk=","encoding":"base64"}"#),
            entry("https://a.example/2", r#""status":200,"content":{"size":900,"mimeType":"text/html"}"#),
            entry("https://a.example/3", r#""status":204,"content":{"size":0}"#),
            entry("https://a.example/4", r#""status":0"#),
            entry("data:text/html,x", r#""status":200"#),
            entry(
                "https://a.example/5",
                r#""status":200,"headers":[{"name":":status","value":"200"},{"name":"X-A","value":" b "}]"#,
            ),
        ];
        let har = har(&entries.join(","));
        assert_eq!((har.responses.len(), har.skipped), (4, 2));
        assert_eq!((&har.responses[0].response.body[..], har.responses[0].complete), (&b"hi"[..], true));
        assert!(!har.responses[1].complete && har.responses[2].complete);
        assert_eq!(har.responses[3].response.headers.len(), 1);
        assert_eq!(har.responses[3].response.headers["x-a"], "b");
    }

    #[test]
    fn what_is_not_a_har_file_is_refused_with_a_position() {
        for text in ["", "[]", "{\"log\":{}}", "{\"log\":{\"entries\":[{\"request\":1}]}}", "<html>"] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("line 1"), "{error}");
        }
    }
}
