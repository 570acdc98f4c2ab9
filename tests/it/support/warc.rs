//! A strict reader of WARC files.

/// One record of a WARC file.
pub(crate) struct WarcRecord {
    /// The field `WARC-Type`.
    pub(crate) kind: String,
    pub(crate) head: String,
    pub(crate) block: Vec<u8>,
}

/// Reads the records of a WARC file. Panics on any deviation from the format.
pub(crate) fn warc_records(mut bytes: &[u8]) -> Vec<WarcRecord> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head ends");
        let head = String::from_utf8(bytes[..end].to_vec()).expect("a head is UTF-8");
        assert!(head.starts_with("WARC/1.1\r\n"), "{head}");
        let field = |name: &str| {
            let start = format!("{name}: ");
            head.split("\r\n").find_map(|line| line.strip_prefix(&start)).map(ToOwned::to_owned)
        };
        for name in ["WARC-Record-ID", "WARC-Date", "WARC-Type", "Content-Type"] {
            assert!(field(name).is_some(), "no {name}\n{head}");
        }
        let length: usize = field("Content-Length").and_then(|text| text.parse().ok()).expect("a length");
        let block = bytes[end + 4..end + 4 + length].to_vec();
        assert_eq!(&bytes[end + 4 + length..end + 8 + length], b"\r\n\r\n", "{head}");
        bytes = &bytes[end + 8 + length..];
        records.push(WarcRecord { kind: field("WARC-Type").expect("a kind"), head, block });
    }
    records
}
