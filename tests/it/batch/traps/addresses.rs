//! Traps in the URLs of links.

use std::fmt::Write as _;

use super::TrapCase;

pub(super) fn cases() -> Vec<TrapCase> {
    [sessions(), tracking(), queries(), paths(), escapes(), fragments(), schemes(), hosts(), bases()]
        .into_iter()
        .flatten()
        .collect()
}

/// A page that links to these URLs as they are written, of which those in `wanted` are requested.
fn links(name: &str, hrefs: &[&str], wanted: &[&str]) -> TrapCase {
    let mut anchors = String::new();
    for href in hrefs {
        let _ = write!(anchors, "<a href=\"{href}\">x</a>");
    }
    TrapCase::new(name, format!("<meta charset=utf-8>{anchors}")).wants(wanted)
}

/// Links that are requested as written.
fn same(name: &str, hrefs: &[&str]) -> TrapCase {
    links(name, hrefs, hrefs)
}

fn sessions() -> Vec<TrapCase> {
    let mut cases = Vec::new();
    for name in ["sid", "PHPSESSID", "jsessionid", "s", "session", "zenid", "CFID", "token"] {
        for value in ["26", "news", "8f3a9c81d7e60412ab"] {
            let href = format!("~/page?{name}={value}");
            cases.push(same(&format!("one link with {name}={value}"), &[&href]));
        }
        let stories: Vec<String> = (1..5).map(|n| format!("~/story?{name}={n}")).collect();
        let stories: Vec<&str> = stories.iter().map(String::as_str).collect();
        cases.push(same(&format!("{name} selects a story"), &stories));
    }
    cases.push(same("a session in the path", &["~/page;jsessionid=8F3A9C81D7E60412AB"]));
    cases.push(same("matrix parameters", &["~/p;v=1", "~/p;v=2", "~/p"]));
    cases.push(links(
        "two sessions of one page",
        &["~/p?PHPSESSID=8f3a9c81d7e60412ab&x=1", "~/p?PHPSESSID=9f3a9c81d7e60412ab&x=1"],
        &["~/p?PHPSESSID=8f3a9c81d7e60412ab&x=1"],
    ));
    cases
}

fn tracking() -> Vec<TrapCase> {
    let mut cases = Vec::new();
    for name in ["utm_source", "gclid", "fbclid", "msclkid", "mc_eid", "_ga"] {
        let tracked = format!("~/p?{name}=x1&a=1");
        cases.push(same(&format!("only with {name}"), &[&tracked]));
        cases.push(links(&format!("without and with {name}"), &["~/p?a=1", &tracked], &["~/p?a=1"]));
    }
    cases.push(same(
        "names like tracking",
        &["~/p?ref=a", "~/p?ref=b", "~/p?source=x", "~/p?utm=1", "~/p?utm=2"],
    ));
    cases
}

fn queries() -> Vec<TrapCase> {
    vec![
        same("the order of parameters", &["~/p?a=1&b=2", "~/p?b=2&a=1"]),
        same("empty values", &["~/p?x", "~/p?x=", "~/p?=x"]),
        same("an empty query", &["~/p?", "~/p"]),
        same("repeated parameters", &["~/p?a=1", "~/p?a=1&a=1", "~/p?a=1&&"]),
        same("other separators", &["~/p?a=1;b=2", "~/p?a=1&b=2"]),
        same("spaces in a query", &["~/p?q=a+b", "~/p?q=a%20b"]),
        same("slashes in a query", &["~/p?u=/a/b", "~/p?u=%2Fa%2Fb"]),
        same("a URL in a query", &["~/p?u=http://x.test/?y=1"]),
        same("a question mark in a query", &["~/p?a?b", "~/p?a"]),
        same("brackets", &["~/p?a[]=1&a[]=2", "~/p?a[b]=1"]),
        same("large and small letters in a query", &["~/p?a=X", "~/p?a=x", "~/p?A=x"]),
        links("only a query", &["?page=2", "?page=3"], &["~/?page=2", "~/?page=3"]),
    ]
}

fn paths() -> Vec<TrapCase> {
    vec![
        same("with and without a slash", &["~/a", "~/a/"]),
        same("double slashes", &["~/a//b", "~/a/b", "~//a"]),
        same("large and small letters", &["~/Page", "~/page", "~/PAGE"]),
        same("index pages", &["~/d/", "~/d/index.html", "~/d/index.php"]),
        same("file types", &["~/p.html", "~/p.htm", "~/p.php", "~/p.xml", "~/p.jsp"]),
        links("dot segments", &["~/x/../y", "~/./z", "~/x/%2e%2e/w"], &["~/y", "~/z", "~/w"]),
        links("relative links", &["a", "./b", "c", "d/e"], &["~/a", "~/b", "~/c", "~/d/e"]),
        links("above the root", &["../../../../..~/up"], &["~/up"]),
        links("backslashes", &["~\\back", "~/a\\b"], &["~/back", "~/a/b"]),
        same("dots in names", &["~/a.b.c", "~/.hidden", "~/..."]),
        same("numbers", &["~/1", "~/01", "~/1.0"]),
        same("punctuation", &["~/a,b", "~/a:b", "~/a@b", "~/a!b", "~/a$b", "~/a(b)", "~/a*b", "~/a=b"]),
        same("long paths", &["~/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p"]),
        same("dates", &["~/2024/01/02/title", "~/2024-01-02"]),
    ]
}

fn escapes() -> Vec<TrapCase> {
    vec![
        links("spaces in a path", &["~/a b", "~/c%20d"], &["~/a%20b", "~/c%20d"]),
        links("spaces in a query", &["~/p?q=a b"], &["~/p?q=a%20b"]),
        links("spaces around a link", &["  ~/a  ", "\t~/b\n"], &["~/a", "~/b"]),
        links("line feeds in a link", &["~/a\nb", "~/c\td"], &["~/ab", "~/cd"]),
        same("escaped slashes", &["~/a%2Fb", "~/a/b"]),
        links("needless escapes", &["~/user", "~/%75ser"], &["~/user"]),
        links("large and small escapes", &["~/a%2fb", "~/a%2Fb"], &["~/a%2fb"]),
        same("double escapes", &["~/a%252Fb", "~/a%2Fb"]),
        same("stray percent signs", &["~/100%", "~/a%zz", "~/p?q=%"]),
        links(
            "letters of other languages",
            &["~/caf\u{e9}", "~/\u{65e5}\u{672c}"],
            &["~/caf%C3%A9", "~/%E6%97%A5%E6%9C%AC"],
        ),
        links("letters of other languages in a query", &["~/p?q=\u{e9}"], &["~/p?q=%C3%A9"]),
        links("quotes", &["~/a'b", "~/a&quot;b", "~/p?q='"], &["~/a'b", "~/a%22b", "~/p?q=%27"]),
        links("braces", &["~/{a}", "~/a|b"], &["~/%7Ba%7D", "~/a|b"]),
        links("angle brackets", &["~/&lt;a&gt;", "~/p?q=&lt;b&gt;"], &["~/%3Ca%3E", "~/p?q=%3Cb%3E"]),
        links("backquotes", &["~/a`b"], &["~/a%60b"]),
        links("ampersands", &["~/p?a=1&amp;b=2", "~/p?c=1&d=2"], &["~/p?a=1&b=2", "~/p?c=1&d=2"]),
        links(
            "names that look like entities",
            &["~/p?a=1&copy=2", "~/p?a&notit=1", "~/p?a&lt=1"],
            &["~/p?a=1&copy=2", "~/p?a&notit=1", "~/p?a&lt=1"],
        ),
        links("numeric entities", &["~&#x2F;a", "~&#47;b", "~/c&#100;"], &["~/a", "~/b", "~/cd"]),
        links("named entities", &["~&sol;a", "~/b&period;c", "~/p?q&equals;1"], &["~/a", "~/b.c", "~/p?q=1"]),
        links("entities that vanish", &["~/a&Tab;b", "~/c&NewLine;d"], &["~/ab", "~/cd"]),
        links("entities without an end", &["~/p?x=1&amp", "~/a&#98"], &["~/p?x=1&", "~/ab"]),
    ]
}

fn fragments() -> Vec<TrapCase> {
    vec![
        links("only fragments", &["#", "#top", "", "~/#x"], &[]),
        links("fragments of one page", &["~/p#a", "~/p#b", "~/p"], &["~/p"]),
        links("routes in fragments", &["~/#!/one", "~/#/two"], &[]),
        links("a fragment after a query", &["~/p?a=1#x", "~/p?a=1#y"], &["~/p?a=1"]),
        links("a query in a fragment", &["~/p#?a=1", "~/p#?a=2"], &["~/p"]),
        links("text fragments", &["~/p#:~:text=x"], &["~/p"]),
        links("escaped number signs", &["~/a%23b", "~/a#b"], &["~/a%23b", "~/a"]),
    ]
}

fn schemes() -> Vec<TrapCase> {
    const OTHERS: [&str; 18] = [
        "javascript:void(0)",
        "JavaScript:location='/x'",
        " java\nscript:go()",
        "mailto:a@b.test",
        "tel:+1",
        "sms:+1",
        "data:text/html,<a href=/x>",
        "ftp://x.test/",
        "file:///etc/passwd",
        "about:blank",
        "blob:http://x.test/1",
        "view-source:http://x.test/",
        "ws://x.test/",
        "magnet:?xt=1",
        "whatsapp://send",
        "intent://x#Intent;end",
        "http://",
        "http://[bad/",
    ];
    let of = |text: &&str| {
        let scheme: String = text.chars().filter(|c| !c.is_whitespace()).take(12).collect();
        links(&format!("a link to {scheme}"), &[text, "~/next"], &["~/next"])
    };
    OTHERS.iter().map(of).collect()
}

fn hosts() -> Vec<TrapCase> {
    vec![
        links("the whole URL", &["^~/a"], &["~/a"]),
        links("a scheme in large letters", &["HTTP:~/a"], &["~/a"]),
        links("a scheme without slashes", &["http:~/b"], &["~/b"]),
        links("another site", &["http://other.test/x", "//other.test/y"], &[]),
        links("the machine by another name", &["http://localhost:1/x"], &[]),
        links("a subdomain of another site", &["http://127.0.0.1.other.test/x"], &[]),
    ]
}

fn bases() -> Vec<TrapCase> {
    let based = |name: &str, base: &str, href: &str, wanted: &[&str]| {
        TrapCase::new(name, format!("{base}<a href='{href}'>x</a>")).wants(wanted)
    };
    vec![
        based("a base", "<base href='~/sub/'>", "a", &["~/sub/a"]),
        based("a relative base", "<base href='sub/'>", "a", &["~/sub/a"]),
        based("two bases", "<base href='~/one/'><base href='~/two/'>", "a", &["~/one/a"]),
        based("a base without href", "<base target=_top><base href='~/x/'>", "a", &["~/x/a"]),
        based("a base in the body", "<p>text<base href='~/late/'>", "a", &["~/late/a"]),
        based("a base that is a file", "<base href='~/dir/file.html'>", "a", &["~/dir/a"]),
        based("a base of another scheme", "<base href='data:text/plain,x'>", "a", &["~/a"]),
        based("a base and only a query", "<base href='~/list'>", "?page=2", &["~/list?page=2"]),
        based("a base and an absolute path", "<base href='~/sub/'>", "~/a", &["~/a"]),
        based("a base of another site", "<base href='http://other.test/'>", "a", &[]),
        TrapCase::new("a base after the link", "<a href=a>x</a><base href='~/sub/'>").wants(&["~/sub/a"]),
    ]
}
