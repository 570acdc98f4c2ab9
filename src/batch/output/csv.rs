//! CSV (RFC 4180) with a header line and CRLF: all data of a record except the body.

use super::{Columns, EncodedRecord, RecordEncoder};
use crate::batch::record::{ErrorJson, Record};
use crate::batch::summary::timestamp;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::text::redact;

#[derive(Default)]
pub(super) struct CsvEncoder {
    extracted: Columns,
}

/// The columns of every record, in order. They are stable. The columns of extracted data follow them.
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

impl RecordEncoder for CsvEncoder {
    fn encode(&self, record: &Record) -> Result<EncodedRecord> {
        let page = record.outcome().ok();
        let failed = record.outcome().err().map(ErrorJson::new);
        let last = record.attempts().last();
        let content_type = page.and_then(|page| page.headers().get(http::header::CONTENT_TYPE));
        let text = |number: Option<String>| number.unwrap_or_default();
        let mut cells = vec![
            record.url().to_owned(),
            text(page.map(|page| redact::url(page.url()))),
            text(record.status().map(|status| status.to_string())),
            text(record.tier().map(|tier| tier.to_string())),
            text(last.and_then(|attempt| attempt.browser_profile.clone())),
            text(page.map(|page| page.version().name().to_owned())),
            text(content_type.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())),
            text(page.map(|page| page.body_len().to_string())),
            text(record.file().map(str::to_owned)),
            timestamp(record.finished_at()),
            format!("{:.3}", record.elapsed().as_secs_f64() * 1000.0),
            record.attempts().len().to_string(),
            record.robots().unwrap_or_default().to_owned(),
            text(failed.as_ref().map(|failed| failed.kind.to_string())),
            text(failed.as_ref().map(|failed| failed.message.clone())),
            text(record.outcome().err().and_then(Error::hint).map(str::to_owned)),
        ];
        for name in &self.extracted.fields {
            let value = record.fields.as_ref().and_then(|fields| fields.get(name));
            cells.push(value.map_or_else(String::new, format_cell));
        }
        if self.extracted.text {
            cells.push(text(record.text.clone()));
        }
        if self.extracted.links {
            let links = record.links.as_ref().map(|links| links.join(" "));
            cells.extend([text(record.canonical.clone()), text(links)]);
        }
        encode_line(&cells)
    }

    fn header(&self) -> Option<EncodedRecord> {
        encode_line(&self.header_cells()).ok()
    }
}

impl CsvEncoder {
    pub(super) const fn new(extracted: Columns) -> Self {
        Self { extracted }
    }

    fn header_cells(&self) -> Vec<String> {
        let mut columns = COLUMNS.map(str::to_owned).to_vec();
        for name in &self.extracted.fields {
            // A field may have the name of a column.
            let is_taken = columns.contains(name) || EXTRACTED_COLUMNS.contains(&name.as_str());
            columns.push(if is_taken { format!("fields.{name}") } else { name.clone() });
        }
        let read = EXTRACTED_COLUMNS.map(str::to_owned);
        columns.extend(read[..1].iter().filter(|_| self.extracted.text).cloned());
        columns.extend(read[1..].iter().filter(|_| self.extracted.links).cloned());
        columns
    }
}

/// Formats a field for one cell: text unchanged, several matches as a JSON array.
fn format_cell(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The columns after the fields: the first if text is extracted, the others if links are.
const EXTRACTED_COLUMNS: [&str; 3] = ["text", "canonical", "links"];

fn encode_line(cells: &[String]) -> Result<EncodedRecord> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let csv_error =
        |cause: csv::Error| Error::new(ErrorKind::Io, "could not write a record as CSV").with_source(cause);
    // Every cell, whatever it comes from.
    writer.write_record(cells.iter().map(|cell| redact::escape_csv_cell(cell))).map_err(csv_error)?;
    let bytes = writer.into_inner().map_err(|cause| {
        Error::new(ErrorKind::Io, "could not write a record as CSV").with_source(cause.into_error())
    })?;
    Ok(EncodedRecord::Bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_every_column_and_special_characters_are_quoted() {
        let error = Error::new(ErrorKind::Connect, "broke, \"badly\"\nand again").with_hint("=1+1");
        let record = Record::new("https://a.test/?a=1,2", Err(error));
        let EncodedRecord::Bytes(bytes) = CsvEncoder::default().encode(&record).unwrap() else {
            panic!("no bytes")
        };
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&bytes[..]);
        let read = reader.records().next().unwrap().unwrap();
        assert_eq!(read.len(), COLUMNS.len());
        assert_eq!((&read[0], &read[13], &read[15]), ("https://a.test/?a=1,2", "connect", "'=1+1"));
        assert_eq!(&read[14], "broke, \"badly\"\nand again");
        assert!(bytes.ends_with(b"\r\n"));
    }

    #[test]
    fn extracted_data_has_its_own_columns() {
        let fields = ["title", "url", "images"].map(str::to_owned).to_vec();
        let columns = CsvEncoder::new(Columns { fields, text: true, links: true });
        let mut record = Record::new("https://a.test/", Err(Error::new(ErrorKind::Connect, "refused")));
        let read = serde_json::json!({"title": "\u{ff1d}1+1", "url": null, "images": ["a", "b"]});
        record.fields = read.as_object().cloned();
        record.links = Some(vec!["https://a.test/1".to_owned(), "https://a.test/2".to_owned()]);
        let EncodedRecord::Bytes(head) = columns.header().unwrap() else { panic!("no bytes") };
        let EncodedRecord::Bytes(bytes) = columns.encode(&record).unwrap() else { panic!("no bytes") };
        let whole = [head, bytes].concat();
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&whole[..]);
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        let extracted_cells =
            |row: &csv::StringRecord| row.iter().skip(COLUMNS.len()).collect::<Vec<_>>().join("|");
        assert_eq!(extracted_cells(&rows[0]), "title|fields.url|images|text|canonical|links");
        assert_eq!(
            extracted_cells(&rows[1]),
            "'\u{ff1d}1+1||[\"a\",\"b\"]|||https://a.test/1 https://a.test/2"
        );
    }
}
