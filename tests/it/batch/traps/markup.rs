//! Traps in the markup around links.

use super::TrapCase;

pub(super) fn cases() -> Vec<TrapCase> {
    [
        hidden(),
        shown(),
        other_elements(),
        attributes(),
        relations(),
        robots(),
        canonicals(),
        canonical_lists(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A page with this body, from which these targets are requested.
fn page(name: &str, body: &str, wanted: &[&str]) -> TrapCase {
    TrapCase::new(name, body).wants(wanted)
}

/// Links that are text, or belong to no page.
fn hidden() -> Vec<TrapCase> {
    const AROUND: [(&str, &str); 14] = [
        ("<!--", "-->"),
        ("<script>'", "'</script>"),
        ("<script type=text/template>", "</script>"),
        ("<script type=application/json>\"", "\"</script>"),
        ("<style>/*", "*/</style>"),
        ("<textarea>", "</textarea>"),
        ("<title>", "</title>"),
        ("<template>", "</template>"),
        ("<template><template>", "</template></template>"),
        ("<xmp>", "</xmp>"),
        ("<noembed>", "</noembed>"),
        ("<noframes>", "</noframes>"),
        ("<iframe>", "</iframe>"),
        ("<p title=\"", "\">"),
    ];
    let of = |(start, end): &(&str, &str)| {
        let body = format!("{start}<a href=~/hidden>x</a>{end}<a href=~/next>x</a>");
        page(&format!("a link within {start}"), &body, &["~/next"])
    };
    AROUND.iter().map(of).collect()
}

/// Links that belong to the page, although not every reader sees them.
fn shown() -> Vec<TrapCase> {
    const AROUND: [(&str, &str); 16] = [
        ("<noscript>", "</noscript>"),
        ("<div style=display:none>", "</div>"),
        ("<div hidden>", "</div>"),
        ("<details>", "</details>"),
        ("<dialog>", "</dialog>"),
        ("<object>", "</object>"),
        ("<video>", "</video>"),
        ("<canvas>", "</canvas>"),
        ("<table>", "</table>"),
        ("<x-a><template shadowrootmode=open>", "</template></x-a>"),
        ("<x-a><template shadowrootmode=closed>", "</template></x-a>"),
        ("<svg><foreignObject>", "</foreignObject></svg>"),
        ("<nav><ul><li>", "</ul></nav>"),
        ("<form><fieldset disabled>", "</fieldset></form>"),
        ("</p></div></body></html>", ""),
        ("<b><p>", "</b></p>"),
    ];
    let of = |(start, end): &(&str, &str)| {
        page(&format!("a link within {start}"), &format!("{start}<a href=~/shown>x</a>{end}"), &["~/shown"])
    };
    AROUND.iter().map(of).collect()
}

/// Elements with a URL that is not a link.
fn other_elements() -> Vec<TrapCase> {
    const ELEMENTS: [&str; 24] = [
        "<img src=~/no>",
        "<img longdesc=~/no>",
        "<img srcset='~/no 2x'>",
        "<script src=~/no></script>",
        "<video src=~/no poster=~/no2></video>",
        "<audio src=~/no></audio>",
        "<object data=~/no></object>",
        "<embed src=~/no>",
        "<form action=~/no><button formaction=~/no2>x</button></form>",
        "<input type=image src=~/no>",
        "<blockquote cite=~/no>x</blockquote>",
        "<body background=~/no>",
        "<link rel=stylesheet href=~/no>",
        "<link rel=prefetch href=~/no>",
        "<link rel=alternate href=~/no>",
        "<link rel=prev href=~/no>",
        "<link rel=icon href=~/no>",
        "<a data-href=~/no>x</a>",
        "<a onclick=\"location='~/no'\">x</a>",
        "<a ping=~/no>x</a>",
        "<div href=~/no>x</div>",
        "<svg><use href=~/no /></svg>",
        "<svg><image href=~/no /></svg>",
        "<meta property=og:url content=~/no>",
    ];
    ELEMENTS.iter().map(|element| page(element, element, &[])).collect()
}

/// How a link is written.
fn attributes() -> Vec<TrapCase> {
    vec![
        page("quotes", "<a href=~/a>x</a><a href='~/b'>x</a><a href=\"~/c\">x</a>", &["~/a", "~/b", "~/c"]),
        page("large letters", "<A HREF=~/a>x</A>", &["~/a"]),
        page("two href attributes", "<a href=~/a href=~/no>x</a>", &["~/a"]),
        page("spaces around the sign", "<a href = '~/a'>x</a><a\nhref=~/b\n>x</a>", &["~/a", "~/b"]),
        page("slashes between attributes", "<a/href=~/a>x</a>", &["~/a"]),
        page("an end tag with href", "</a href=~/no><a href=~/a>x</a>", &["~/a"]),
        page("links that are not closed", "<a href=~/a><a href=~/b>x", &["~/a", "~/b"]),
        page("a link in a link's block", "<a href=~/a><div><a href=~/b>x</a></div></a>", &["~/a", "~/b"]),
        page("a link without text", "<a href=~/a></a>", &["~/a"]),
        page("a link around an image", "<a href=~/a><img src=~/no></a>", &["~/a"]),
        page("href without a value", "<a href>x</a>", &[]),
        page("an anchor", "<a name=~/no>x</a>", &[]),
        page("a quote that is not closed", "<a href=~/a>x</a><a href='~/no>x</a>", &["~/a"]),
        page("areas", "<map><area href=~/a><area nohref></map><area href=~/b>", &["~/a", "~/b"]),
        page("links in SVG", "<svg><a href=~/a>x</a><a xlink:href=~/b>x</a></svg>", &["~/a", "~/b"]),
        page("a zero byte", "<p>\u{0}<a href=~/a>x</a>", &["~/a"]),
        page("the same link often", "<a href=~/a>x</a><a href=~/a>y</a><area href=~/a>", &["~/a"]),
    ]
}

/// Links between pages, and frames.
fn relations() -> Vec<TrapCase> {
    vec![
        page("the next page", "<link rel=next href=~/a>", &["~/a"]),
        page("the next page among others", "<link rel='section next' href=~/a>", &["~/a"]),
        page("the next page in the body", "<p>x<link rel=next href=~/a>", &["~/a"]),
        page("an inline frame", "<iframe src=~/a></iframe>", &["~/a"]),
        page("a frame without a source", "<iframe></iframe><iframe src=about:blank></iframe>", &[]),
        page("a frame with an inner document", "<iframe srcdoc='<a href=~/no>x</a>'></iframe>", &[]),
        page("a frameset", "<frameset cols=*,*><frame src=~/a><frame src=~/b></frameset>", &["~/a", "~/b"]),
        TrapCase::new("links in frames", "<iframe src=~/in></iframe>")
            .page("~/in", "<a href=~/a>x</a>")
            .wants(&["~/a"]),
        page("a frame in noscript", "<noscript><iframe src=~/a></iframe></noscript>", &["~/a"]),
        page("link types of readers", "<a rel='noopener noreferrer external' href=~/a>x</a>", &["~/a"]),
    ]
}

/// What robots.txt and a page forbid.
fn robots() -> Vec<TrapCase> {
    let meta = |name: &str, element: &str, is_followed: bool| {
        let wanted: &[&str] = if is_followed { &["~/a"] } else { &[] };
        page(name, &format!("{element}<a href=~/a>x</a>"), wanted)
    };
    let header = |name: &str, value: &str, is_followed: bool| {
        let wanted: &[&str] = if is_followed { &["~/a"] } else { &[] };
        let fields = format!("content-type: text/html\r\nx-robots-tag: {value}\r\n");
        TrapCase::new(name, "<a href=~/in>x</a>")
            .answer("~/in", 200, &fields, "<a href=~/a>x</a>")
            .wants(wanted)
    };
    vec![
        page("a link with nofollow", "<a rel=nofollow href=~/no>x</a><a href=~/a>x</a>", &["~/a"]),
        page("nofollow among others", "<a rel='ugc NoFollow' href=~/no>x</a>", &[]),
        page("an area with nofollow", "<map><area rel=nofollow href=~/no></map>", &[]),
        meta("a page with nofollow", "<meta name=robots content=nofollow>", false),
        meta("a page with none", "<META NAME=ROBOTS CONTENT='NONE'>", false),
        meta("several directives", "<meta name=robots content='noindex, nofollow'>", false),
        meta("a page with noindex", "<meta name=robots content=noindex>", true),
        meta("a rule for another robot", "<meta name=googlebot content=nofollow>", true),
        header("a header with nofollow", "nofollow", false),
        header("a header with none", "none", false),
        header("a header with noindex", "noindex", true),
        header("a header for another robot", "googlebot: nofollow", true),
        page(
            "a forbidden folder",
            "<a href=~/private/x>x</a><a href=~/private/open>x</a>",
            &["~/private/open"],
        ),
        page("a forbidden file type", "<a href=~/a.pdf>x</a><a href='~/a.pdf?x'>x</a>", &["~/a.pdf?x"]),
        page("a name like a forbidden one", "<a href=~/privately/x>x</a>", &["~/privately/x"]),
    ]
}

/// Wrong canonical URLs, which keep no page away and add none.
fn canonicals() -> Vec<TrapCase> {
    const CANONICALS: [&str; 12] = [
        "<link rel=canonical href=/>",
        "<link rel=canonical href=~/missing>",
        "<link rel=canonical href=http://other.test/>",
        "<link rel=canonical href=~/two>",
        "<link rel=canonical href=''>",
        "<link rel=canonical href='#'>",
        "<link rel=canonical href=http://[bad/>",
        "<link rel=canonical href=~/one><link rel=canonical href=~/two>",
        "<p>text<link rel=canonical href=~/two>",
        "<link rel='canonical next-x' href=~/two>",
        "<LINK REL=CANONICAL HREF=~/TWO>",
        "<link rel=canonical>",
    ];
    let of = |canonical: &&str| {
        let links = "<a href=~/one>1</a><a href=~/two>2</a><a href=~/three>3</a>";
        TrapCase::new(format!("{canonical} on each page"), format!("{canonical}{links}"))
            .page("~/one", format!("{canonical}one"))
            .page("~/two", format!("{canonical}two"))
            .page("~/three", format!("{canonical}three"))
    };
    CANONICALS.iter().map(of).collect()
}

/// Lists whose pages declare the first one as their canonical URL.
fn canonical_lists() -> Vec<TrapCase> {
    let list = "<link rel=canonical href=~/list>";
    let header = "content-type: text/html\r\nlink: <~/list>; rel=canonical\r\n";
    vec![
        TrapCase::new("a list that is entered at its second page", "<a href='~/list?page=2'>2</a>")
            .page("~/list?page=2", format!("{list}<a href=~/list>1</a><a href=~/b>b</a>"))
            .page("~/list", format!("{list}<a href=~/a>a</a>"))
            .wants(&["~/a", "~/b"]),
        TrapCase::new("pages of a list", "<a href=~/list>1</a>")
            .page("~/list", format!("{list}<a href='~/list?page=2'>2</a>"))
            .page("~/list?page=2", format!("{list}<a href='~/list?page=3'>3</a>"))
            .page("~/list?page=3", format!("{list}<a href=~/last>x</a>"))
            .wants(&["~/last"]),
        TrapCase::new("a canonical URL in a header", "<a href='~/list?page=2'>2</a>")
            .answer("~/list?page=2", 200, header, "<a href=~/list>1</a>")
            .answer("~/list", 200, header, "<a href=~/a>a</a>")
            .wants(&["~/a"]),
        TrapCase::new("canonical URLs in a circle", "<a href=~/a>a</a>")
            .page("~/a", "<link rel=canonical href=~/b><a href=~/b>b</a>")
            .page("~/b", "<link rel=canonical href=~/a><a href=~/c>c</a>")
            .wants(&["~/c"]),
    ]
}
