use http::{HeaderValue, header};

use super::*;

fn headers(content_type: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in content_type {
        headers.append(header::CONTENT_TYPE, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn url() -> Url {
    "http://a.test/".parse().unwrap()
}

fn text(content_type: &str, bytes: &[u8]) -> Option<String> {
    let values = [content_type];
    decode(&headers(&values[usize::from(content_type.is_empty())..]), &url(), bytes)
}

/// The name of the declared encoding, as Chromium's `document.characterSet`; of the bytes alone, none can be guessed.
fn declared(content_type: &[&str], bytes: &[u8]) -> Option<&'static str> {
    let content_type = ContentType::from_headers(&headers(content_type));
    declaration(&content_type, TextKind::new(&content_type, bytes), bytes).map(Encoding::name)
}

#[test]
fn mark_beats_header_beats_meta_beats_declaration() {
    let latin = b"<meta charset='windows-1252'>caf\xe9";
    assert!(text("", latin).unwrap().ends_with("café"));
    assert!(text("text/html; charset=ISO-8859-1", b"caf\xe9").unwrap().ends_with("café"));
    assert!(text("text/html; Charset=\"shift_jis\"", b"\x83e").unwrap().ends_with("テ"));
    assert_eq!(text("text/html; charset=iso-8859-1", b"\xef\xbb\xbfcaf\xc3\xa9").unwrap(), "café");
    let http_equiv = b"<meta http-equiv=content-type content=\"text/html; charset=koi8-r\">\xc1";
    assert!(text("", http_equiv).unwrap().ends_with('а'));
    assert!(text("", b"<?xml version=\"1.0\" encoding=\"iso-8859-2\"?>\xb1").unwrap().ends_with('ą'));
    let both = b"<?xml encoding='macintosh'?><meta charset=koi8-r>";
    assert_eq!(declared(&["text/html"], both), Some("KOI8-R"));
    assert_eq!(declared(&["text/xml"], both), Some("macintosh"));
    assert_eq!(declared(&["application/xhtml+xml"], b"<html><meta charset=koi8-r>"), None);
    assert_eq!(declared(&["text/css"], b"@charset \"koi8-r\"; a{}"), Some("KOI8-R"));
}

/// What Chromium 156 takes of a Content-Type.
#[test]
fn the_charset_of_content_type_is_chromiums() {
    for (values, name) in [
        (&["text/html; charset=\"macintosh\" /"][..], Some("macintosh")),
        (&["TEXT/HTML;\tCHARSET=MACINTOSH"], Some("macintosh")),
        (&["text/html; charset=\"macintosh"], Some("macintosh")),
        (&["text/html; charset=\"macin\\tosh\""], Some("macintosh")),
        (&["text/html; x=\"; charset=koi8-r\"; charset=macintosh"], Some("macintosh")),
        (&["text/html; charset=macintosh; charset=koi8-r"], Some("macintosh")),
        (&["text/html; charset=; charset=macintosh"], Some("macintosh")),
        (&["text/html;;charset=macintosh"], Some("macintosh")),
        (&["text/html; charset=macintosh, text/html"], Some("macintosh")),
        (&["text/html, text/html; charset=macintosh"], Some("macintosh")),
        (&["text/plain; charset=koi8-r, text/html; charset=macintosh"], Some("macintosh")),
        (&["text/html; charset=koi8-r", "text/html; charset=macintosh"], Some("macintosh")),
        (&["text/html; charset=macintosh", "text/html"], Some("macintosh")),
        (&["text/plain; charset=macintosh", "text/html"], None),
        (&["text/html; charset='macintosh'"], None),
        (&["text/html; charset=none-such; charset=macintosh"], None),
        (&["text/html; charset = macintosh"], None),
        (&["text/html; charset=macintosh foo"], None),
        (&["text/html charset=macintosh"], None),
        (&["text/html,charset=macintosh"], None),
        (&["text/html; xcharset=macintosh"], None),
        (&["text/html; charset:macintosh"], None),
        (&["text/html; charset=macintosh(x)"], None),
        (&["charset=macintosh"], None),
        (&["text/html; charset="], None),
        (&[], None),
    ] {
        assert_eq!(declared(values, b"x"), name, "{values:?}");
    }
    assert_eq!(essence(&headers(&[" Text/HTML ;a=b"])), "text/html");
}

/// What Chromium 156 takes of a page.
#[test]
fn the_meta_element_is_chromiums() {
    let far = "x ".repeat(600);
    let comment = format!("<!--{far}-->");
    for (page, name) in [
        ("<meta charset=macintosh>", Some("macintosh")),
        ("<META CHARSET = \"  Macintosh \">", Some("macintosh")),
        ("<meta/charset=macintosh />", Some("macintosh")),
        ("<meta charset=macintosh><meta charset=koi8-r>", Some("macintosh")),
        ("<meta charset=none-such><meta charset=macintosh>", Some("macintosh")),
        ("<meta charset=koi8-r charset=macintosh>", Some("macintosh")),
        ("<meta charset=utf-16>", Some("UTF-8")),
        ("<meta charset=x-user-defined>", Some("windows-1252")),
        ("<meta charset=macintosh http-equiv=content-type content='charset=koi8-r'>", Some("macintosh")),
        ("<meta content='text/html; charset = macintosh x' http-equiv=Content-Type>", Some("macintosh")),
        (
            "<meta http-equiv=x http-equiv=content-type content='charset charset=\"macintosh\"'>",
            Some("macintosh"),
        ),
        ("<meta charset='' http-equiv=content-type content='charset=macintosh'>", None),
        ("<meta content='text/html; charset=macintosh'>", None),
        ("<meta http-equiv=' content-type' content='charset=macintosh'>", None),
        ("<meta http-equiv=content-type content='charset=macintosh,x'>", None),
        (
            "<meta name=description content='set charset=iso-8859-1'><meta charset=macintosh>",
            Some("macintosh"),
        ),
        ("</meta charset=macintosh>", None),
        ("<metacharset=macintosh>", None),
        ("<meta charset=macintosh", None),
        ("<!-- <meta charset=koi8-r> --><meta charset=macintosh>", Some("macintosh")),
        ("<!--><meta charset=macintosh>-->", Some("macintosh")),
        ("<!---><meta charset=macintosh>-->", Some("macintosh")),
        ("<!-- --!><meta charset=macintosh>-->", Some("macintosh")),
        ("<!-- - ---><meta charset=macintosh>-->", Some("macintosh")),
        ("<?php <meta charset=koi8-r> ?><meta charset=macintosh>", Some("macintosh")),
        ("<script>'<meta charset=koi8-r>'</script ><meta charset=macintosh>", Some("macintosh")),
        (
            "<script><!-- <script> </script> <meta charset=koi8-r> </script><meta charset=macintosh>",
            Some("macintosh"),
        ),
        ("<script><!--> <script> </script> <meta charset=macintosh>", Some("macintosh")),
        ("<title><meta charset=koi8-r></title><meta charset=macintosh>", Some("macintosh")),
        ("<noscript><meta charset=macintosh></noscript>", Some("macintosh")),
        ("<template><meta charset=macintosh></template>", Some("macintosh")),
        // Chromium guesses here.
        ("<script>document.write('<meta charset=macintosh>')</script>", Some("macintosh")),
        ("<a title='<meta charset=koi8-r>'><meta charset=macintosh>", Some("macintosh")),
        ("<body><p>x<meta charset=macintosh>", Some("macintosh")),
        (&format!("<html><head><object></object><base>{comment}<meta charset=macintosh>"), Some("macintosh")),
        (&format!("<script>{}</script><meta charset=macintosh>", "x".repeat(600_000)), Some("macintosh")),
        (&format!("{far}<meta charset=macintosh>"), Some("macintosh")),
        (&format!("<head></head>{comment}<meta charset=macintosh>"), None),
        (&format!("<body>{comment}<meta charset=macintosh>"), None),
        (&format!("<template></template>{comment}<meta charset=macintosh>"), None),
        ("<?xml version='1.0' encoding = 'macintosh' ?><p>", Some("macintosh")),
        ("<?xmlencoding=\"macintosh\"><p>", Some("macintosh")),
        (" <?xml encoding='macintosh'?><p>", None),
        ("<?XML encoding='macintosh'?><p>", None),
        ("<?xml encoding=macintosh?><p>", None),
        ("<?xml encoding='none-such'?><meta charset=macintosh>", Some("macintosh")),
        ("<?xml encoding='utf-16'?><p>", Some("UTF-8")),
        ("<\0?\0x\0m\0l\0", Some("UTF-16LE")),
    ] {
        assert_eq!(declared(&["text/html"], page.as_bytes()), name, "{}", &page[..page.len().min(120)]);
    }
}

#[test]
fn undeclared_text_is_guessed() {
    for (kind, bytes, expected) in [
        ("text/html", &b"caf\xe9 \xe0 la cr\xe8me"[..], "café à la crème"),
        ("text/plain", b"caf\xe9 \xe0 la cr\xe8me", "café à la crème"),
        ("", b"<p>caf\xe9 \xe0 la cr\xe8me", "<p>café à la crème"),
        ("text/html", "déjà vu".as_bytes(), "déjà vu"),
        ("text/html", &"déjà vu €".as_bytes()[..11], "déjà vu \u{fffd}"),
        ("application/json", b"{\"a\":\"caf\xe9\"}", "{\"a\":\"caf\u{fffd}\"}"),
        ("application/rss+xml", "<a>é</a>".as_bytes(), "<a>é</a>"),
    ] {
        assert_eq!(text(kind, bytes).as_deref(), Some(expected), "{kind}");
    }
    for encoding in [encoding_rs::SHIFT_JIS, encoding_rs::EUC_JP, encoding_rs::ISO_2022_JP] {
        let page = "日本語テストのページです。これは長い文章です。";
        assert_eq!(text("text/html", &encoding.encode(page).0).as_deref(), Some(page), "{}", encoding.name());
    }
    for (encoding, page) in [
        (encoding_rs::GBK, "网站地图是一个中文网页的测试"),
        (encoding_rs::BIG5, "這是一個繁體中文的測試網頁"),
        (encoding_rs::EUC_KR, "안녕하세요 이것은 시험 페이지입니다"),
        (encoding_rs::WINDOWS_1251, "Здравствуйте, это страница на русском языке"),
    ] {
        assert_eq!(text("text/html", &encoding.encode(page).0).as_deref(), Some(page), "{}", encoding.name());
    }
    for host in ["http://a.jp/", "http://192.0.2.1/", "http://[::1]/", "http://a.xn--p1ai./", "http://a.b_c/"]
    {
        assert!(decode(&headers(&["text/html"]), &host.parse().unwrap(), b"caf\xe9").is_some(), "{host}");
    }
}

#[test]
fn odd_bytes_of_a_text_are_replaced_and_binary_data_is_not_text() {
    assert_eq!(
        text("text/html; charset=utf-8", b"a \x92 d\xc3\xa9j\xc3\xa0").as_deref(),
        Some("a \u{fffd} déjà")
    );
    assert_eq!(text("text/plain; charset=utf-8", b"a\0 long text with one NUL and \xff").unwrap().len(), 33);
    assert_eq!(text("application/json", b"{\xff}").as_deref(), Some("{\u{fffd}}"));
    let noise: Vec<u8> = (0..=255).cycle().take(2000).collect();
    for (kind, bytes) in [
        ("application/octet-stream", &b"\xff\xfe\xfd"[2..]),
        ("image/png", b"\x89PNG\r\n\x1a\n\0\0"),
        ("text/html", b"\x89PNG\r\n\x1a\n\0\0"),
        ("text/plain", &noise),
        ("text/html; charset=utf-8", &noise),
        ("", &noise),
    ] {
        assert_eq!(text(kind, bytes), None, "{kind}");
    }
    assert_eq!(text("application/octet-stream", "é".as_bytes()).as_deref(), Some("é"));
}

#[test]
fn a_query_is_encoded_with_references_for_what_the_encoding_lacks() {
    let encode = |encoding, text| encode_query(encoding, text).into_owned();
    assert_eq!(encode(encoding_rs::GBK, "q=中文"), b"q=\xd6\xd0\xce\xc4");
    assert_eq!(encode(WINDOWS_1252, "é中é"), b"\xe9%26%2320013%3B\xe9");
    assert_eq!(encode(encoding_rs::UTF_16LE, "é"), "é".as_bytes());
    assert_eq!(encode(encoding_rs::ISO_2022_JP, "日"), b"\x1b$BF|\x1b(B");
    let long = "中".repeat(10_000);
    assert_eq!(encode(WINDOWS_1252, &long).len(), 10_000 * "%26%2320013%3B".len());
}

proptest::proptest! {
    #[test]
    fn no_page_causes_a_panic(
        kind in "(text/(html|xml|css|plain)|x)[ -~]{0,30}",
        parts in proptest::collection::vec(proptest::sample::select(&PARTS[..]), 0..20),
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..20),
    ) {
        let page = [&parts.concat().into_bytes()[..], &bytes].concat();
        let headers = headers(&[&kind]);
        let _ = decode(&headers, &url(), &page);
        let _ = encoding(&headers, &url(), &page);
    }
}

/// Parts of pages whose combinations reach the states of the scanner.
const PARTS: [&str; 24] = [
    "<",
    ">",
    "/",
    "!",
    "--",
    "-",
    "<!--",
    "-->",
    "<script",
    "</script",
    "<meta ",
    "charset",
    "=",
    "'",
    "\"",
    " ",
    "content",
    "http-equiv=content-type ",
    "<?xml",
    "encoding",
    "@charset \"",
    "\";",
    "\0",
    "é",
];

/// The encoding tests of html5lib, run by `tests/suites/html5lib.sh`.
#[test]
#[ignore = "needs a checkout of html5lib-tests; run tests/suites/html5lib.sh"]
fn html5lib_encoding_tests() {
    let folder = std::env::var_os("HTML5LIB_TESTS").expect("HTML5LIB_TESTS is the path of a checkout");
    let folder = std::path::Path::new(&folder).join("encoding");
    let (mut passed, mut failed) = (0, Vec::new());
    for file in ["tests1.dat", "tests2.dat", "test-yahoo-jp.dat"] {
        let bytes = std::fs::read(folder.join(file)).expect("a file of the suite");
        let mut rest = &bytes[..];
        while let Some(start) = memchr::memmem::find(rest, b"#data\n") {
            rest = &rest[start + 6..];
            let middle = memchr::memmem::find(rest, b"\n#encoding\n").expect("each test names an encoding");
            let (page, after) = (&rest[..middle], &rest[middle + 11..]);
            let label = after.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let expected = Encoding::for_label(label).expect("a known encoding").name();
            let found = declared(&["text/html"], page).unwrap_or(WINDOWS_1252.name());
            if found == expected {
                passed += 1;
            } else {
                failed.push(format!(
                    "{file}: {found}, expected {expected}:\n{}",
                    String::from_utf8_lossy(page)
                ));
            }
            rest = after;
        }
    }
    println!("{passed} of {} pass", passed + failed.len());
    assert!(failed.is_empty() && passed > 0, "{}", failed.join("\n\n"));
}
