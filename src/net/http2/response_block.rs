//! Rewrites the header block of a response, so that the stack accepts what Chromium accepts: fields of the HTTP/1.1
//! connection, any Content-Length, and control characters in values.

use http::{HeaderMap, HeaderName};

use crate::fingerprint::hpack::RawField;

/// What a header block is, by its stream's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum BlockKind {
    /// The headers of an interim or final response.
    Response,
    Trailers,
}

/// A rewritten header block.
pub(in crate::net) struct ResponseBlock {
    /// Literals that need no table.
    pub(in crate::net) bytes: Vec<u8>,
    /// Whether it contains the headers of a final response.
    pub(in crate::net) is_final: bool,
}

/// Encodes `fields` for the stack. It refuses the block if the response has no status, or switches protocols.
pub(in crate::net) fn rewrite(fields: &[RawField], kind: BlockKind) -> ResponseBlock {
    let status = fields.iter().find(|field| field.name == b":status").map(|field| field.value.as_slice());
    let mut bytes = Vec::new();
    for field in fields {
        let has_control = field.value.iter().any(|byte| is_control(*byte));
        // Chromium refuses a cookie that contains a control character.
        if has_control && field.name == b"set-cookie" {
            continue;
        }
        let hidden = HIDDEN.iter().find(|(name, _)| name.as_bytes() == field.name);
        let name = hidden.map_or(field.name.as_slice(), |(_, other)| other.as_bytes());
        let value = field.value.iter().map(|byte| if is_control(*byte) { b' ' } else { *byte });
        write_literal(name, &value.collect::<Vec<u8>>(), &mut bytes);
    }
    let is_refused = match kind {
        BlockKind::Response => status.is_none_or(|status| status == b"101"),
        BlockKind::Trailers => false,
    };
    if is_refused {
        // The stack resets the stream because of such a field.
        write_literal(b"connection", b"close", &mut bytes);
    }
    let is_final = status.is_some_and(|status| !status.starts_with(b"1"));
    ResponseBlock { bytes, is_final }
}

/// Restores the names that [`rewrite`] replaced, and keeps the order.
pub(crate) fn restore_names(headers: &mut HeaderMap) {
    if !HIDDEN.iter().any(|(_, other)| headers.contains_key(*other)) {
        return;
    }
    let mut restored = HeaderMap::with_capacity(headers.len());
    let mut last = None;
    for (name, value) in std::mem::take(headers) {
        last = name.or(last);
        let Some(name) = &last else { continue };
        let hidden = HIDDEN.iter().find(|(_, other)| *other == name.as_str());
        let name = hidden.map_or_else(|| name.clone(), |(shown, _)| HeaderName::from_static(shown));
        restored.append(name, value);
    }
    *headers = restored;
}

/// Appends a literal without indexing.
fn write_literal(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(0);
    for text in [name, value] {
        super::hpack::write_integer(out, 0, 7, text.len());
        out.extend_from_slice(text);
    }
}

/// Whether Chromium accepts a control character that the stack refuses.
fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && !matches!(byte, b'\t' | b'\0' | b'\r' | b'\n')
}

/// The fields that the stack refuses, or checks more strictly than Chromium, and the names that it sees.
const HIDDEN: [(&str, &str); 6] = [
    ("content-length", "rungs-h2-content-length"),
    ("connection", "rungs-h2-connection"),
    ("keep-alive", "rungs-h2-keep-alive"),
    ("proxy-connection", "rungs-h2-proxy-connection"),
    ("upgrade", "rungs-h2-upgrade"),
    ("te", "rungs-h2-te"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::hpack::HpackDecoder;

    fn literals(fields: &[(&str, &str)]) -> Vec<RawField> {
        let mut block = Vec::new();
        for (name, value) in fields {
            write_literal(name.as_bytes(), value.as_bytes(), &mut block);
        }
        HpackDecoder::default().decode_bytes(&block).unwrap()
    }

    fn names(block: &ResponseBlock) -> Vec<String> {
        let fields = HpackDecoder::default().decode(&block.bytes).unwrap();
        fields.into_iter().map(|field| format!("{}={}", field.name, field.value)).collect()
    }

    #[test]
    fn fields_of_the_connection_reach_the_caller_under_their_names_and_in_their_order() {
        let fields = [
            ("content-length", "5"),
            ("x-a", "1"),
            ("connection", "keep-alive"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("x-b", "2"),
        ];
        let all: Vec<_> = [(":status", "200")].iter().chain(&fields).copied().collect();
        let block = rewrite(&literals(&all), BlockKind::Response);
        assert!(block.is_final);
        let mut headers = HeaderMap::new();
        for field in HpackDecoder::default().decode(&block.bytes).unwrap().iter().skip(1) {
            let name: HeaderName = field.name.parse().unwrap();
            assert!(!["content-length", "connection"].contains(&name.as_str()));
            headers.append(name, field.value.parse().unwrap());
        }
        restore_names(&mut headers);
        let restored: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(restored, fields);
    }

    #[test]
    fn a_response_without_status_is_refused_and_trailers_are_not() {
        let block = rewrite(&literals(&[("x-a", "1")]), BlockKind::Response);
        assert_eq!(names(&block), ["x-a=1", "connection=close"]);
        let block = rewrite(&literals(&[("x-a", "1")]), BlockKind::Trailers);
        assert_eq!(names(&block), ["x-a=1"]);
        let block = rewrite(&literals(&[(":status", "101")]), BlockKind::Response);
        assert_eq!(names(&block), [":status=101", "connection=close"]);
        let block = rewrite(&literals(&[(":status", "103")]), BlockKind::Response);
        assert!(!block.is_final && names(&block) == [":status=103"]);
    }

    #[test]
    fn control_characters_become_spaces_and_such_cookies_are_ignored() {
        let fields = literals(&[(":status", "200"), ("x-a", "a\u{1}b"), ("set-cookie", "a=\u{1}")]);
        assert_eq!(names(&rewrite(&fields, BlockKind::Response)), [":status=200", "x-a=a b"]);
    }
}
