//! Converts the browser's events about a document to a response. No I/O.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use url::{Position, Url};

use super::page_events::{
    DocumentExchange, DocumentRequest, MainDocument, NetworkResponse, PausedResponse, ResourceTiming,
    WireResponse,
};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::response::{
    Body, BrowserOutput, HttpVersion, RawResponse, ReceivedHead, Redirect, SentRequest,
};
use crate::exchange::trace::Timings;
use crate::settings::limits::Limits;

/// A response without its body.
pub(super) struct ResponseHead {
    pub status: StatusCode,
    pub headers: HeaderMap,
    received: ReceivedHead,
    pub url: Url,
    version: HttpVersion,
    redirects: Vec<Redirect>,
    timings: Timings,
    pub output: BrowserOutput,
}

impl ResponseHead {
    /// Reads `document`. `page_url` is the page's current URL, when known.
    pub(super) fn from_document(
        document: &MainDocument,
        page_url: Option<&str>,
        limits: &Limits,
    ) -> Result<Self> {
        let response = document.response().ok_or_else(|| {
            Error::new(ErrorKind::Browser, "the page's document did not come from a server")
        })?;
        let status = parse_status(response.status)?;
        let url = page_url.and_then(|url| Url::parse(url).ok()).or_else(|| Url::parse(&response.url).ok());
        let (received, headers) = read_head(&document.exchange, response, limits)?;
        let mut requests = Vec::new();
        let mut redirects = Vec::new();
        for exchange in &document.redirects {
            let Some(response) = &exchange.response else { continue };
            let (Ok(status), Ok(url)) = (parse_status(response.status), Url::parse(&response.url)) else {
                continue;
            };
            let (received, headers) = read_head(exchange, response, limits)?;
            redirects.push(Redirect::new(url, status, headers).with_received(received));
            requests.push(sent_request(exchange));
        }
        requests.push(sent_request(&document.exchange));
        let requests = requests.into_iter().collect::<Option<_>>().unwrap_or_default();
        Ok(Self {
            status,
            headers,
            received,
            url: url.ok_or_else(|| Error::new(ErrorKind::Browser, "the page has no valid URL"))?,
            version: parse_version(&response.protocol),
            redirects,
            timings: response.timing.as_ref().map_or_else(Timings::default, timings),
            output: BrowserOutput { requests, ..BrowserOutput::default() },
        })
    }

    /// Reads a paused response, which the page does not show.
    pub(super) fn from_paused(
        paused: &PausedResponse,
        document: &MainDocument,
        limits: &Limits,
    ) -> Result<Self> {
        let text = document.exchange.wire.as_ref().and_then(|wire| wire.text.as_deref());
        // The raw head exists only over HTTP/1.
        let protocol = text.and_then(|text| text.split(' ').next()).unwrap_or("h2").to_ascii_lowercase();
        let response = NetworkResponse {
            url: paused.url.clone(),
            status: paused.status,
            mime_type: paused.mime_type(),
            protocol,
            ..NetworkResponse::default()
        };
        let mut document = document.clone();
        document.exchange.response = Some(response);
        let mut head = Self::from_document(&document, None, limits)?;
        head.output.usage.settled = true;
        Ok(head)
    }

    /// Sets the charset of Content-Type to UTF-8, because the browser has decoded the text.
    pub(super) fn set_utf8(&mut self) {
        let kind = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or("text/html").trim();
        if let Ok(value) = HeaderValue::from_str(&format!("{essence}; charset=utf-8")) {
            self.headers.insert(CONTENT_TYPE, value);
        }
    }

    pub(super) fn into_response(self, body: Bytes) -> RawResponse {
        RawResponse {
            status: self.status,
            version: self.version,
            headers: self.headers,
            received: self.received,
            url: self.url,
            redirects: self.redirects,
            body: Body::Buffered(body),
            timings: self.timings,
            browser: Some(self.output),
        }
    }
}

/// Whether the page shows this document as its own DOM, not in a viewer.
pub(super) fn is_markup(response: &NetworkResponse) -> bool {
    matches!(response.mime_type.as_str(), "text/html" | "application/xhtml+xml")
}

fn parse_status(code: u16) -> Result<StatusCode> {
    StatusCode::from_u16(code).map_err(|cause| {
        Error::new(ErrorKind::Protocol, "the response has an invalid status").with_source(cause)
    })
}

/// Returns a response head: as received, and its fields.
fn read_head(
    exchange: &DocumentExchange,
    response: &NetworkResponse,
    limits: &Limits,
) -> Result<(ReceivedHead, HeaderMap)> {
    let wire = exchange.wire.as_ref().filter(|wire| wire.status == response.status);
    let status_line = wire.and_then(|wire| wire.text.as_deref()).and_then(|text| text.lines().next());
    let reason = status_line.map(|line| line.splitn(3, ' ').nth(2).unwrap_or_default().trim().as_bytes());
    let fields = wire_fields(exchange, wire, response);
    let received = ReceivedHead::new(reason, fields.iter().map(|(name, _)| name.as_str()));
    Ok((received, headers(fields, limits)?))
}

/// Returns the request as sent, with its secrets. `None` if its URL is not known.
fn sent_request(exchange: &DocumentExchange) -> Option<SentRequest> {
    let DocumentRequest { url, method, fields } = &exchange.request;
    let url = Url::parse(url).ok()?;
    let pseudo = |name: &str| fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
    let protocol = exchange.response.as_ref().map_or("", |response| response.protocol.as_str());
    let authority = &url[Position::BeforeHost..Position::AfterPort];
    let named_host = fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
    let host = (!named_host).then(|| ("host", pseudo(":authority").unwrap_or(authority)));
    let own = fields.iter().filter(|(name, _)| !name.starts_with(':'));
    let all = host.into_iter().chain(own.map(|(name, value)| (name.as_str(), value.as_str())));
    let headers = all
        .filter_map(|(name, value)| Some((name.to_owned(), HeaderValue::from_bytes(value.as_bytes()).ok()?)));
    Some(SentRequest {
        method: pseudo(":method").unwrap_or(method).parse().ok()?,
        target: url[Position::BeforePath..Position::AfterQuery].to_owned(),
        version: parse_version(protocol),
        headers: headers.collect(),
    })
}

/// Returns the header fields of a document's response, in the order received where the browser reports it.
fn wire_fields(
    exchange: &DocumentExchange,
    wire: Option<&WireResponse>,
    response: &NetworkResponse,
) -> Vec<(String, String)> {
    if let Some(text) = wire.and_then(|wire| wire.text.as_deref()) {
        let lines = text.lines().skip(1).filter_map(|line| line.split_once(':'));
        return lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    }
    let listed = exchange.fields.as_ref().filter(|(status, _)| *status == response.status);
    let mut fields = listed.map_or_else(Vec::new, |(_, fields)| fields.clone());
    let known = |name: &str| fields.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    // Only these include Set-Cookie.
    let mut rest: Vec<_> = wire
        .map_or(&response.headers, |wire| &wire.headers)
        .iter()
        .filter(|(name, _)| !known(name))
        .collect();
    rest.sort_unstable();
    // Repeated fields are joined, their values separated by line feeds.
    let one = |(name, values): (&String, &String)| {
        values.split('\n').map(|value| (name.clone(), value.to_owned())).collect::<Vec<_>>()
    };
    let rest: Vec<_> = rest.into_iter().flat_map(one).collect();
    fields.extend(rest);
    fields
}

fn headers(fields: Vec<(String, String)>, limits: &Limits) -> Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        // Skips pseudo headers, which are not valid header names.
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        let Ok(value) = HeaderValue::from_str(value.trim()) else { continue };
        if map.len() >= limits.max_header_fields {
            let message = format!("the response has more than {} header fields", limits.max_header_fields);
            return Err(Error::new(ErrorKind::Protocol, message));
        }
        map.append(name, value);
    }
    Ok(map)
}

fn parse_version(protocol: &str) -> HttpVersion {
    match protocol {
        "h2" => HttpVersion::Http2,
        "http/1.0" => HttpVersion::Http10,
        _ if protocol.starts_with("h3") => HttpVersion::Http3,
        _ => HttpVersion::Http11,
    }
}

fn timings(timing: &ResourceTiming) -> Timings {
    let span = |start: f64, end: f64| {
        if start < 0.0 || end < start { Duration::ZERO } else { millis(end - start) }
    };
    let mut timings = Timings::default();
    timings.dns = span(timing.dns_start, timing.dns_end);
    timings.tls = span(timing.ssl_start, timing.ssl_end);
    // Chromium's connect time includes the TLS handshake.
    timings.connect = span(timing.connect_start, timing.connect_end).saturating_sub(timings.tls);
    let first = if timing.receive_headers_start > 0.0 {
        timing.receive_headers_start
    } else {
        timing.receive_headers_end
    };
    timings.first_byte = span(0.0, first);
    timings
}

fn millis(value: f64) -> Duration {
    Duration::try_from_secs_f64(value / 1000.0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(headers: &[(&str, &str)]) -> MainDocument {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let response = NetworkResponse {
            url: "http://a.example/".to_owned(),
            status: 200,
            headers: headers.iter().map(own).collect(),
            mime_type: "text/html".to_owned(),
            protocol: "h2".to_owned(),
            timing: None,
        };
        let mut document = MainDocument::default();
        document.exchange.response = Some(response);
        document
    }

    #[test]
    fn repeated_headers_are_split() {
        let document = document(&[("set-cookie", "a=1\nb=2"), (":status", "200")]);
        let head = ResponseHead::from_document(&document, None, &Limits::default()).unwrap();
        let cookies: Vec<_> = head.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
        assert_eq!(head.headers.len(), 2);
    }

    #[test]
    fn decoded_text_is_labelled_utf8() {
        let document = document(&[("content-type", "text/html; charset=iso-8859-1")]);
        let mut head =
            ResponseHead::from_document(&document, Some("http://a.example/#x"), &Limits::default()).unwrap();
        head.set_utf8();
        assert_eq!(head.headers["content-type"], "text/html; charset=utf-8");
        assert_eq!(head.url.as_str(), "http://a.example/#x");
    }

    #[test]
    fn connecting_does_not_count_the_handshake_twice() {
        let timing = ResourceTiming {
            connect_start: 1.0,
            connect_end: 11.0,
            ssl_start: 4.0,
            ssl_end: 11.0,
            receive_headers_end: 20.0,
            ..ResourceTiming::default()
        };
        let timings = timings(&timing);
        assert_eq!((timings.dns, timings.connect), (Duration::ZERO, Duration::from_millis(3)));
        assert_eq!((timings.tls, timings.first_byte), (Duration::from_millis(7), Duration::from_millis(20)));
    }

    #[test]
    fn a_header_flood_is_refused() {
        let flood =
            (0..=Limits::default().max_header_fields).map(|i| i.to_string()).collect::<Vec<_>>().join("\n");
        let document = document(&[("x", &flood)]);
        assert_eq!(
            ResponseHead::from_document(&document, None, &Limits::default()).err().unwrap().kind(),
            ErrorKind::Protocol
        );
    }
}
