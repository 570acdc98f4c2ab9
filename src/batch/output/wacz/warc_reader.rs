//! Reads a WARC whose records are gzip members, as far as an index needs it.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;

/// The records of a WARC, in order.
pub(super) struct WarcReader<R> {
    from: CountingReader<R>,
}

/// A record and its place in the file.
pub(super) struct WarcRecord {
    pub(super) offset: u64,
    pub(super) len: u64,
    /// The named fields, in order.
    fields: Vec<(String, String)>,
    /// The first bytes of the block.
    pub(super) start: Vec<u8>,
}

struct CountingReader<R> {
    inner: R,
    position: u64,
}

impl<R: BufRead> WarcReader<R> {
    pub(super) const fn new(inner: R) -> Self {
        Self { from: CountingReader { inner, position: 0 } }
    }

    /// Reads the next record. `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<WarcRecord>> {
        if self.from.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let offset = self.from.position;
        let mut record = BufReader::new(GzDecoder::new(&mut self.from));
        let fields = read_fields(&mut record)?;
        let mut start = Vec::new();
        record.by_ref().take(MAX_START).read_to_end(&mut start)?;
        io::copy(&mut record, &mut io::sink())?;
        let len = self.from.position - offset;
        Ok(Some(WarcRecord { offset, len, fields, start }))
    }
}

impl WarcRecord {
    /// Returns the value of a field, or an empty text.
    pub(super) fn field(&self, name: &str) -> &str {
        let field = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        field.map_or("", |(_, value)| value)
    }
}

fn read_fields(from: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut head = from.by_ref().take(MAX_HEAD);
    let mut fields = Vec::new();
    let mut line = String::new();
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the head of a WARC record does not end"));
        }
        let text = line.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Ok(fields);
        }
        if let Some((name, value)) = text.split_once(':') {
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }
}

impl<R: BufRead> Read for CountingReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl<R: BufRead> BufRead for CountingReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
        self.position += amount as u64;
    }
}

/// The maximum size of a record's head.
const MAX_HEAD: u64 = 256 << 10;
/// The bytes of a block that are kept: a response's head and the start of its page, which has the title.
const MAX_START: u64 = 512 << 10;
