//! Decodes any bytes as a body. Its first line is the Content-Type.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rungs::fuzz_parts::decode;

static URL: LazyLock<url::Url> =
    LazyLock::new(|| rungs::parse_url("https://site.example/p/1").expect("a valid URL"));

fuzz_target!(|bytes: &[u8]| {
    let (kind, body) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    let body = body.strip_prefix(b"\n").unwrap_or(body);
    let Ok(kind) = http::HeaderValue::from_bytes(kind) else { return };
    let headers = http::HeaderMap::from_iter([(http::header::CONTENT_TYPE, kind)]);
    let (name, text) = decode(&headers, &URL, body);
    let encoding = encoding_rs::Encoding::for_label(name.as_bytes()).expect("the name of an encoding");
    if let Some(text) = text {
        assert_eq!(text, encoding.decode(body).0, "{name}");
    }
    let marked = [b"\xef\xbb\xbf", body].concat();
    let (name, text) = decode(&headers, &URL, &marked);
    assert_eq!(name, "UTF-8", "a byte order mark decides");
    assert!(text.is_none_or(|text| text == String::from_utf8_lossy(body)));
    let utf8 = http::HeaderMap::from_iter([(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("text/html; charset=utf-8"),
    )]);
    let (name, text) = decode(&utf8, &URL, body);
    let is_wide = body.starts_with(b"\xff\xfe") || body.starts_with(b"\xfe\xff");
    assert!(is_wide || name == "UTF-8", "Content-Type decides");
    // With malformed bytes, it may be binary data.
    if let (false, Ok(valid)) = (is_wide, std::str::from_utf8(body)) {
        assert_eq!(text.as_deref(), Some(valid.strip_prefix('\u{feff}').unwrap_or(valid)));
    }
});
