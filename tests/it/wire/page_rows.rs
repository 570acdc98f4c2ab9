//! The pages of `as_chromium_pages.rs`.

/// A page, and why the plain tier reads it in another way than Chromium, if it does.
pub(super) struct Row {
    /// The `Content-Type`.
    pub(super) kind: &'static str,
    /// The value of `Refresh`.
    pub(super) refresh: Option<String>,
    pub(super) page: Vec<u8>,
    /// Whether the requests behind the page are compared. In such a row, PORT is that of the server.
    pub(super) refreshes: bool,
    pub(super) difference: Option<&'static str>,
}

impl Row {
    fn new(kind: &'static str, page: impl Into<Vec<u8>>) -> Self {
        Self { kind, refresh: None, page: page.into(), refreshes: false, difference: None }
    }

    pub(super) fn name(&self) -> String {
        let refresh = self.refresh.as_ref().map(|value| format!("Refresh: {value} ")).unwrap_or_default();
        format!("{refresh}{}", self.page.escape_ascii())
    }
}

pub(super) fn texts() -> Vec<Row> {
    let mut rows: Vec<Row> = TEXTS.iter().map(|page| Row::new(HTML, *page)).collect();
    explain(&mut rows, &TEXT_DIFFERENCES);
    rows
}

pub(super) fn links() -> Vec<Row> {
    let mut rows: Vec<Row> = LINKS.iter().map(|(kind, page)| Row::new(kind, *page)).collect();
    explain(&mut rows, &LINK_DIFFERENCES);
    rows
}

pub(super) fn refreshes() -> Vec<Row> {
    let rows = REFRESHES.iter().enumerate().map(|(number, (value, page))| {
        let text = |part: &str| part.replace("NUMBER", &number.to_string());
        let refresh = Some(text(value)).filter(|value| !value.is_empty());
        Row { refresh, refreshes: true, ..Row::new("text/html", text(page)) }
    });
    let mut rows: Vec<Row> = rows.collect();
    explain(&mut rows, &REFRESH_DIFFERENCES);
    rows
}

/// Sets the reasons of pages. Each text is part of one page.
fn explain(rows: &mut [Row], differences: &[(&str, &'static str)]) {
    for (part, reason) in differences {
        let mut found: Vec<&mut Row> = rows.iter_mut().filter(|row| row.name().contains(part)).collect();
        assert_eq!(found.len(), 1, "rows that contain {part}");
        found[0].difference = Some(reason);
    }
}

const HTML: &str = "text/html; charset=utf-8";

/// Part of a row's name, and why it differs.
const TEXT_DIFFERENCES: [(&str, &str); 6] = [
    ("<math><mi>", "the style sheet of MathML, whose letters are italic and whose formulas are blocks"),
    ("<object>o", "the content of an object is for browsers that cannot show it"),
    ("<canvas>c", "the content of a canvas is for browsers without scripts, and these frames have none"),
    ("shadowrootmode=open", "innerText does not look into shadow trees; `--text` does"),
    ("<marquee>", "the style sheet of Chromium makes it an inline block"),
    ("aria-hidden", "what is hidden from screen readers is decoration"),
];
const LINK_DIFFERENCES: [(&str, &str); 5] = [
    ("http://a b/", "a host with a space does not exist (URL standard, host parsing)"),
    ("xn--zzzz--", "the label is no punycode (URL standard, host parsing)"),
    ("/a|b^c`d{e}", "`|` and `^` are as in the URL standard; requests have Chromium's bytes"),
    ("<base href=\\'http://[", "a base URL that cannot be parsed is ignored (HTML standard, 4.2.3)"),
    ("mailto:x", "a base URL without a path is ignored, so that the link is not lost"),
];
const REFRESH_DIFFERENCES: [(&str, &str); 0] = [];

const TEXTS: [&str; 80] = [
    "<p>one<p>two",
    "<p>a  b\n c</p>",
    "a<br>b<br><br>c",
    "<div>a</div><div>b</div>",
    "<div>a<div>b</div>c</div>",
    "<h1>T</h1>text<h2>U</h2>",
    "<ul><li>a<li>b</ul>",
    "<ol><li>a<ol><li>b</ol></ol>",
    "<dl><dt>a<dd>b</dl>",
    "<table><tr><td>a<td>b<tr><td>c<td>d</table>",
    "<table><caption>k</caption><thead><tr><th>h</thead><tfoot><tr><td>f</tfoot><tbody><tr><td>b</table>",
    "<table><tr><td>a</table>after",
    "<pre>a  b\n\n c\td</pre>",
    "<pre>\nfirst line</pre>",
    "<textarea>t</textarea>after",
    "<select><option>a<option>b</select>x",
    "<optgroup label=g><option>o</optgroup>x",
    "<button>b</button>x",
    "<input value=v>x",
    "<script>s</script>a<style>c</style>",
    "<noscript>n</noscript>x",
    "<template>t</template>x",
    "<title>t</title>x",
    "<span hidden>h</span>x",
    "<p style='display:none'>h</p>x",
    "<p style='visibility:hidden'>h<b style='visibility:visible'>v</b></p>x",
    "<span style='display:block'>a</span>b",
    "<div style='display:inline'>a</div>b",
    "<span style='display:inline-block'>a</span>b",
    "<p style='white-space:pre'>a  b\nc</p>",
    "<p style='white-space:pre-line'>a  b\nc</p>",
    "<p style='white-space:nowrap'>a  b\nc</p>",
    "<p style='text-transform:uppercase'>abc straße</p>",
    "<p style='text-transform:capitalize'>abc def</p>",
    "a&nbsp;b&nbsp; c",
    "a&shy;b&zwj;c&#8203;d",
    "<b>a</b> <i>b</i>",
    "a<!-- c -->b",
    "<a href=/x>l</a><a href=/y>m</a>",
    "<details><summary>s</summary>d</details>x",
    "<details open><summary>s</summary>d</details>x",
    "<ruby>a<rt>b</ruby>",
    "<fieldset><legend>l</legend>f</fieldset>",
    "<p>a<hr>b",
    "<center>c</center>d",
    "<q>a</q>",
    "<svg><text>s</text><title>t</title></svg>x",
    "<math><mi>x</mi></math>y",
    "<iframe>f</iframe>x",
    "<object>o</object>x",
    "<video>v</video>x",
    "<canvas>c</canvas>x",
    "<audio>a</audio>x",
    "<dialog>d</dialog>x",
    "<dialog open>d</dialog>x",
    "<img alt=a>x",
    "<wbr>a<wbr>b",
    "<blockquote>a</blockquote>b",
    "<p> a <b> b </b> c </p>",
    "<div>a</div>\n\n<div>b</div>",
    "<p>a</p>\n<div>b</div>\n<p>c</p>",
    "<span>a </span><span> b</span>",
    "<div><p>a</p></div><div><p>b</p></div>",
    "<p style='float:left'>a</p>b",
    "<p style='position:absolute'>a</p>b",
    "<div style='display:flex'><span>a</span><span>b</span></div>",
    "<div style='display:contents'>a</div>b",
    "text<body style='display:none'>",
    "<div><template shadowrootmode=open><slot></slot>s</template>l</div>",
    "<marquee>m</marquee>x",
    "<p>\u{1f600} e\u{301} \u{202e}rtl",
    "<table>stray<tr><td>a</table>",
    "<p style='opacity:0'>a</p>b",
    "<p style='font-size:0'>a</p>b",
    "<p style='content-visibility:hidden'>a</p>b",
    "<label>a<input type=checkbox></label>b",
    "<progress>p</progress>x",
    "<meter>m</meter>x",
    "<xmp><b>x</b></xmp>y",
    "<p aria-hidden=true>a</p>b",
];

/// Content-Type and page.
const LINKS: [(&str, &[u8]); 83] = [
    (HTML, b"<a href=x>"),
    (HTML, b"<a href=/x?a=b#c>"),
    (HTML, b"<a href=//b.test/x>"),
    (HTML, b"<a href=https:x>"),
    (HTML, b"<a href=http:x>"),
    (HTML, b"<a href=''>"),
    (HTML, b"<a href>"),
    (HTML, b"<a name=x>"),
    (HTML, b"<a href='#x'>"),
    (HTML, b"<a href='?x'>"),
    (HTML, b"<a href=..>"),
    (HTML, b"<a href='./../../x/./y/..'>"),
    (HTML, b"<a href='\\x\\y'>"),
    (HTML, b"<a href='http:\\\\b.test\\x'>"),
    (HTML, b"<a href=' \n x \t'>"),
    (HTML, b"<a href='a b'>"),
    (HTML, b"<a href='a\nb\tc\rd'>"),
    (HTML, b"<a href='\x01x\x1f'>"),
    (HTML, b"<a href='a\x01b'>"),
    (HTML, b"<a href='\xc2\xa0x'>"),
    (HTML, b"<a href=mailto:a@b.test>"),
    (HTML, b"<a href=javascript:x>"),
    (HTML, b"<a href=JavaScript:x>"),
    (HTML, b"<a href=ftp://b.test/>"),
    (HTML, b"<a href=data:,x>"),
    (HTML, b"<a href=blob:http://b.test/x>"),
    (HTML, b"<a href='http://'>"),
    (HTML, b"<a href='http://[::1'>"),
    (HTML, b"<a href='http://a b/'>"),
    (HTML, b"<a href='http://a<b/'>"),
    (HTML, b"<a href='http://a%00b/'>"),
    (HTML, b"<a href='http://b.test:99999/'>"),
    (HTML, b"<a href='http://b.test:80/'>"),
    (HTML, b"<a href='https://b.test:80/'>"),
    (HTML, b"<a href='http://b.test:/'>"),
    (HTML, b"<a href='http://B.TEST/A'>"),
    (HTML, b"<a href='http://b%2etest/'>"),
    (HTML, b"<a href='http://b\xc3\xbccher.test/\xc3\xbc?\xc3\xbc#\xc3\xbc'>"),
    (HTML, b"<a href='http://xn--zzzz--.test/'>"),
    (HTML, b"<a href='http://0x7f.1/'>"),
    (HTML, b"<a href='http://256.1.1.1/'>"),
    (HTML, b"<a href='http://1.2.3/'>"),
    (HTML, b"<a href='http://[::ffff:1.2.3.4]/'>"),
    (HTML, b"<a href='http://u:p@b.test/'>"),
    (HTML, b"<a href='http://b.test./x'>"),
    (HTML, b"<a href='http://my_shop.test/'>"),
    (HTML, b"<a href='http://-b.test/'>"),
    (HTML, b"<a href='http://fa\xc3\x9f.test/'>"),
    (HTML, b"<a href='/%zz%41%7e'>"),
    (HTML, b"<a href='/a|b^c`d{e}'>"),
    (HTML, b"<a href='/?a|b^c`d{e}\x22\'>'>"),
    (HTML, b"<a href='/%2e%2E/x'>"),
    (HTML, b"<a href='/a//b///c'>"),
    (HTML, b"<a href='/;p=1?a;b&amp;c&copy=1'>"),
    (HTML, b"<base href=/b/><a href=x>"),
    (HTML, b"<a href=x><base href=/b/>"),
    (HTML, b"<base href=/b/><base href=/c/><a href=x>"),
    (HTML, b"<base><base href=/c/><a href=x>"),
    (HTML, b"<base href=//c.test><a href=x>"),
    (HTML, b"<base href='http://['><a href=x>"),
    (HTML, b"<base href=data:,x><a href=x>"),
    (HTML, b"<base href=javascript:x><a href=/x>"),
    (HTML, b"<base href=mailto:x><a href=x><a href=http://b.test/>"),
    (HTML, b"<body><p><base href=/b/><a href=x>"),
    (HTML, b"<template><base href=/b/></template><a href=x>"),
    (HTML, b"<base href=' /b/ '><a href='#f'>"),
    (HTML, b"<area href=x><map><area href=y></map>"),
    (HTML, b"<link href=x><a href=y>"),
    (HTML, b"<template><a href=x></a></template><a href=y>"),
    (HTML, b"<noscript><a href=x></a></noscript>"),
    (HTML, b"<textarea><a href=x></textarea><!--<a href=y>-->"),
    (HTML, b"<a href=x href=y>"),
    (HTML, b"<A HREF=x>"),
    (HTML, b"<a href=x><a href=x><a href=y><a href='x#z'>"),
    (HTML, b"<a href='&#x78;&amp;y&notit;'>"),
    (HTML, b"<a href=x hidden>"),
    (HTML, b"<a href=x>\x00</a><a href='y\x00z'>"),
    ("text/html; charset=iso-8859-1", b"<a href='/caf\xe9?q=\xe9'>"),
    ("text/html; charset=windows-1251", b"<a href='/\xd6?q=\xd0'>"),
    ("text/html; charset=windows-1251", b"<a href='?q=&#8364;\xd0'>"),
    ("text/html; charset=shift_jis", b"<a href='?q=\x93\xfa'>"),
    ("text/html; charset=utf-8", b"<a href='?q=\xff\xfe'>"),
    ("text/html", b"<meta charset=koi8-r><a href='/\xc1?\xc1'>"),
];

/// The value of `Refresh`, if it is not empty, and the page.
const REFRESHES: [(&str, &str); 70] = [
    ("", "<meta http-equiv=refresh content='0;url=x'>"),
    ("", "<meta http-equiv=Refresh content='0; URL=x'>"),
    ("", "<meta http-equiv=refresh content='1;url=x'>"),
    ("", "<meta http-equiv=refresh content='0,url=x'>"),
    ("", "<meta http-equiv=refresh content='0 url=x'>"),
    ("", "<meta http-equiv=refresh content='0;x'>"),
    ("", "<meta http-equiv=refresh content='0 x'>"),
    ("", "<meta http-equiv=refresh content='0;url x'>"),
    ("", "<meta http-equiv=refresh content='0;urlx'>"),
    ("", "<meta http-equiv=refresh content='0;url = x'>"),
    ("", "<meta http-equiv=refresh content='0;url=\"x\"y'>"),
    ("", "<meta http-equiv=refresh content=\"0;url='x' y\">"),
    ("", "<meta http-equiv=refresh content=\"0;'x\">"),
    ("", "<meta http-equiv=refresh content='0;;url=x'>"),
    ("", "<meta http-equiv=refresh content='0;url==x'>"),
    ("", "<meta http-equiv=refresh content=' \n0\t;\nurl=\tx '>"),
    ("", "<meta http-equiv=refresh content='0;url=a b'>"),
    ("", "<meta http-equiv=refresh content='0;url=a\nb'>"),
    ("", "<meta http-equiv=refresh content='.5;url=x'>"),
    ("", "<meta http-equiv=refresh content='0.5.9;url=x'>"),
    ("", "<meta http-equiv=refresh content='00;url=x'>"),
    ("", "<meta http-equiv=refresh content='.;url=x'>"),
    ("", "<meta http-equiv=refresh content='-1;url=x'>"),
    ("", "<meta http-equiv=refresh content='+0;url=x'>"),
    ("", "<meta http-equiv=refresh content='x;url=x'>"),
    ("", "<meta http-equiv=refresh content=';url=x'>"),
    ("", "<meta http-equiv=refresh content='0x;url=x'>"),
    ("", "<meta http-equiv=refresh content='0'>"),
    ("", "<meta http-equiv=refresh content='0;url='>"),
    ("", "<meta http-equiv=refresh content=''>"),
    ("", "<meta http-equiv=refresh>"),
    ("", "<meta http-equiv=' refresh' content='0;url=x'>"),
    ("", "<meta name=refresh content='0;url=x'>"),
    ("", "<meta http-equiv=refresh content='0;url=x' content='0;url=y'>"),
    ("", "<meta content='0;url=x' http-equiv=refresh>"),
    ("", "<meta http-equiv=refresh content='0;url=http://localhost:PORT/row/NUMBER/y'>"),
    ("", "<meta http-equiv=refresh content='0;url=//localhost:PORT/row/NUMBER/y'>"),
    ("", "<meta http-equiv=refresh content='0;url=javascript:location=\"x\"'>"),
    ("", "<meta http-equiv=refresh content='0;url=ftp://localhost/'>"),
    ("", "<meta http-equiv=refresh content='0;url=http://['>"),
    ("", "<base href=d/><meta http-equiv=refresh content='0;url=x'>"),
    ("", "<meta http-equiv=refresh content='0;url=x'><base href=d/>"),
    ("", "<meta http-equiv=refresh content='0;url=x'><meta http-equiv=refresh content='0;url=y'>"),
    ("", "<meta http-equiv=refresh content='1;url=x'><meta http-equiv=refresh content='0;url=y'>"),
    ("", "<meta http-equiv=refresh content='0;url=x'><meta http-equiv=refresh content='1;url=y'>"),
    ("", "<noscript><meta http-equiv=refresh content='0;url=x'></noscript>"),
    ("", "<template><meta http-equiv=refresh content='0;url=x'></template>"),
    ("", "<!--<meta http-equiv=refresh content='0;url=x'>-->"),
    ("", "<script>'<meta http-equiv=refresh content=0;url=x>'</script>"),
    ("", "<title><meta http-equiv=refresh content='0;url=x'></title>"),
    ("", "<textarea><meta http-equiv=refresh content='0;url=x'></textarea>"),
    ("", "<svg><meta http-equiv=refresh content='0;url=x'></svg>"),
    ("", "<body><p>x<meta http-equiv=refresh content='0;url=x'>"),
    ("", "<table><meta http-equiv=refresh content='0;url=x'></table>"),
    ("", "<select><meta http-equiv=refresh content='0;url=x'></select>"),
    ("", "<meta charset=windows-1251><meta http-equiv=refresh content='0;url=/row/NUMBER/&#x446;?&#x446;'>"),
    ("", "<meta http-equiv=refresh content='0;url=&#x446;?&#x446;'>"),
    ("", "<meta http-equiv=refresh content='0;url=x#f'>"),
    ("", "<meta http-equiv=refresh content='0;url=?q'>"),
    ("0;url=x", "<p>a"),
    ("0; URL=\"x\"", "<p>a"),
    ("1;url=x", "<p>a"),
    ("0", "<p>a"),
    ("x", "<p>a"),
    ("0,x", "<p>a"),
    ("0;url=x", "<meta http-equiv=refresh content='0;url=y'>"),
    ("1;url=x", "<meta http-equiv=refresh content='0;url=y'>"),
    ("0;url=x", "<base href=d/>"),
    ("0;url=http://localhost:PORT/row/NUMBER/y", "<p>a"),
    ("0;url=x\r\nRefresh: 0;url=y", "<p>a"),
];
