//! One JSON object a line, with the keys of `rungs fetch --format json`.

use super::{Encode, Encoded};
use crate::batch::record::Record;
use crate::error::{Error, Result};
use crate::kind::ErrorKind;

pub(super) struct Jsonl;

impl Encode for Jsonl {
    fn encode(&self, record: &Record) -> Result<Encoded> {
        let body = record.outcome().map_or(0, |page| page.bytes().len());
        let mut line = Vec::with_capacity(1024 + body + body / 8);
        serde_json::to_writer(&mut line, record).map_err(|cause| {
            Error::new(ErrorKind::Io, "could not write a record as JSON").with_source(cause)
        })?;
        line.push(b'\n');
        Ok(Encoded::Bytes(line))
    }
}
