//! WARC 1.1 (ISO 28500): for each response a `request`, a `response` and a `metadata` record; for each failure only
//! a `metadata` record. There is thus one `metadata` record per URL. If the file name ends in `.gz`, each record is a
//! gzip member of its own.
//!
//! A body is written without its content coding; the header fields about the coding are written as `x-orig-…`. The
//! request is written as it was sent, in HTTP/1.1 form. Values that may be secrets are `***` (see [`SentRequest`]), and
//! the request body is omitted, because it may contain secrets. For requests of the browser, only method, target and
//! host are known.

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::header;
use serde_json::json;
use sha2::{Digest, Sha256};
use url::Url;

use super::{EncodedRecord, RecordEncoder};
use crate::batch::record::{ErrorJson, Record};
use crate::batch::summary::timestamp;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::fetcher::Response;
use crate::hex;
use crate::redact;
use crate::response::SentRequest;

pub(super) struct WarcEncoder {
    pub(super) gzip: bool,
}

impl RecordEncoder for WarcEncoder {
    fn encode(&self, record: &Record) -> Result<EncodedRecord> {
        let mut out = Vec::new();
        let date = timestamp(record.finished_at());
        let about = metadata(record)?;
        let Ok(page) = record.outcome() else {
            // An invalid URL cannot be a WARC-Target-URI.
            let uri = Url::parse(record.url()).ok().map(|url| redact::url(&url));
            let head = record_header("metadata", &date, uri.as_deref(), "application/json", &[]);
            self.write_record(&mut out, &head, &about)?;
            return Ok(EncodedRecord::Bytes(out));
        };
        let uri = redact::url(page.url());
        let (request, response) = (record_id(), record_id());
        let block = response_block(page);
        let body_at = block.len() - page.bytes().len();
        let fields = [
            ("WARC-Record-ID", response.clone()),
            ("WARC-Block-Digest", digest(&block)),
            ("WARC-Payload-Digest", digest(&block[body_at..])),
        ];
        let http = "application/http; msgtype=response";
        self.write_record(&mut out, &record_header("response", &date, Some(&uri), http, &fields), &block)?;
        let request_bytes = match page.sent_request() {
            Some(sent) => sent_request_block(sent),
            None => request_block(record.method(), page.url()),
        };
        let fields = [("WARC-Record-ID", request), ("WARC-Concurrent-To", response.clone())];
        let http = "application/http; msgtype=request";
        self.write_record(
            &mut out,
            &record_header("request", &date, Some(&uri), http, &fields),
            &request_bytes,
        )?;
        let fields = [("WARC-Record-ID", record_id()), ("WARC-Refers-To", response)];
        self.write_record(
            &mut out,
            &record_header("metadata", &date, Some(&uri), "application/json", &fields),
            &about,
        )?;
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
        let head = record_header("warcinfo", &date, None, "application/warc-fields", &[]);
        self.write_record(&mut out, &head, about.as_bytes()).ok()?;
        Some(EncodedRecord::Bytes(out))
    }
}

impl WarcEncoder {
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

fn response_block(page: &Response) -> Vec<u8> {
    let status = page.status();
    let body = page.bytes();
    let mut block = Vec::with_capacity(1024 + body.len());
    let reason = status.canonical_reason().unwrap_or_default();
    block.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).as_bytes());
    for (name, value) in page.headers() {
        if [header::CONTENT_ENCODING, header::TRANSFER_ENCODING, header::CONTENT_LENGTH].contains(name) {
            block.extend_from_slice(b"x-orig-");
        }
        block.extend_from_slice(name.as_str().as_bytes());
        block.extend_from_slice(b": ");
        block.extend_from_slice(value.as_bytes());
        block.extend_from_slice(b"\r\n");
    }
    block.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    block.extend_from_slice(body);
    block
}

fn request_block(method: &str, url: &Url) -> Vec<u8> {
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
    format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes()
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

/// Returns the record without headers and body, which are in the other WARC records.
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
    serde_json::to_vec(&about)
        .map_err(|cause| Error::new(ErrorKind::Io, "could not write a record as JSON").with_source(cause))
}

fn record_id() -> String {
    let mut bits = rand::random::<u128>();
    // A random UUID, version 4.
    bits = bits & !(0xf << 76) | 4 << 76;
    bits = bits & !(3 << 62) | 2 << 62;
    let hex = format!("{bits:032x}");
    format!("<urn:uuid:{}-{}-{}-{}-{}>", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(&Sha256::digest(bytes)))
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
            text.contains("WARC-Target-URI: https://a.test/\r\n") && text.contains("\"connect\""),
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
