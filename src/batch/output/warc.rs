//! WARC 1.1 (ISO 28500): for each URL a `response` and a `request` record of each redirect and of the response at their
//! end, also if it is a block, and one `metadata` record. A failure without a response has only the latter. If the file
//! name ends in `.gz`, each record is a gzip member of its own.
//!
//! A body is written without its content coding; the header fields about the coding are written as `x-orig-…`. The
//! request is written as it was sent, in HTTP/1.1 form. Values that may be secrets are `***` (see [`SentRequest`]), and
//! the request body is omitted, because it may contain secrets. On the browser tier, the records are those of the page's
//! document and of its redirects; the body of the response is the DOM.

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;
use sha2::{Digest, Sha256};
use url::Url;

use super::{EncodedRecord, RecordEncoder};
use crate::batch::record::{ErrorJson, Record};
use crate::batch::summary::timestamp;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::response::{ReceivedHead, RefusedResponse, SentRequest};
use crate::fetcher::Response;
use crate::text::hex;
use crate::text::redact;

pub(super) struct WarcEncoder {
    pub(super) gzip: bool,
}

impl RecordEncoder for WarcEncoder {
    fn encode(&self, record: &Record) -> Result<EncodedRecord> {
        let mut out = Vec::new();
        let date = timestamp(record.finished_at());
        let exchanges = Exchange::all_of(record);
        let mut last = None;
        for exchange in &exchanges {
            last = Some(self.write_exchange(&mut out, &date, exchange)?);
        }
        // An invalid URL cannot be a WARC-Target-URI.
        let uri = match exchanges.last() {
            Some(exchange) => Some(redact::url(exchange.url)),
            None => Url::parse(record.url()).ok().map(|url| redact::url(&url)),
        };
        let mut fields = vec![("WARC-Record-ID", record_id())];
        fields.extend(last.map(|response| ("WARC-Refers-To", response)));
        let head = record_header("metadata", &date, uri.as_deref(), FIELDS, &fields);
        self.write_record(&mut out, &head, &metadata(record)?)?;
        Ok(EncodedRecord::Bytes(out))
    }

    fn header(&self) -> Option<EncodedRecord> {
        let about = format!(
            "software: rungs/{} ({})\r\nformat: WARC File Format 1.1\r\n\
             conformsTo: http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/\r\n",
            env!("CARGO_PKG_VERSION"),
            env!("CARGO_PKG_REPOSITORY")
        );
        let date = timestamp(std::time::SystemTime::now());
        let mut out = Vec::new();
        let head = record_header("warcinfo", &date, None, FIELDS, &[]);
        self.write_record(&mut out, &head, about.as_bytes()).ok()?;
        Some(EncodedRecord::Bytes(out))
    }
}

impl WarcEncoder {
    /// Writes the response and the request. Returns the id of the response.
    fn write_exchange(&self, out: &mut Vec<u8>, date: &str, exchange: &Exchange<'_>) -> Result<String> {
        let uri = redact::url(exchange.url);
        let (request, response) = (record_id(), record_id());
        let block = response_block(exchange);
        let body_at = block.len() - exchange.body.len();
        let mut fields = vec![
            ("WARC-Record-ID", response.clone()),
            ("WARC-Block-Digest", digest(&block)),
            ("WARC-Payload-Digest", digest(&block[body_at..])),
        ];
        fields.extend(exchange.truncated.map(|reason| ("WARC-Truncated", reason.to_owned())));
        let http = "application/http; msgtype=response";
        self.write_record(out, &record_header("response", date, Some(&uri), http, &fields), &block)?;
        let request_bytes = match exchange.request {
            Some(sent) => sent_request_block(sent),
            None => request_block(exchange.method, exchange.url),
        };
        let fields = [("WARC-Record-ID", request), ("WARC-Concurrent-To", response.clone())];
        let http = "application/http; msgtype=request";
        self.write_record(out, &record_header("request", date, Some(&uri), http, &fields), &request_bytes)?;
        Ok(response)
    }

    fn write_record(&self, out: &mut Vec<u8>, head: &str, block: &[u8]) -> Result<()> {
        let length = format!("Content-Length: {}\r\n\r\n", block.len());
        let parts = [head.as_bytes(), length.as_bytes(), block, b"\r\n\r\n"];
        if !self.gzip {
            for part in parts {
                out.extend_from_slice(part);
            }
            return Ok(());
        }
        let mut gzip = GzEncoder::new(out, Compression::fast());
        let packed = parts.iter().try_for_each(|part| gzip.write_all(part)).and_then(|()| gzip.try_finish());
        packed.map_err(|cause| Error::new(ErrorKind::Io, "could not compress a record").with_source(cause))
    }
}

/// Returns the named fields of a record, without its length.
fn record_header(
    kind: &str,
    date: &str,
    uri: Option<&str>,
    content: &str,
    fields: &[(&str, String)],
) -> String {
    let mut head = format!("WARC/1.1\r\nWARC-Type: {kind}\r\nWARC-Date: {date}\r\n");
    if !fields.iter().any(|(name, _)| *name == "WARC-Record-ID") {
        let _ = write!(head, "WARC-Record-ID: {}\r\n", record_id());
    }
    if let Some(uri) = uri {
        let _ = write!(head, "WARC-Target-URI: {uri}\r\n");
    }
    for (name, value) in fields {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(head, "Content-Type: {content}\r\n");
    head
}

/// A response with its request.
struct Exchange<'a> {
    url: &'a Url,
    status: StatusCode,
    fields: Vec<(&'a str, &'a HeaderValue)>,
    /// The reason phrase as received.
    reason: Option<&'a [u8]>,
    /// Where the response led, if it does not say so itself.
    location: Option<&'a Url>,
    body: &'a [u8],
    /// Why the body is not whole.
    truncated: Option<&'static str>,
    method: &'a str,
    request: Option<&'a SentRequest>,
}

impl<'a> Exchange<'a> {
    /// Returns the redirects of a record, and the response at their end: the page, or the response that was refused.
    fn all_of(record: &'a Record) -> Vec<Self> {
        let refused = record.capture().and_then(|capture| capture.refused.as_ref());
        let (redirects, mut last) = match (record.outcome(), refused) {
            (Ok(page), _) => (
                page.redirects(),
                Self::new(page.url(), page.status(), page.headers(), page.received()).with_body(page.bytes()),
            ),
            (Err(_), Some(refused)) => {
                let RefusedResponse { url, status, headers, received, .. } = refused;
                let last = Self::new(url, *status, headers, received).with_body(&refused.body);
                let truncated = (!refused.is_complete).then_some("length");
                (&refused.redirects[..], Self { truncated, ..last })
            }
            (Err(_), None) => return Vec::new(),
        };
        last.method = if redirects.is_empty() { record.method() } else { "GET" };
        let next = redirects.iter().skip(1).map(|hop| &hop.url).chain([last.url]);
        let hops = redirects.iter().zip(next).enumerate().map(|(at, (hop, next))| {
            let is_redirect = hop.status.is_redirection();
            Self {
                location: Some(next).filter(|_| is_redirect && !hop.headers.contains_key(header::LOCATION)),
                // The page of a refresh is kept if it is small.
                truncated: (!is_redirect && hop.page.is_none()).then_some("unspecified"),
                body: hop.page.as_deref().unwrap_or_default(),
                method: if at == 0 { record.method() } else { "GET" },
                ..Self::new(&hop.url, hop.status, &hop.headers, &hop.received)
            }
        });
        let mut all: Vec<Self> = hops.chain([last]).collect();
        let requests = record.capture().map_or(&[][..], |capture| &capture.requests);
        if requests.len() == all.len() {
            // A page of the browser may have another URL than its request.
            for (exchange, request) in all.iter_mut().zip(requests) {
                exchange.request = Some(request);
            }
        } else {
            find_requests(&mut all, requests);
        }
        all
    }

    fn new(url: &'a Url, status: StatusCode, headers: &'a HeaderMap, received: &'a ReceivedHead) -> Self {
        Self {
            url,
            status,
            fields: received.fields(headers),
            reason: received.reason(),
            location: None,
            body: &[],
            truncated: None,
            method: "GET",
            request: None,
        }
    }

    fn with_body(self, body: &'a [u8]) -> Self {
        Self { body, ..self }
    }
}

/// Finds the request of each exchange by its target, where some requests were sent again.
fn find_requests<'a>(exchanges: &mut [Exchange<'a>], mut requests: &'a [SentRequest]) {
    for exchange in exchanges {
        // A request that was sent again is the last of its kind.
        let is_own = |sent: &SentRequest| sent.target == target(exchange.url);
        let first = requests.iter().position(is_own);
        let Some(rest) = first.map(|first| &requests[first..]) else { continue };
        let count = rest.iter().take_while(|sent| is_own(sent)).count();
        // Hops to the same URL have a request each.
        let taken = if exchange.location.is_none() && exchange.status.is_redirection() { 1 } else { count };
        exchange.request = rest.get(taken - 1);
        requests = &rest[taken..];
    }
}

fn response_block(exchange: &Exchange<'_>) -> Vec<u8> {
    let Exchange { status, body, .. } = exchange;
    let mut block = Vec::with_capacity(1024 + body.len());
    let usual = status.canonical_reason().unwrap_or_default().as_bytes();
    block.extend_from_slice(format!("HTTP/1.1 {} ", status.as_u16()).as_bytes());
    block.extend_from_slice(exchange.reason.unwrap_or(usual));
    block.extend_from_slice(b"\r\n");
    for (name, value) in &exchange.fields {
        let changed = [header::CONTENT_ENCODING, header::TRANSFER_ENCODING, header::CONTENT_LENGTH];
        if changed.iter().any(|other| name.eq_ignore_ascii_case(other.as_str())) {
            block.extend_from_slice(b"x-orig-");
        }
        block.extend_from_slice(name.as_bytes());
        block.extend_from_slice(b": ");
        block.extend_from_slice(value.as_bytes());
        block.extend_from_slice(b"\r\n");
    }
    if let Some(location) = exchange.location {
        block.extend_from_slice(format!("location: {location}\r\n").as_bytes());
    }
    block.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    block.extend_from_slice(body);
    block
}

fn request_block(method: &str, url: &Url) -> Vec<u8> {
    let target = target(url);
    let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
    format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes()
}

fn target(url: &Url) -> &str {
    &url[url::Position::BeforePath..url::Position::AfterQuery]
}

fn sent_request_block(sent: &SentRequest) -> Vec<u8> {
    let mut block = format!("{} {} HTTP/1.1\r\n", sent.method, sent.target).into_bytes();
    for (name, value) in &sent.headers {
        // The body is omitted, so its length would be wrong.
        if name.eq_ignore_ascii_case(header::CONTENT_LENGTH.as_str()) {
            block.extend_from_slice(b"x-orig-");
        }
        for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            block.extend_from_slice(part);
        }
    }
    block.extend_from_slice(b"\r\n");
    block
}

/// Returns the fields of the `metadata` record. `rungs` is the record as JSON, without headers and body, which are in the
/// other WARC records.
fn metadata(record: &Record) -> Result<Vec<u8>> {
    let page = record.outcome().ok();
    let about = json!({
        "url": record.url(),
        "final_url": page.map(|page| redact::url(page.url())),
        "status": record.status(),
        "tier": record.tier(),
        "http_version": page.map(|page| page.version().name()),
        "body_bytes": page.map(Response::body_len),
        "file": record.file(),
        "elapsed_ms": record.elapsed().as_secs_f64() * 1000.0,
        "robots": record.robots(),
        "attempts": record.attempts(),
        "error": record.outcome().err().map(ErrorJson::new),
        "fields": record.fields,
        "links": record.links,
    });
    let json = serde_json::to_string(&about)
        .map_err(|cause| Error::new(ErrorKind::Io, "could not write a record as JSON").with_source(cause))?;
    Ok(format!("fetchTimeMs: {}\r\nrungs: {json}\r\n", record.elapsed().as_millis()).into_bytes())
}

const FIELDS: &str = "application/warc-fields";

fn record_id() -> String {
    let mut bits = rand::random::<u128>();
    // A random UUID, version 4.
    bits = bits & !(0xf << 76) | 4 << 76;
    bits = bits & !(3 << 62) | 2 << 62;
    let hex = format!("{bits:032x}");
    format!("<urn:uuid:{}-{}-{}-{}-{}>", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn digest(bytes: &[u8]) -> String {
    format_digest(Sha256::new_with_prefix(bytes))
}

/// Returns a digest in the form of WARC and WACZ.
pub(super) fn format_digest(hash: Sha256) -> String {
    format!("sha256:{}", hex::encode(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_metadata_record_compressed_or_not() {
        let record = Record::new("https://a.test/", Err(Error::new(ErrorKind::Connect, "refused")));
        let EncodedRecord::Bytes(plain) = WarcEncoder { gzip: false }.encode(&record).unwrap() else {
            panic!("no bytes")
        };
        let text = String::from_utf8(plain).unwrap();
        assert!(
            text.starts_with("WARC/1.1\r\nWARC-Type: metadata\r\n") && text.ends_with("\r\n\r\n"),
            "{text}"
        );
        assert!(
            text.contains("WARC-Target-URI: https://a.test/\r\n")
                && text.contains("\r\nrungs: {")
                && text.contains("\"connect\""),
            "{text}"
        );
        let (head, block) = text.split_once("\r\n\r\n").unwrap();
        let length: usize = head.rsplit_once("Content-Length: ").unwrap().1.parse().unwrap();
        assert_eq!(length + 4, block.len());
        let EncodedRecord::Bytes(packed) = WarcEncoder { gzip: true }.encode(&record).unwrap() else {
            panic!("no bytes")
        };
        assert!(packed.starts_with(&[0x1f, 0x8b]));
    }

    #[test]
    fn ids_are_random_uuids() {
        let first = record_id();
        assert_eq!((first.len(), &first[24..25]), (47, "4"));
        assert_ne!(first, record_id());
        assert!("89ab".contains(&first[29..30]), "{first}");
    }
}
