use proptest::prelude::*;

use super::*;

fn page_url() -> Url {
    "https://shop.example/dir/page?x=1".parse().unwrap()
}

fn fields(selects: &[&str], html: &str) -> Value {
    let extractor =
        selects.iter().try_fold(Extractor::new(), |extractor, select| extractor.field(select)).unwrap();
    Value::Object(extractor.extract(html, &page_url()).fields)
}

#[test]
fn a_field_is_the_first_match_or_with_brackets_all_matches() {
    let page = r#"<base href="/other/"><h1 class="t x">A <b>b</b>
        c</h1><h1>second</h1><a href=" ../q?a=b#f " id=l>q</a><img src="//cdn.example/i.png"><p data-k="&amp;v"></p>
        <script type="application/ld+json">{"a": 1}</script><a href="mailto:x@y">m</a>"#;
    for (select, expected) in [
        ("t=h1", serde_json::json!("A b c")),
        ("t[]=h1", serde_json::json!(["A b c", "second"])),
        ("t=h2", Value::Null),
        ("t[]=h2", serde_json::json!([])),
        ("t=h1@class", serde_json::json!("t x")),
        ("t=h1@id", Value::Null),
        ("t[]=h1@id", serde_json::json!([])),
        ("t=a@href", serde_json::json!("https://shop.example/q?a=b#f")),
        ("t=img@src", serde_json::json!("https://cdn.example/i.png")),
        ("t=p@data-k", serde_json::json!("&v")),
        ("t=#l@html", serde_json::json!("<a href=\" ../q?a=b#f \" id=\"l\">q</a>")),
        ("t=script", serde_json::json!("{\"a\": 1}")),
        ("t=[href*=\"x@y\"]", serde_json::json!("m")),
        ("t=[href*=\"x@y\"]@href", serde_json::json!("mailto:x@y")),
        ("t=h1, h2", serde_json::json!("A b c")),
    ] {
        assert_eq!(fields(&[select], page)["t"], expected, "{select}");
    }
}

#[test]
fn of_two_fields_with_the_same_name_the_last_one_applies_and_the_order_is_kept() {
    let extractor = Extractor::new().field("b=h1").unwrap().field("a=h1").unwrap().field("b[]=h2").unwrap();
    assert_eq!(extractor.field_names().collect::<Vec<_>>(), ["a", "b"]);
    let data = extractor.extract("<h1>1</h1><h2>2</h2>", &page_url());
    assert_eq!(Value::Object(data.fields), serde_json::json!({"a": "1", "b": ["2"]}));
}

#[test]
fn an_invalid_field_is_an_error_that_names_the_column() {
    for (text, message) in [
        ("title", "column 6: `=` is missing"),
        ("=h1", "column 1: a name must have 1"),
        ("a b=h1", "column 2: ` ` in a name"),
        ("title=", "column 7: the selector is missing"),
        ("title=h1[", "column 10: the selector `h1[` is incomplete"),
        ("title[]=a > > b@href", "column 13: `> b` is not a supported CSS selector"),
        ("title=@href", "column 7: the selector is missing"),
    ] {
        let error = Extractor::new().field(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.to_string().contains(message), "{text}: {error}");
    }
}

#[test]
fn a_field_that_is_too_large_is_cut_and_reported_as_truncated() {
    let page = ["<div>".repeat(20), "x".repeat(1 << 20)].concat();
    let data = Extractor::new().field("all[]=div").unwrap().extract(&page, &page_url());
    let size: usize = data.fields["all"].as_array().unwrap().iter().map(|v| v.as_str().unwrap().len()).sum();
    assert!(data.is_truncated && size <= MAX_FIELD_BYTES, "{size}");
}

#[test]
fn the_text_is_the_visible_text() {
    let page = "<title>t</title><style>p{}</style><h1>One</h1><p>two <b>three</b>,\n four</p><ul><li>a<li>b</ul>\
        <table><tr><td>1<td>2</table><p hidden>no</p><script>x()</script><p>a<br>b</p>";
    let data = Extractor::new().text(true).extract(page, &page_url());
    assert_eq!(data.text.unwrap(), "One\n\ntwo three, four\n\na\nb\n1\t2\n\na\nb");
}

#[test]
fn links_are_absolute_http_urls_without_duplicates() {
    let page = "<link rel='alternate canonical' href='/dir/page'><a href=a>1</a><a href='a#b'>2</a><a href=?y=2>3</a>\
        <a href='javascript:x()'>4</a><a href='mailto:a@b'>5</a><a>6</a><area href='//o.example:443/'><a href='http://'>7</a>\
        <a href='http://jane:hunter2@o.example/x'>8</a><link href=/style.css rel=stylesheet>";
    let data = Extractor::new().links(true).extract(page, &page_url());
    assert_eq!(
        data.links.unwrap(),
        [
            "https://shop.example/dir/a",
            "https://shop.example/dir/page?y=2",
            "https://o.example/",
            "http://o.example/x"
        ]
    );
    assert_eq!(data.canonical.as_deref(), Some("https://shop.example/dir/page"));
}

#[test]
fn a_header_may_contain_the_canonical_url() {
    let canonical = |lines: &[&str]| {
        let lines = lines.iter().map(|line| (http::header::LINK, line.parse().unwrap()));
        canonical_from_headers(&lines.collect(), &page_url()).map(String::from)
    };
    for (line, url) in [
        ("<https://shop.example/p>; rel=canonical", Some("https://shop.example/p")),
        (
            "</p?a=1,2;3#x>; title=\"a, \\\"b\\\"; rel=next\" ; REL = \"next Canonical\"",
            Some("https://shop.example/p?a=1,2;3"),
        ),
        ("</n>; rel=next, <p>;rel='x', <p>; rel=canonical", Some("https://shop.example/dir/p")),
        ("<http://jane:hunter2@shop.example/p>; rel=canonical", Some("http://shop.example/p")),
        ("</p>; rel=canonical; anchor=\"/other\"", None),
        ("</p>; rel=next; rel=canonical", None),
        ("<ftp://shop.example/p>; rel=canonical", None),
        ("/p; rel=canonical", None),
        ("<</p; rel=canonical", None),
        ("<p>; title=\"rel=canonical", None),
        ("", None),
    ] {
        assert_eq!(canonical(&[line]).as_deref(), url, "{line}");
    }
    assert_eq!(
        canonical(&["</a>; rel=next", "</b>; rel=canonical"]).as_deref(),
        Some("https://shop.example/b")
    );
    let long = format!("<{}>; rel=canonical", "x".repeat(100_000));
    assert_eq!(canonical(&[&long]), None);
}

#[test]
fn links_are_limited_in_number_and_length() {
    let many = (0..20_000).map(|at| format!("<a href=/{at}>")).collect::<Vec<_>>().concat();
    let long = format!("<a href=/{}>", "x".repeat(MAX_URL));
    let data = Extractor::new().links(true).extract(&[long, many].concat(), &page_url());
    let links = data.links.unwrap();
    assert_eq!((links.len(), links[0].as_str()), (10_000, "https://shop.example/0"));
}

#[test]
fn a_selector_selects_links_and_elements_that_contain_links() {
    let page = "<nav><a href=/1>1</a><p><a href=/2 rel='nofollow x'>2</a></p></nav><a class=next href=/3>3</a><a href=/4>4</a>";
    let document = Document::parse(page, &page_url(), UTF_8, false, None);
    let links = |css: &[&str]| -> Vec<String> {
        let css: Vec<CssSelector> = css.iter().map(|css| CssSelector::parse(css).unwrap()).collect();
        let anchors = document.anchors_within(&css, 1 << 20, &mut vec![SelectorUse::default(); css.len()]);
        anchors
            .iter()
            .map(|anchor| format!("{}{}", anchor.url.path(), if anchor.nofollow { "!" } else { "" }))
            .collect()
    };
    assert_eq!(links(&["a.next"]), ["/3"]);
    assert_eq!(links(&["nav", "a.next"]), ["/1", "/2!", "/3"]);
    assert_eq!(links(&["a", "nav"]), ["/1", "/2!", "/3", "/4"]);
    assert!(!document.is_nofollow());
}

#[test]
fn robots_directives_are_parsed() {
    for (content, expected) in [
        ("nofollow", true),
        ("noindex, NoFollow", true),
        ("none", true),
        ("noindex", false),
        ("", false),
        ("otherbot: nofollow", false),
        ("rungs: nofollow", true),
    ] {
        assert_eq!(has_nofollow(content), expected, "{content}");
    }
    let page = |name: &str| {
        Document::parse(
            &format!("<meta name={name} content='noindex,nofollow'>"),
            &page_url(),
            UTF_8,
            false,
            None,
        )
    };
    assert!(page("Robots").is_nofollow() && page("rungs").is_nofollow() && !page("googlebot").is_nofollow());
}

#[test]
fn a_page_that_is_not_html_has_no_fields() {
    let extractor = Extractor::new().field("a=h1").unwrap().field("b[]=h1").unwrap();
    assert_eq!(Value::Object(extractor.extract_nothing().fields), serde_json::json!({"a": null, "b": []}));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_page_makes_it_panic(html in "(<[a-z/!]{0,8}[ a-z=\"'#/]{0,12}>|[ -~é\u{0}\n]{0,9}|<!--|</p>|<table>|&[a-z]{0,4};?){0,40}", select in "[ -~é]{0,24}") {
        let extractor = Extractor::new().text(true).links(true).field("x[]=a, p, td@href").unwrap().field("h=*@html").unwrap();
        let data = extractor.extract(&html, &page_url());
        prop_assert!(data.links.unwrap().iter().all(|link| link.starts_with("http")));
        if let Err(error) = Extractor::new().field(&select) {
            prop_assert!(error.to_string().contains("column "), "{error}");
        }
    }
}
