//! One JSON object per line, with the keys of `rungs fetch --format json`.

use super::{EncodedRecord, RecordEncoder};
use crate::batch::record::Record;
use crate::exchange::error::Result;

pub(super) struct JsonlEncoder;

impl RecordEncoder for JsonlEncoder {
    fn encode(&self, record: &Record) -> Result<EncodedRecord> {
        let mut line = record.to_json().into_bytes();
        line.push(b'\n');
        Ok(EncodedRecord::Bytes(line))
    }
}
