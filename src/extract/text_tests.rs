use super::Extractor;

#[test]
fn the_text_is_that_of_inner_text_in_chromium() {
    let mut wrong = Vec::new();
    for (page, expected) in PAGES {
        let page = format!("<!doctype html>{page}");
        let data = Extractor::new().text(true).extract(&page, &"http://a.test/".parse().unwrap());
        if data.text.as_deref() != Some(expected) {
            wrong.push((page, data.text, expected));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn elements_that_are_hidden_from_readers_are_left_out() {
    let page =
        "<p aria-hidden=true>a</p><b aria-hidden=TRUE>b</b><i aria-hidden=false>c</i><noscript>d</noscript>";
    let data = Extractor::new().text(true).extract(page, &"http://a.test/".parse().unwrap());
    assert_eq!(data.text.unwrap(), "cd");
}

#[test]
fn a_deep_page_is_read_to_its_end() {
    for open in ["<div>", "<b>", "<x-a><template shadowrootmode=open><slot></slot></template>"] {
        let page = format!("first{}", open.repeat(10_000));
        let data = Extractor::new().text(true).extract(&page, &"http://a.test/".parse().unwrap());
        assert!(data.text.unwrap().starts_with("first"), "{open}");
    }
}

/// Pages, and `document.body.innerText` of them in Chromium 156.
const PAGES: [(&str, &str); 58] = [
    (
        "<h1>One</h1><p>two <b>three</b>,\n four</p><ul><li>a<li>b</ul><table><tr><td>1<td>2</table><p hidden>no</p><p>a<br>b</p>",
        "One\n\ntwo three, four\n\na\nb\n1\t2\n\na\nb",
    ),
    ("<pre>a\n  b\n\nc</pre>x<pre>\n\nq\n</pre>", "a\n  b\n\nc\nx\n\nq\n"),
    (
        "<div style='white-space:pre'>a\n  b  </div><div style='white-space: pre-line'>a\n   b   c</div><div style='white-space:pre-wrap'>x\n  y</div><span style='white-space:nowrap'>a\n b</span>",
        "a\n  b  \na\nb c\nx\n  y\na b",
    ),
    (
        "<div>a<span style='display:none'>n</span>b</div><div style='visibility:hidden'>x<b style='visibility:visible'>v</b></div><p hidden=until-found>uf</p>c",
        "ab\nvc",
    ),
    (
        "<div style='DISPLAY : None !important'>x</div>y<div style='display:none;display:block'>z</div><div hidden style='display:block'>w</div>",
        "y\nz\nw",
    ),
    (
        "<select><option>a<option selected>b</select>x<select><optgroup label=g><option>c</select><textarea>t\nu</textarea><input value=v><button>btn</button><datalist><option>q</datalist>",
        "a\nb\nx\nc\nbtn",
    ),
    (
        "<details><summary>s</summary>c</details><details open><summary>s2</summary>c2</details>x",
        "s\ns2\nc2\nx",
    ),
    (
        "<table><caption>cap</caption><thead><tr><th>h1<th>h2</thead><tbody><tr><td>1</td> <td>2</td></tr><tr><td>3<td>4</tbody></table>after",
        "cap\nh1\th2\n1\t2\n3\t4\nafter",
    ),
    ("a<p>b</p><p>c</p>d<div>e</div><div><div>f</div></div>g", "a\n\nb\n\nc\n\nd\ne\nf\ng"),
    ("<div>a</div><br><div>b</div>c<br><br>d<br>", "a\n\n\nb\nc\n\nd\n"),
    (
        "<svg><text>svgt</text><title>t</title></svg><iframe srcdoc=x>y</iframe><object>obj</object><audio>au</audio><video>vi</video><canvas>ca</canvas><template>te</template><script>s</script><style>q</style>z",
        "svgt\nz",
    ),
    ("a&nbsp;b &nbsp; c\u{3000}d", "a\u{a0}b \u{a0} c\u{3000}d"),
    ("<span>a</span><span> b</span> <span> c </span>d <b> e</b>", "a b c d e"),
    (
        "<ul><li>a<ul><li>b</ul><li>c</ul><dl><dt>t<dd>d</dl><hr>x<h2>h</h2>y<blockquote>q</blockquote>",
        "a\nb\nc\nt\nd\nx\nh\ny\nq",
    ),
    (
        "<div style='display:inline'>a</div><div style='display:inline-block'>b</div><span style='display:block'>c</span>d<p style='display:inline'>e</p><p style='display:none'>f</p>g",
        "ab\nc\nd\n\ne\n\ng",
    ),
    (
        "<p style='text-transform:uppercase'>abc</p><span style='text-transform:capitalize'>one two</span>",
        "ABC\n\nOne Two",
    ),
    (
        "<ruby>a<rt>b</rt><rp>(</rp></ruby><dialog>dl</dialog><dialog open>dlo</dialog><fieldset><legend>l</legend>f</fieldset><label>la</label><img alt=alt><map>m</map>",
        "ab\ndlo\nl\nf\nlam",
    ),
    ("<p>a</p> <p> b </p>\n\n<p></p><p>c</p>", "a\n\nb\n\nc"),
    (
        "<table><tr><td><p>a</p><td>b<tr><td><table><tr><td>x<td>y</table><td>z</table>",
        "a\n\n\tb\n\nx\ty\n\tz",
    ),
    (
        "a<table><tr><td>1</table>b<div style='display:flex'><span>f1</span><span>f2</span></div><div style='display:grid'><i>g1</i><i>g2</i></div>",
        "a\n1\nb\nf1\nf2\ng1\ng2",
    ),
    (
        "<div style='display:table'><div style='display:table-row'><div style='display:table-cell'>a</div><div style='display:table-cell'>b</div></div></div>",
        "a\tb",
    ),
    ("<div style='display:contents'>a</div>b<div style='content-visibility:hidden'>cv</div><li>x", "ab\nx"),
    ("<button>a<div>b</div></button>c<button>d</button>", "a\nb\ncd"),
    ("<center>a</center><listing>x\n y</listing><xmp>q <b></xmp><plaintext>r\ns", "a\nx\n y\nq <b>\nr\ns"),
    ("a<wbr>b<br>  c <br> d", "ab\nc\nd"),
    ("<pre>a<span hidden>x</span>\n</pre><p>b", "a\n\n\nb"),
    (
        "<pre>a\n</pre>b<div>x\n</div><pre>\ta\tb</pre><div style='white-space:pre'>  a</div>",
        "a\n\nb\nx\n\ta\tb\n  a",
    ),
    (
        "<p style='visibility:hidden'>a</p>b<p hidden>c</p>d<div style='visibility:hidden'><p>x</p></div>e",
        "bde",
    ),
    (
        "<div style='display:list-item'>a</div><span style='float:left'>b</span>c<span style='position:absolute'>d</span>e",
        "a\nb\nc\nd\ne",
    ),
    (
        "<div style='white-space:break-spaces'>a  b\nc</div><div style='white-space-collapse:preserve'>a\n b</div><pre style='white-space:normal'>a\n b</pre>",
        "a  b\nc\na\n b\na b",
    ),
    (
        "<table><tr><td>a</td></tr></table><table><tr><td>b</td></tr></table>c<table hidden><tr><td>q</table><table><tr><td>1<td hidden>2<td>3<tr hidden><td>4<tr><td>5</table>",
        "a\nb\nc\n1\t3\n5",
    ),
    ("x<input type=button value=bb><input type=submit>y", "xy"),
    (
        "\u{3042}\n\u{3044}<p>\u{6f22} \n \u{5b57}<p>a\n\u{3042}",
        "\u{3042} \u{3044}\n\n\u{6f22} \u{5b57}\n\na \u{3042}",
    ),
    ("<button> a </button><button> b </button> x <button> c </button> y", "ab x c y"),
    ("<meter>m</meter><progress>p</progress><output>o</output><div popover>pop</div>", "o"),
    ("<div style='display:flex'>text<span> a </span> <b>b</b></div>", "text\na\nb"),
    ("<label>a</label> <input> <b>b</b>", "a  b"),
    ("<pre>line1\nline2  <b>x</b>\n</pre>\n<p>y</p>", "line1\nline2  x\n\n\ny"),
    ("a <span style='white-space:pre'>  b </span> c", "a   b  c"),
    ("<div>x</div> <span> y</span>\n<div> z </div>", "x\ny\nz"),
    ("<select><option>a</option><option hidden>b</option></select><p>q</p><select></select>", "a\nb\n\nq"),
    ("a<details><summary>s</summary><p>x</p></details>b<details>c</details>d", "a\ns\nb\nd"),
    ("<body style='visibility:hidden'>x<p>y</p>", ""),
    ("<p>a<br></p><p>b</p><div>c<br></div>d", "a\n\n\nb\n\nc\n\nd"),
    (
        "<svg><defs><text>d</text></defs><text>a</text><text>b</text><g><desc>x</desc></g><foreignObject><p>fo</p></foreignObject></svg>z",
        "d\na\nb\n\nfo\n\nz",
    ),
    (
        "<div style=\"background:url('a;display:none')\">q</div><div style='/*x*/display/**/:/**/none'>w</div><div style='--x:{display:none}'>e</div><div style='DISPLAY:NONE'>r</div>",
        "q\ne",
    ),
    ("<table>stray<tr><td>c</table>", "stray\nc"),
    ("<div hidden=until-found>a</div><span hidden=until-found>b</span>c", "bc"),
    (
        "<div style='display:-webkit-box'><span>f</span><span>g</span></div><div style='display:inline-flex'><span>h</span><span>i</span></div>j",
        "fg\nh\ni\nj",
    ),
    ("<fieldset>\n<legend>L</legend>\n<input>\n</fieldset><p></p><div></div>k", "L\n\nk"),
    (
        "\n\n<h1>Title</h1>\n<p>Para one\nwraps.</p>\n<ul>\n <li>x</li>\n <li><a>y</a> z</li>\n</ul>\n<footer>f</footer>\n",
        "Title\n\nPara one wraps.\n\nx\ny z\nf",
    ),
    ("<p>a</p><br><p>b</p><br><br>c", "a\n\n\n\n\nb\n\n\n\nc"),
    ("a <select><option>o</select> b", "a \no\n b"),
    ("a <select></select> b", "a  b"),
    ("a <img> b <video>x</video> c", "a  b  c"),
    ("<input type=hidden>a <input type=hidden> b", "a b"),
    ("<div>a <div hidden=until-found>x</div> b</div>", "ab"),
    ("<p>x <span style='display:inline-block'> in </span> y</p>", "x in y"),
];
