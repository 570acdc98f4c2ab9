//! Traps in the answers of the site: redirects, refreshes, media types, encodings, statuses.

use super::TrapCase;

pub(super) fn cases() -> Vec<TrapCase> {
    [redirects(), loops(), refreshes(), types(), statuses(), fields()].into_iter().flatten().collect()
}

const HTML: &str = "content-type: text/html\r\n";

/// A page that links to `~/in`.
fn entry(name: impl Into<String>) -> TrapCase {
    TrapCase::new(name, "<a href=~/in>x</a>")
}

fn to(location: &str) -> String {
    format!("location: {location}\r\n")
}

fn redirects() -> Vec<TrapCase> {
    let mut cases: Vec<TrapCase> = [301, 302, 303, 307, 308]
        .iter()
        .map(|status| {
            entry(format!("a redirect with {status}"))
                .answer("~/in", *status, &to("~/out"), "")
                .page("~/out", "<a href=~/a>x</a>")
                .wants(&["~/a"])
        })
        .collect();
    let one = |name: &str, location: &str, target: &str| {
        entry(name).answer("~/in", 302, &to(location), "<a href=~/no>x</a>").wants(&[target])
    };
    cases.extend([
        one("a relative redirect", "out", "~/out"),
        one("a redirect to the whole URL", "^~/out", "~/out"),
        one("a redirect to a query", "?x=1", "~/in?x=1"),
        one("a redirect with a fragment", "~/out#part", "~/out"),
        one("a redirect with a space", "~/out of", "~/out%20of"),
        one("a redirect to a folder", "~/in/", "~/in/"),
        entry("a redirect without a location").answer("~/in", 302, HTML, "<a href=~/a>x</a>").wants(&["~/a"]),
        entry("a location without a redirect")
            .answer("~/in", 200, &format!("{HTML}{}", to("~/no")), "<a href=~/a>x</a>")
            .wants(&["~/a"]),
        entry("a redirect to a missing page")
            .answer("~/in", 302, &to("~/gone"), "")
            .answer("~/gone", 404, "", "<p>gone"),
        TrapCase::new("a link and a redirect to one page", "<a href=~/in>x</a><a href=~/out>y</a>")
            .answer("~/in", 301, &to("~/out"), "")
            .page("~/out", "<a href=~/a>x</a>")
            .wants(&["~/a"]),
        entry("a chain of redirects")
            .answer("~/in", 301, &to("~/2"), "")
            .answer("~/2", 302, &to("~/3"), "")
            .answer("~/3", 307, &to("~/4"), "")
            .page("~/4", "<a href=~/a>x</a>")
            .wants(&["~/a"]),
        entry("links relative to the end of a redirect")
            .answer("~/in", 302, &to("~/sub/out"), "")
            .page("~/sub/out", "<a href=a>x</a>")
            .wants(&["~/sub/a"]),
    ]);
    cases
}

fn loops() -> Vec<TrapCase> {
    vec![
        entry("a redirect to itself").answer("~/in", 302, &to("~/in"), ""),
        entry("two redirects to each other").answer("~/in", 302, &to("~/out"), "").answer(
            "~/out",
            302,
            &to("~/in"),
            "",
        ),
        entry("a redirect back to its page").answer("~/in", 302, &to("~/"), ""),
        entry("a refresh to itself")
            .page("~/in", "<meta http-equiv=refresh content=0><a href=~/a>x</a>")
            .wants(&["~/a"]),
        TrapCase::new("pages that link to each other", "<a href=~/a>x</a>")
            .page("~/a", "<a href=~/b>x</a>")
            .page("~/b", "<a href=~/a>x</a><a href=~/>x</a>"),
    ]
}

fn refreshes() -> Vec<TrapCase> {
    let one = |name: &str, content: &str, target: &[&str]| {
        let page = format!("<meta http-equiv=refresh content=\"{content}\"><a href=~/a>x</a>");
        let case = entry(name).page("~/in", page);
        if target.is_empty() { case.wants(&["~/a"]) } else { case.wants(target) }
    };
    vec![
        one("a refresh", "0;url=~/out", &["~/out"]),
        one("a refresh with quotes", "0; URL='~/out'", &["~/out"]),
        one("a refresh without url=", "0;~/out", &["~/out"]),
        one("a relative refresh", "0;url=out", &["~/out"]),
        one("a refresh after a minute", "60;url=~/no", &[]),
        one("a refresh of another scheme", "0;url=javascript:go()", &[]),
        one("a refresh without a number", "url=~/no", &[]),
        entry("a refresh in a header")
            .answer("~/in", 200, &format!("{HTML}refresh: 0;url=~/out\r\n"), "<p>x")
            .wants(&["~/out"]),
        entry("a refresh in a comment")
            .page("~/in", "<!--<meta http-equiv=refresh content='0;url=~/no'>--><a href=~/a>x</a>")
            .wants(&["~/a"]),
    ]
}

fn types() -> Vec<TrapCase> {
    const LINK: &str = "<!doctype html><html><body><a href=~/a>x</a></body></html>";
    let mut cases = Vec::new();
    for (kind, is_read) in [
        ("text/html; charset=utf-8", true),
        ("TEXT/HTML", true),
        ("application/xhtml+xml", true),
        ("text/plain", false),
        ("application/json", false),
        ("image/png", false),
        ("text/css", false),
        ("application/octet-stream", false),
    ] {
        let wanted: &[&str] = if is_read { &["~/a"] } else { &[] };
        let fields = format!("content-type: {kind}\r\n");
        cases.push(
            entry(format!("a page of the type {kind}")).answer("~/in", 200, &fields, LINK).wants(wanted),
        );
    }
    let utf16: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain("<a href=wide>x</a>".encode_utf16().flat_map(u16::to_le_bytes))
        .collect();
    let latin = b"<meta charset=iso-8859-1><a href='p?q=\xfc'>x</a><a href='p\xfc'>y</a>".to_vec();
    cases.extend([
        entry("a page without a type").answer("~/in", 200, "", LINK).wants(&["~/a"]),
        entry("a page in UTF-16").answer("~/in", 200, HTML, utf16).wants(&["~/wide"]),
        entry("a page in Latin-1").answer("~/in", 200, HTML, latin).wants(&["~/p?q=%FC", "~/p%C3%BC"]),
        entry("a page with a byte order mark").page("~/in", format!("\u{feff}{LINK}")).wants(&["~/a"]),
        entry("a page without words").page("~/in", "<a href=~/a></a>").wants(&["~/a"]),
    ]);
    cases
}

fn statuses() -> Vec<TrapCase> {
    let one = |status: u16, wanted: &[&str]| {
        let body = "<title>A page</title><p>There is some text here.<a href=~/a>x</a>";
        entry(format!("a page with the status {status}")).answer("~/in", status, HTML, body).wants(wanted)
    };
    vec![one(201, &["~/a"]), one(203, &["~/a"]), one(400, &[]), one(404, &[]), one(410, &[]), one(500, &[])]
}

fn fields() -> Vec<TrapCase> {
    let link = |name: &str, value: &str| {
        let fields = format!("{HTML}link: {value}\r\n");
        entry(name).answer("~/in", 200, &fields, "<a href=~/a>x</a>").wants(&["~/a"])
    };
    vec![
        link("a next page in a header", "<~/no>; rel=next"),
        link("a resource in a header", "<~/no>; rel=preload; as=style"),
        link("a canonical URL in a header only", "<~/no>; rel=canonical"),
        entry("a content location")
            .answer("~/in", 200, &format!("{HTML}content-location: ~/no/\r\n"), "<a href=a>x</a>")
            .wants(&["~/a"]),
        entry("a cookie that changes")
            .answer("~/in", 200, &format!("{HTML}set-cookie: n=1\r\n"), "<a href=~/a>x</a>")
            .wants(&["~/a"]),
    ]
}
