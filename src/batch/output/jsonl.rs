//! One JSON object per line, with the keys of `rungs fetch --format json`.

use super::{EncodedRecord, RecordEncoder};
use crate::batch::record::Record;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;

pub(super) struct JsonlEncoder;

impl RecordEncoder for JsonlEncoder {
    fn encode(&self, record: &Record) -> Result<EncodedRecord> {
        let body = record.outcome().map_or(0, |page| page.bytes().len());
        let mut line = Vec::with_capacity(1024 + body + body / 8);
        serde_json::to_writer(&mut line, record).map_err(|cause| {
            Error::new(ErrorKind::Io, "could not write a record as JSON").with_source(cause)
        })?;
        line.push(b'\n');
        Ok(EncodedRecord::Bytes(line))
    }
}
