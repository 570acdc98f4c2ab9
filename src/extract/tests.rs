use proptest::prelude::*;

use super::*;

fn at() -> Url {
    "https://shop.example/dir/page?x=1".parse().unwrap()
}

fn fields(selects: &[&str], html: &str) -> Value {
    let wanted = selects.iter().try_fold(Extractor::new(), |extract, select| extract.field(select)).unwrap();
    Value::Object(wanted.extract(html, &at()).fields)
}

#[test]
fn a_field_is_the_first_match_and_with_brackets_all_of_them() {
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
fn of_two_fields_with_one_name_the_last_counts_and_the_order_is_kept() {
    let wanted = Extractor::new().field("b=h1").unwrap().field("a=h1").unwrap().field("b[]=h2").unwrap();
    assert_eq!(wanted.field_names().collect::<Vec<_>>(), ["a", "b"]);
    let read = wanted.extract("<h1>1</h1><h2>2</h2>", &at());
    assert_eq!(Value::Object(read.fields), serde_json::json!({"a": "1", "b": ["2"]}));
}

#[test]
fn an_invalid_field_is_an_error_that_names_the_column() {
    for (text, told) in [
        ("title", "column 6: `=` is missing"),
        ("=h1", "column 1: a name is of 1"),
        ("a b=h1", "column 2: ` ` in a name"),
        ("title=", "column 7: a selector is missing"),
        ("title=h1[", "column 10: the selector `h1[` ends too early"),
        ("title[]=a > > b@href", "column 13: `> b` is no CSS selector"),
        ("title=@href", "column 7: a selector is missing"),
    ] {
        let error = Extractor::new().field(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.to_string().contains(told), "{text}: {error}");
    }
}

#[test]
fn a_field_that_is_too_large_is_cut_and_said_to_be() {
    let page = ["<div>".repeat(20), "x".repeat(1 << 20)].concat();
    let read = Extractor::new().field("all[]=div").unwrap().extract(&page, &at());
    let size: usize = read.fields["all"].as_array().unwrap().iter().map(|v| v.as_str().unwrap().len()).sum();
    assert!(read.is_truncated && size <= MAX_FIELD_BYTES, "{size}");
}

#[test]
fn the_text_is_what_a_reader_sees() {
    let page = "<title>t</title><style>p{}</style><h1>One</h1><p>two <b>three</b>,\n four</p><ul><li>a<li>b</ul>\
        <table><tr><td>1<td>2</table><p hidden>no</p><script>x()</script><p>a<br>b</p>";
    let read = Extractor::new().text(true).extract(page, &at());
    assert_eq!(read.text.unwrap(), "One\ntwo three, four\na\nb\n1 2\na\nb");
}

#[test]
fn links_are_absolute_of_the_web_and_each_there_once() {
    let page = "<link rel='alternate canonical' href='/dir/page'><a href=a>1</a><a href='a#b'>2</a><a href=?y=2>3</a>\
        <a href='javascript:x()'>4</a><a href='mailto:a@b'>5</a><a>6</a><area href='//o.example:443/'><a href='http://'>7</a>\
        <a href='http://jane:hunter2@o.example/x'>8</a><link href=/style.css rel=stylesheet>";
    let read = Extractor::new().links(true).extract(page, &at());
    assert_eq!(
        read.links.unwrap(),
        [
            "https://shop.example/dir/a",
            "https://shop.example/dir/page?y=2",
            "https://o.example/",
            "http://o.example/x"
        ]
    );
    assert_eq!(read.canonical.as_deref(), Some("https://shop.example/dir/page"));
}

#[test]
fn a_header_names_the_canonical_url_too() {
    let said = |lines: &[&str]| {
        let lines = lines.iter().map(|line| (http::header::LINK, line.parse().unwrap()));
        canonical_from_headers(&lines.collect(), &at()).map(String::from)
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
        assert_eq!(said(&[line]).as_deref(), url, "{line}");
    }
    assert_eq!(said(&["</a>; rel=next", "</b>; rel=canonical"]).as_deref(), Some("https://shop.example/b"));
    let long = format!("<{}>; rel=canonical", "x".repeat(100_000));
    assert_eq!(said(&[&long]), None);
}

#[test]
fn links_are_bounded_in_number_and_length() {
    let many = (0..20_000).map(|at| format!("<a href=/{at}>")).collect::<Vec<_>>().concat();
    let long = format!("<a href=/{}>", "x".repeat(MAX_URL));
    let read = Extractor::new().links(true).extract(&[long, many].concat(), &at());
    let links = read.links.unwrap();
    assert_eq!((links.len(), links[0].as_str()), (10_000, "https://shop.example/0"));
}

#[test]
fn a_selector_of_links_takes_links_and_what_links_are_in() {
    let page = "<nav><a href=/1>1</a><p><a href=/2 rel='nofollow x'>2</a></p></nav><a class=next href=/3>3</a><a href=/4>4</a>";
    let document = Document::parse(page, &at());
    let found = |css: &[&str]| -> Vec<String> {
        let css: Vec<CssSelector> = css.iter().map(|css| CssSelector::parse(css).unwrap()).collect();
        let anchors = document.anchors(Some(&css), 1 << 20);
        anchors
            .iter()
            .map(|anchor| format!("{}{}", anchor.url.path(), if anchor.nofollow { "!" } else { "" }))
            .collect()
    };
    assert_eq!(found(&["a.next"]), ["/3"]);
    assert_eq!(found(&["nav", "a.next"]), ["/1", "/2!", "/3"]);
    assert_eq!(found(&["a", "nav"]), ["/1", "/2!", "/3", "/4"]);
    assert!(!document.is_nofollow());
}

#[test]
fn robots_directives_are_read_as_they_are_written() {
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
    let page = |name: &str| Document::parse(&format!("<meta name={name} content='noindex,nofollow'>"), &at());
    assert!(page("Robots").is_nofollow() && page("rungs").is_nofollow() && !page("googlebot").is_nofollow());
}

#[test]
fn a_page_that_is_no_html_has_no_fields() {
    let wanted = Extractor::new().field("a=h1").unwrap().field("b[]=h1").unwrap();
    assert_eq!(Value::Object(wanted.extract_nothing().fields), serde_json::json!({"a": null, "b": []}));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_page_makes_it_panic(html in "(<[a-z/!]{0,8}[ a-z=\"'#/]{0,12}>|[ -~é\u{0}\n]{0,9}|<!--|</p>|<table>|&[a-z]{0,4};?){0,40}", select in "[ -~é]{0,24}") {
        let wanted = Extractor::new().text(true).links(true).field("x[]=a, p, td@href").unwrap().field("h=*@html").unwrap();
        let read = wanted.extract(&html, &at());
        prop_assert!(read.links.unwrap().iter().all(|link| link.starts_with("http")));
        if let Err(error) = Extractor::new().field(&select) {
            prop_assert!(error.to_string().contains("column "), "{error}");
        }
    }
}
