#![expect(clippy::format_collect, reason = "pages are built once")]

use std::time::Duration;

use proptest::prelude::*;

use super::tags::MAX_ATTRIBUTES;
use super::*;

const LIMITS: ParseLimits = ParseLimits { nodes: 400_000, depth: 512 };

fn parse_page(text: &str) -> (Html, bool) {
    parse(text, LIMITS, &WorkLimit::start(Duration::from_secs(60), None))
}

/// Parses a page at once, without limits.
fn parse_whole(text: &str) -> Html {
    let parser = Parser::new(LIMITS, true);
    parser.input.push_back(StrTendril::from(text));
    parser.finish()
}

/// Checks that each node is the parent of its children.
fn assert_consistent(html: &Html) {
    for node in html.tree.nodes() {
        for child in node.children() {
            assert_eq!(child.parent().map(|parent| parent.id()), Some(node.id()), "{:?}", child.value());
        }
    }
}

/// The number of attributes of each element with this name.
fn attributes(html: &Html, name: &str) -> Vec<usize> {
    let elements = html.tree.nodes().filter_map(|node| node.value().as_element());
    elements.filter(|element| element.name() == name).map(|element| element.attrs().count()).collect()
}

/// ` a0=0 a1=1 …`
fn many(count: usize) -> String {
    (0..count).map(|at| format!(" a{at}={at}")).collect()
}

#[test]
fn a_tag_keeps_its_first_attributes_and_the_page_goes_on() {
    for (count, is_cut) in [(MAX_ATTRIBUTES, false), (MAX_ATTRIBUTES + 1, true), (100_000, true)] {
        for end in [">", "/>", " >", " / >", " last='>'>", "\u{c}x=\">\"/>"] {
            let page = format!("<p id=p>one</p><a{}{end}two</a><b class=x>three</b>", many(count));
            let (html, was_cut) = parse_page(&page);
            assert_eq!(was_cut, is_cut || end.contains('x') || end.contains("last"), "{count} {end}");
            assert_eq!(attributes(&html, "a"), [MAX_ATTRIBUTES], "{count} {end}");
            assert_eq!(attributes(&html, "b"), [1], "{count} {end}");
            assert_eq!(html.root_element().text().collect::<String>(), "onetwothree", "{count} {end}");
        }
    }
}

#[test]
fn a_page_goes_on_after_each_meta_that_names_an_encoding() {
    const HTTP_EQUIV: &str = "<meta http-equiv=content-type content='text/html; charset=utf-8'>";
    for meta in ["<meta charset=utf-8>", "<meta charset=none-such>", HTTP_EQUIV] {
        for count in 0..5 {
            let page = format!("{}<p id=p>text</p>", meta.repeat(count));
            let (html, is_cut) = parse_page(&page);
            assert!(!is_cut);
            assert_eq!(html.root_element().text().collect::<String>(), "text", "{count} times {meta}");
            assert_eq!(attributes(&html, "p"), [1], "{count} times {meta}");
        }
    }
}

#[test]
fn misnested_tags_keep_the_tree_consistent() {
    // The page that a fuzzer found: a walk over `b` left it.
    let (html, _) = parse_page("<b hidden><code><h1>k<p><p></code>");
    assert_consistent(&html);
    for node in html.tree.nodes() {
        let mut depth = 0_usize;
        for edge in node.traverse() {
            match edge {
                ego_tree::iter::Edge::Open(_) => depth += 1,
                ego_tree::iter::Edge::Close(_) => depth = depth.checked_sub(1).expect("it was opened"),
            }
        }
        assert_eq!(depth, 0);
    }
    let open: String = (0..400).map(|at| format!("<b a={at}>")).collect();
    let page = format!("{open}<div>{}{}", "<i></i>".repeat(50_000), "</b>".repeat(400));
    assert_consistent(&parse_page(&page).0);
}

#[test]
fn a_tag_without_an_end_is_left_out() {
    for page in [format!("<p>one</p><a{}", many(1000)), format!("<p>one</p><a{} b='", many(1000))] {
        let (html, is_cut) = parse_page(&page);
        assert!(is_cut && html.root_element().text().collect::<String>() == "one");
        assert!(attributes(&html, "a").is_empty());
    }
}

#[test]
fn attributes_are_counted_only_in_tags() {
    let many = many(1000);
    for page in [
        format!("<!-- <a{many} --><p>x"),
        "<!--><p>x</p><!---><p>y</p><!-- a --!><p>z".to_owned(),
        format!("<script>if (i<a{many}) {{}}</script><p>x"),
        format!("<SCRIPT>i<a{many}</Script ><p>x"),
        format!("<style>i<a{many}</style><textarea><a{many}></textarea><title><a{many}</title>"),
        format!("<xmp><a{many}></xmp><noscript><a{many}></noscript><iframe><a{many}></iframe>"),
        format!("<p title='<a{many}>'>x</p><p title=\"<a{many}>\">"),
        format!("<script><!-- <script> i<a{many} </script> --></script><p>x"),
        format!("<script>i<a{many}"),
        format!("<plaintext><a{many}>"),
        format!("1 < 2 <3 <=a{many}>"),
        format!("<!doctype html{many}><?xml{many}></ {many}><p>x"),
    ] {
        assert!(!parse_page(&page).1, "{}", &page[..60.min(page.len())]);
    }
    for page in [
        // In SVG, style and title are ordinary elements.
        format!("<svg><style><a{many}>"),
        format!("<svg><title><a{many}>"),
        format!("<!--><a{many}>"),
        format!("<!---><a{many}>"),
        format!("<!-- --!><a{many}>"),
        format!("<script></script><a{many}>"),
        format!("<script></scripts></script><a{many}>"),
        format!("<p></p{many}>"),
        format!("<title>x</title{many}>"),
        format!("<script{many}>x</script>"),
        format!("<script{many}>x</script><a{many}>"),
        format!("<a b=c/{many}>"),
        format!("<a b='c'd=\"e\"f{many}>"),
        format!("<a ={many}>"),
        format!("<a/{many}>"),
        format!("<a\n{many}>"),
        format!("</ ><a{many}>"),
        format!("<a{}>", "/b".repeat(1000)),
        format!("<a{}>", " =b".repeat(1000)),
        format!("<a{}>", " b=''".repeat(1000)),
    ] {
        assert!(parse_page(&page).1, "{}", &page[..60.min(page.len())]);
    }
}

#[test]
fn a_page_within_the_limits_has_the_same_tree_as_without_them() {
    for page in [
        "<!doctype html><html lang=en><head><title>a &amp; b</title><script>a<b</script></head><body class='x y'>\
            <p>1<p>2<table><tr><td>3</table><svg><title>t</title><style>s</style></svg><br/>é\r\n<textarea>\n<b></textarea>",
        "<script><!-- <script> </script> --></script><p>x",
        "<plaintext><p></plaintext>",
        "<a<b>c<>d</>e</ f>g<!h>i",
    ] {
        let (html, is_cut) = parse_page(page);
        assert_eq!(html.html(), parse_whole(page).html());
        assert!(!is_cut);
    }
}

#[test]
fn different_names_are_limited() {
    let tags = |count: usize, tag: &dyn Fn(usize) -> String| (0..count).map(tag).collect::<String>();
    let kinds: [(&str, &dyn Fn(usize) -> String); 3] = [
        ("attributes", &|at| format!("<p attribute{at}>x</p>")),
        ("classes", &|at| format!("<p class='a classname{at} b'>x</p>")),
        ("tags", &|at| format!("<element{at}>x</element{at}>")),
    ];
    for (name, tag) in kinds {
        let (html, is_cut) = parse_page(&tags(names::MAX_NAMES, tag));
        assert!(!is_cut && html.tree.nodes().len() > names::MAX_NAMES, "{name}");
        let (html, is_cut) = parse_page(&tags(3 * names::MAX_NAMES, tag));
        assert!(is_cut && html.tree.nodes().len() < 3 * names::MAX_NAMES, "{name}");
    }
    // The same names again are not more names.
    assert!(!parse_page(&"<p data-something=1 class='classname-one classname-two'>x</p>".repeat(30_000)).1);
    let classes: String = (0..1_000_000).map(|at| format!("class{at} ")).collect();
    let (html, is_cut) = parse_page(&format!("<p class='é{classes}'>x</p><b>y"));
    assert!(is_cut && html.root_element().text().collect::<String>() == "xy");
    let class = scraper::Selector::parse(".class999999, .class7").unwrap();
    assert_eq!(html.select(&class).count(), 1);
}

/// How the number of pieces and the nodes grow when a page of this kind doubles in size.
#[test]
fn hostile_pages_grow_linearly_or_are_cut() {
    for (open, unit, close) in KINDS {
        let size = |count: usize| {
            let page = [open, &unit.repeat(count), close].concat();
            let (html, is_cut) = parse_page(&page);
            (html.tree.nodes().len(), is_cut)
        };
        let (small, large) = (size(2_000), size(4_000));
        assert!(large.1 || large.0 <= 2 * small.0 + 20, "{open}{unit}: {small:?} {large:?}");
        assert!(large.0 <= LIMITS.nodes * 2, "{open}{unit}: {large:?}");
    }
}

/// Prints the time for a page of each kind against its size. Run it with `--ignored --nocapture` in release mode.
#[test]
#[ignore = "measures times"]
fn time_against_size() {
    for (open, unit, close) in KINDS {
        let times: Vec<f64> = [1 << 20, 2 << 20, 4 << 20, 8 << 20]
            .into_iter()
            .map(|size: usize| {
                let page = [open, &unit.repeat(size / unit.len()), close].concat();
                let start = std::time::Instant::now();
                let (html, is_cut) = parse_page(&page);
                let took = start.elapsed().as_secs_f64() * 1000.0;
                drop(html);
                if is_cut { -took } else { took }
            })
            .collect();
        println!("{:<40} {times:9.1?}", format!("{open}{unit}"));
    }
    let distinct: String = (0..900_000).map(|at| format!(" a{at}")).collect();
    let start = std::time::Instant::now();
    let (_, is_cut) = parse_page(&format!("<a{distinct}>"));
    println!("one tag of 900,000 attributes: {:?}, cut {is_cut}", start.elapsed());
    let tags: String = (0..7_000)
        .map(|tag| (0..127).map(|at| format!(" a{tag}x{at}y")).collect::<String>())
        .map(|attributes| format!("<p{attributes}>"))
        .collect();
    let start = std::time::Instant::now();
    let (_, is_cut) = parse_page(&tags);
    println!("tags of 127 new attributes: {} bytes, {:?}, cut {is_cut}", tags.len(), start.elapsed());
}

/// Pages that repeat one unit: opening text, unit, closing text.
const KINDS: [(&str, &str, &str); 36] = [
    ("", "<div>", ""),
    ("", "<a>", ""),
    ("", "<b>", ""),
    ("", "<p>", ""),
    ("", "<li><a href=/x>one <b>two</b></a></li>", ""),
    ("<table>", "<div>", ""),
    ("<table>", "x<tr>", ""),
    ("<table>", "<td>x", ""),
    ("", "<table>", ""),
    ("<select>", "<option>x", ""),
    ("<select>", "<select>", ""),
    ("", "&amp;", ""),
    ("", "&", ""),
    ("", "&#x", ""),
    ("", "&CounterClockwiseContourIntegra", ""),
    ("<!--", "-", ""),
    ("<!--", "<!--", ""),
    ("<a ", "b ", ""),
    ("<a ", "b=c ", ">"),
    ("<a ", "b='c' ", ">"),
    ("<a b='", "c", ""),
    ("", "<a b='", ""),
    ("", "<", ""),
    ("", "</", ""),
    ("", "</p>", ""),
    ("", "</x>", ""),
    ("<script>", "</", ""),
    ("<script>", "</script", ""),
    ("<script>", "<!--<script>", ""),
    ("", "<script></script>", ""),
    ("", "<title>", ""),
    ("", "<meta name=x content=y>", ""),
    ("<p><i a=1><i a=2><i a=3><i a=4>", "</p><p>x", ""),
    ("", "<a><b></a></b>", ""),
    ("", "<svg><g></svg>", ""),
    ("", "<template>", ""),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_tree_of_any_page_is_that_of_the_parser(
        page in "(<[/!]?(a|b|p|h1|code|svg|script|style|title|textarea|table|td|!--|-->)[ /]{0,2}([a-c]{1,2}(=| = )?['\"]?[a-c>]{0,2}['\"]?[ /]{0,1}){0,3}>?|[ -~é\u{0}\n]{0,6}|<!--|-->|--!>|&[a-z]{0,4};?){0,24}"
    ) {
        let (html, is_cut) = parse_page(&page);
        prop_assert!(!is_cut);
        assert_consistent(&html);
        prop_assert_eq!(html.html(), parse_whole(&page).html());
    }

    #[test]
    fn no_element_has_more_attributes(page in "(<(a|svg|style|script|title|/p|!--)([ /=][a-c'\"<>!-]{0,3}){0,2}|[a-z'\"]{0,3}|#){0,12}") {
        let page = page.replace('#', &many(300));
        let (html, _) = parse_page(&page);
        let most = html.tree.nodes().filter_map(|node| node.value().as_element()).map(|element| element.attrs().count()).max();
        // Attributes of a second `html` or `body` tag are added to the first.
        prop_assert!(most.unwrap_or(0) <= MAX_ATTRIBUTES);
    }
}
