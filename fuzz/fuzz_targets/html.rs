//! Reads any text as a page: extracts fields, text and links, then classifies it as a response.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rungs::detect::{ResponseView, Rules};
use rungs::extract::Extractor;

static URL: LazyLock<url::Url> =
    LazyLock::new(|| rungs::parse_url("https://site.example/p/1").expect("a valid URL"));
static EXTRACTOR: LazyLock<Extractor> = LazyLock::new(|| {
    let fields =
        ["all[]=*", "html=body@html", "a[]=a[href]@href", "b[]=p ~ a, li:nth-child(2n+1), div:has(> b)"];
    fields
        .iter()
        .try_fold(Extractor::new().text(true).links(true), |extractor, field| extractor.field(field))
        .expect("valid fields")
});

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    // `\u{1}` stands for many attributes, so that a short input reaches the limit of a tag.
    let attributes: String = (0..300).map(|at| format!(" a{at}={at}")).collect();
    let page = text.replacen('\u{1}', &attributes, 16);
    let data = EXTRACTOR.extract(&page, &URL);
    let links = data.links.expect("links are extracted");
    assert!(links.len() <= 10_000 && links.iter().all(|link| link.starts_with("http")));
    assert!(data.text.expect("text is extracted").len() <= (1 << 20) + page.len());
    let mut headers = http::HeaderMap::new();
    headers.insert("content-type", http::HeaderValue::from_static("text/html"));
    let view = ResponseView {
        tier: None,
        status: 200,
        headers: &headers,
        url: &URL,
        requested: &URL,
        body: page.as_bytes(),
        complete: true,
        via_proxy: false,
    };
    let verdict = Rules::shipped().classify(&view);
    if let Some(cheap) = Rules::shipped().classify_cheap(&view) {
        assert_eq!(cheap, verdict, "both functions give the same verdict");
    }
});
