//! Finds the refresh of any page. The first line is the value of the `Refresh` header, and of a `meta` element.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use rungs::fuzz_parts::find_refresh;

static URL: LazyLock<url::Url> =
    LazyLock::new(|| rungs::parse_url("https://site.example/p/1").expect("a valid URL"));

fuzz_target!(|bytes: &[u8]| {
    let (line, body) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    let Ok(value) = HeaderValue::from_bytes(line) else { return };
    let html =
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))]);
    let mut with_header = html.clone();
    with_header.insert(header::REFRESH, value);
    for headers in [&html, &with_header] {
        if let Some((delay, url)) = find_refresh(headers, &URL, body) {
            assert!(delay <= Duration::from_secs(5), "{delay:?}");
            assert!(matches!(url.scheme(), "http" | "https") && url.has_host(), "{url}");
        }
    }
    let Some(text) = std::str::from_utf8(line).ok().filter(|text| text.is_ascii()) else { return };
    let escaped = text.replace('&', "&amp;").replace('"', "&quot;");
    let page = format!("<meta http-equiv=refresh content=\"{escaped}\">");
    let in_header = find_refresh(&with_header, &URL, b"<p>");
    assert_eq!(find_refresh(&html, &URL, page.as_bytes()), in_header, "{text:?}");
});
