use proptest::prelude::*;

use super::*;

const FIELDS: &str = "Content-Type: text/html\r\n";

/// Returns the rewritten head and whether it is odd.
fn text(head: &str) -> Option<(String, bool)> {
    let rewritten = rewrite(head.as_bytes(), false)?;
    Some((String::from_utf8_lossy(&rewritten.bytes).into_owned(), rewritten.is_odd))
}

#[test]
fn a_strict_head_is_not_changed() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n",
        "HTTP/1.0 404 \r\n\r\n",
        "HTTP/1.1 200\r\nX-Empty:\r\nx-tight:a\r\nX-Wide:   a \t \r\n\r\n",
        "HTTP/1.1 999 é\r\nX-Latin: é\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 400\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        assert_eq!(text(head), Some((head.to_owned(), false)));
    }
}

#[test]
fn field_lines_are_read_as_chromium_reads_them() {
    let rows = [
        ("X-Fold: a\r\n\tb\r\n   c\r\n", "X-Fold: a b c\r\n"),
        ("X-Fold:\r\n a\r\n", "X-Fold: a\r\n"),
        ("X-Fold: a\r\n \t\r\n", "X-Fold: a\r\n"),
        (" folded: a\r\n", ""),
        ("no colon\r\n folded\r\n", ""),
        ("X-Spaced : a\r\n", "X-Spaced: a\r\n"),
        ("X Bad: a\r\n folded: b\r\n", ""),
        ("X-é: a\r\n", ""),
        (": a\r\n", ""),
        ("X-\u{1}C: a\r\n", ""),
        ("X-C: a\u{1}b\u{7f}\r\n", "X-C: a b \r\n"),
        ("Location: /a\u{1}b\r\n", "Location: /a%01b\r\n"),
        ("Set-Cookie: a=b\u{1}\r\n", ""),
        ("X-A: a\rX-B: b\r\n", "X-A: a\r\nX-B: b\r\n"),
        ("X-A: a\r\r\n", "X-A: a\r\n"),
        ("X-A: a\nX-B: b\n", "X-A: a\r\nX-B: b\r\n"),
    ];
    for (lines, expected) in rows {
        let head = format!("HTTP/1.1 200 OK\r\n{lines}{FIELDS}\r\n");
        let expected = format!("HTTP/1.1 200 OK\r\n{expected}{FIELDS}\r\n");
        assert_eq!(text(&head), Some((expected, true)), "{lines:?}");
    }
    assert!(rewrite(b"HTTP/1.1 200 OK\r\nX-Nul: a\0b\r\n\r\n", false).is_none());
}

#[test]
fn status_lines_are_read_as_chromium_reads_them() {
    let rows = [
        ("http/1.1 200 OK", "HTTP/1.1 200 OK"),
        ("HTTP/1.2 200 OK", "HTTP/1.1 200 OK"),
        ("HTTP/2.0 200 OK", "HTTP/1.1 200 OK"),
        ("HTTP/2 200 OK", "HTTP/1.0 200 OK"),
        ("HTTP/0.9 200 OK", "HTTP/1.0 200 OK"),
        ("HTTP 200 OK", "HTTP/1.0 200 OK"),
        ("HTTP/1.1  200  OK", "HTTP/1.1 200 OK"),
        ("HTTP/1.1 200OK", "HTTP/1.1 200 OK"),
        ("HTTP/1.1 0404 Gone", "HTTP/1.1 404 Gone"),
        ("HTTP/1.1\t404\tGone", "HTTP/1.1 200 "),
        ("HTTP/1.1", "HTTP/1.1 200 "),
        ("HTTP/1.1 OK", "HTTP/1.1 200 OK"),
        ("HTTP/1.1 200 O\u{1}K", "HTTP/1.1 200 OK"),
    ];
    for (line, expected) in rows {
        let expected = format!("{expected}\r\n{FIELDS}\r\n");
        assert_eq!(text(&format!("{line}\r\n{FIELDS}\r\n")), Some((expected, true)), "{line:?}");
    }
    for line in ["HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 000 OK", "HTTP/ 1.1 200 OK"] {
        assert!(text(&format!("{line}\r\n\r\n")).is_none(), "{line:?}");
    }
}

#[test]
fn the_end_of_the_body_is_that_of_chromium() {
    // The received lines, the lines that frame the body, whether it is chunked, whether the connection may be reused.
    let rows = [
        ("Content-Length: 4, 4", "Content-Length: 4, 4", false, false),
        ("Content-Length: 004", "Content-Length: 004", false, true),
        ("Content-Length: +4", "", false, false),
        ("Content-Length:", "", false, false),
        ("Content-Length: -4", "", false, false),
        ("Content-Length: 0x4", "", false, false),
        ("Content-Length: \"4\"", "", false, false),
        ("Content-Length: 99999999999999999999", "", false, false),
        ("Transfer-Encoding: identity\r\nContent-Length: 4", "content-length: 4", false, false),
        ("Transfer-Encoding: identity", "", false, false),
        ("Transfer-Encoding: xchunked", "", false, false),
        ("Transfer-Encoding: chunked;x=1", "", false, false),
        ("Transfer-Encoding: CHUNKED", "Transfer-Encoding: CHUNKED", true, true),
        ("Transfer-Encoding: chunked, identity", "transfer-encoding: chunked", true, false),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", "transfer-encoding: chunked", true, false),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3", "transfer-encoding: chunked", true, false),
    ];
    for (lines, expected, is_chunked, is_reusable) in rows {
        let head = rewrite(format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n").as_bytes(), false).unwrap();
        let end = if expected.is_empty() { "\r\n" } else { "\r\n\r\n" };
        assert_eq!(String::from_utf8_lossy(&head.bytes), format!("HTTP/1.1 200 OK\r\n{expected}{end}"));
        assert_eq!((head.is_chunked, !head.is_odd), (is_chunked, is_reusable), "{lines}");
    }
    for lines in ["Content-Length: 4\r\nContent-Length: 5", "Content-Length: 4, +4", "Content-Length: 4,"] {
        assert!(text(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n")).is_none(), "{lines}");
    }
    let old = rewrite(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false).unwrap();
    assert!(!old.is_chunked && old.bytes == b"HTTP/1.0 200 OK\r\n\r\n");
    let framing = old.framing.unwrap();
    assert_eq!(framing, [(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))]);
    let reset = rewrite(b"HTTP/1.1 205 Reset\r\nContent-Length: 4\r\n\r\n", false).unwrap();
    assert_eq!(reset.bytes, b"HTTP/1.1 205 Reset\r\ncontent-length: 0\r\n\r\n");
    let to_head = rewrite(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true).unwrap();
    assert!(!to_head.is_chunked && !to_head.is_odd);
}

#[test]
fn the_head_is_found_between_other_bytes() {
    for (bytes, at) in [("HTTP", 0), (" hTtP", 1), ("\r\n\r\n\r\n HTTP", 7), ("abcdHTTP/1.1", 4)] {
        assert!(matches!(find_start(bytes.as_bytes()), Start::At(found) if found == at), "{bytes}");
    }
    for bytes in ["", "H", "abcdHTT", "\r\n"] {
        assert!(matches!(find_start(bytes.as_bytes()), Start::Unknown), "{bytes}");
    }
    assert!(matches!(find_start(b"abcdeHTTP/1.1"), Start::Foreign));
    for (head, length) in [("a\r\n\r\nb", 5), ("a\n\nb", 3), ("a\n\r\nb", 4), ("a\r\n\nb", 4)] {
        for split in 0..length {
            let found = find_end(&head.as_bytes()[..split], 0);
            assert_eq!(found, None, "{head:?}");
            assert_eq!(find_end(head.as_bytes(), split), Some(length), "{head:?} {split}");
        }
    }
    assert_eq!(find_end(b"a\r\rb\r\n\r", 0), None);
}

proptest! {
    #[test]
    fn a_rewritten_head_is_not_changed_again(
        lines in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(proptest::sample::select(&b"aT:,; \t\r\n\0\x01\x7f\xe9="[..]), 0..12),
                proptest::sample::select(&FRAMING_LINES[..]).prop_map(|line| line.as_bytes().to_vec()),
            ],
            0..8,
        ),
        is_head_request in any::<bool>(),
    ) {
        let head = [&lines.join(&b'\n')[..], b"\r\n\r\n"].concat();
        for status in ["HTTP/1.1 200 OK\r\n", "http/1.0 205\r\n", "HTTP/2  304\n", "HTTP/1.1 1"] {
            let Some(first) = rewrite(&[status.as_bytes(), &head].concat(), is_head_request) else { continue };
            let again = rewrite(&first.bytes, is_head_request).expect("it was rewritten before");
            prop_assert_eq!(first.bytes.escape_ascii().to_string(), again.bytes.escape_ascii().to_string());
            prop_assert_eq!((first.is_chunked, first.is_interim), (again.is_chunked, again.is_interim));
            prop_assert!(again.framing.is_none());
        }
    }
}

const FRAMING_LINES: [&str; 7] = [
    "Content-Length: 4",
    "content-length: +4",
    "Content-Length : 4, 4",
    "Transfer-Encoding: chunked",
    "transfer-encoding: identity, chunked",
    "Transfer-Encoding:\r\n gzip",
    "Set-Cookie: a=b",
];
