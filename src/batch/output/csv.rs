//! CSV (RFC 4180) with a header line and CRLF: what there is to tell of each URL but its body.

use super::{Encode, Encoded};
use crate::batch::record::{Failed, Record};
use crate::batch::summary::timestamp;
use crate::error::{Error, Result};
use crate::kind::ErrorKind;
use crate::redact;

pub(super) struct Csv;

/// The columns, in order; they do not change.
const COLUMNS: [&str; 16] = [
    "url",
    "final_url",
    "status",
    "tier",
    "browser_profile",
    "http_version",
    "content_type",
    "body_bytes",
    "file",
    "fetched_at",
    "elapsed_ms",
    "attempts",
    "robots",
    "error_kind",
    "error",
    "hint",
];

impl Encode for Csv {
    fn encode(&self, record: &Record) -> Result<Encoded> {
        let page = record.outcome().ok();
        let failed = record.outcome().err().map(Failed::of);
        let last = record.attempts().last();
        let content_type = page.and_then(|page| page.headers().get(http::header::CONTENT_TYPE));
        let text = |number: Option<String>| number.unwrap_or_default();
        line(&[
            safe(record.url()),
            text(page.map(|page| redact::url(page.url()))),
            text(record.status().map(|status| status.to_string())),
            text(record.tier().map(|tier| tier.to_string())),
            text(last.and_then(|attempt| attempt.browser_profile.clone())),
            text(page.map(|page| page.version().name().to_owned())),
            text(content_type.map(|value| safe(&String::from_utf8_lossy(value.as_bytes())))),
            text(page.map(|page| page.body_len().to_string())),
            text(record.file().map(safe)),
            timestamp(record.at()),
            format!("{:.3}", record.elapsed().as_secs_f64() * 1000.0),
            record.attempts().len().to_string(),
            record.robots().unwrap_or_default().to_owned(),
            text(failed.as_ref().map(|failed| failed.kind.to_string())),
            text(failed.as_ref().map(|failed| safe(&failed.message))),
            text(record.outcome().err().and_then(Error::hint).map(safe)),
        ])
    }

    fn prelude(&self) -> Option<Encoded> {
        line(&COLUMNS.map(str::to_owned)).ok()
    }
}

fn line(cells: &[String]) -> Result<Encoded> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let unwritten =
        |cause: csv::Error| Error::new(ErrorKind::Io, "could not write a record as CSV").with_source(cause);
    writer.write_record(cells).map_err(unwritten)?;
    let bytes = writer.into_inner().map_err(|cause| {
        Error::new(ErrorKind::Io, "could not write a record as CSV").with_source(cause.into_error())
    })?;
    Ok(Encoded::Bytes(bytes))
}

/// A spreadsheet takes a cell that begins so for a formula: an apostrophe before it makes it text.
fn safe(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_every_column_and_what_would_break_it_is_quoted() {
        let error = Error::new(ErrorKind::Connect, "broke, \"badly\"\nand again").with_hint("=1+1");
        let record = Record::new("https://a.test/?a=1,2", Err(error));
        let Encoded::Bytes(bytes) = Csv.encode(&record).unwrap() else { panic!("no bytes") };
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&bytes[..]);
        let read = reader.records().next().unwrap().unwrap();
        assert_eq!(read.len(), COLUMNS.len());
        assert_eq!((&read[0], &read[13], &read[15]), ("https://a.test/?a=1,2", "connect", "'=1+1"));
        assert_eq!(&read[14], "broke, \"badly\"\nand again");
        assert!(bytes.ends_with(b"\r\n"));
    }
}
