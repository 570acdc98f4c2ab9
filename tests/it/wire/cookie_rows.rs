//! The Set-Cookie lines that the HTTP tiers and Chromium are compared with.

/// Requests in order. Each row has a site of its own, so that it does not affect the others.
pub(super) struct Row {
    pub steps: Vec<Step>,
}

/// One request, and the Set-Cookie lines of its response.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub scheme: &'static str,
    pub host: String,
    pub path: String,
    pub set: Vec<String>,
}

impl Step {
    pub(super) fn get(scheme: &'static str, host: &str, path: &str) -> Self {
        Self { scheme, host: host.to_owned(), path: path.to_owned(), set: Vec::new() }
    }

    fn set(scheme: &'static str, host: &str, path: &str, lines: &[&str]) -> Self {
        Self { set: lines.iter().map(|&line| line.to_owned()).collect(), ..Self::get(scheme, host, path) }
    }
}

/// All rows. `SITE` stands for the site of a row.
pub(super) fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    let long = [
        format!("a=1; Path=/{}", "x".repeat(1023)),
        format!("a=1; Path=/{}", "x".repeat(1024)),
        format!("a=1; Path=/a; Path=/{}", "x".repeat(1100)),
        format!("a=1{}; Max-Age=0", "; x=y".repeat(30)),
        format!("a={}", "x".repeat(4095)),
        format!("a={}", "x".repeat(4096)),
        "x".repeat(4096),
        "x".repeat(4097),
    ];
    let lines = LINES.iter().copied().chain(long.iter().map(String::as_str));
    let dates = DATES.iter().map(|date| format!("a=1; Expires={date}")).collect::<Vec<_>>();
    for line in lines.chain(dates.iter().map(String::as_str)) {
        for scheme in ["https", "http"] {
            let mut steps = vec![Step::set(scheme, "www.SITE", "/a/b", &[line])];
            steps.push(Step::get("https", "www.SITE", "/a/b"));
            steps.push(Step::get("http", "www.SITE", "/a/b"));
            for host in ["SITE", "x.www.SITE", "other.SITE", "notSITE"] {
                steps.push(Step::get(scheme, host, "/a/b"));
            }
            rows.push(Row { steps });
        }
    }
    for lines in ORDER {
        let get = Step::get("https", "www.SITE", "/a/b");
        rows.push(Row { steps: vec![Step::set("https", "www.SITE", "/a/b", lines), get] });
    }
    for (secure, host, line) in SHADOWS {
        let path = if line.contains("/ab") { "/ab" } else { "/a/b" };
        rows.push(Row {
            steps: vec![
                Step::set("https", "www.SITE", "/a/b", &[secure]),
                Step::set("http", host, path, &[line]),
                Step::get("https", "www.SITE", "/a/b"),
                Step::get("https", host, path),
                Step::get("http", host, path),
                Step::get("http", "SITE", path),
            ],
        });
    }
    rows.extend(suffix_rows());
    rows.extend(local_rows());
    for (number, row) in rows.iter_mut().enumerate() {
        for step in &mut row.steps {
            let site = format!("r{number}.example");
            step.host = step.host.replace("SITE", &site);
            step.set.iter_mut().for_each(|line| *line = line.replace("SITE", &site));
        }
    }
    rows
}

/// Public suffixes, wildcards and exceptions of the list. These hosts are shared, so each row has a name of its own.
fn suffix_rows() -> Vec<Row> {
    let row = |(number, (host, domain)): (usize, &(&'static str, &str))| {
        let line = format!("s{number}=1; Domain={domain}");
        let mut steps = vec![Step::set("https", host, "/", &[&line])];
        steps.extend(SUFFIX_HOSTS.iter().map(|host| Step::get("https", host, "/")));
        Row { steps }
    };
    SUFFIX_DOMAINS.iter().enumerate().map(row).collect()
}

/// Hosts on this machine, where http may set and receive Secure cookies.
fn local_rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for host in ["localhost", "SITE.localhost", "127.0.0.1", "localhost."] {
        for (number, line) in LOCAL_LINES.iter().enumerate() {
            let line = line.replace("a=", &format!("a{number}="));
            let mut steps = vec![Step::set("http", host, "/a", &[&line]), Step::get("http", host, "/a")];
            // Chromium keeps the partition of http apart from that of https. The jar has no partitions.
            if !line.contains("Partitioned") {
                steps.push(Step::get("https", host, "/a"));
            }
            rows.push(Row { steps });
        }
    }
    rows
}

const LINES: [&str; 124] = [
    "a=1",
    "a=",
    "a",
    "=v",
    "==v",
    "=a=b",
    " a = 1 ",
    "a\t=\t1",
    "a b=1",
    "a=1 2",
    "a=\"q\"",
    "a=\" q \"",
    "a=1, b=2",
    "a=b=c",
    "a=x\ty",
    "a\tb=1",
    "=\tv",
    "a=\u{e9}",
    "\u{3a9}=1",
    "; a=1",
    "=; a=1",
    "=",
    "a=1;;;; Path=/",
    "a=1; =x",
    "a=1; foo\tbar=x",
    "a=1; foo=b\tc",
    "a=1; \tPath\t=\t/\t",
    "a=1; ",
    "a'()<>@,:/[]?{}=1",
    // Prefixes.
    "__Secure-a=1",
    "__Secure-a=1; Secure",
    "__SeCuRe-a=1",
    "__secure-a=1; Secure",
    "__Secure-a=1; Secure; Domain=SITE",
    "__Host-a=1; Secure",
    "__Host-a=1; Secure; Path=/",
    "__host-a=1; Path=/",
    "__HOST-a=1; Secure; Path=/",
    "__Host-a=1; Secure; Path=/; Domain=",
    "__Host-a=1; Secure; Path=/; Domain=www.SITE",
    "__Host-a=1; Secure; Path=/a",
    "__Host-a=1; Secure; Path=//",
    "__Host-a=1; Secure; Path=/; Path=/a",
    "__Host-a=1; Secure; Path=",
    "__Http-a=1; Secure",
    "__Http-a=1; Secure; HttpOnly",
    "__http-a=1; HttpOnly",
    "__HTTP-a=1; Secure",
    "__Host-Http-a=1; Secure; HttpOnly; Path=/",
    "__Host-Http-a=1; Secure; Path=/",
    "__host-http-a=1; Secure; HttpOnly",
    "__Host-Http-a=1; Secure; HttpOnly; Path=/; Domain=SITE",
    "__Http-Host-a=1; Secure; HttpOnly",
    "__Host",
    "__Hosta=1",
    "=__Host-a",
    "=__Host-a=1; Secure; Path=/",
    "__Host-a",
    "= __hOsT-a",
    "__Secure-a",
    "=__Secure-a; Secure",
    "__Http-a; Secure; HttpOnly",
    "__Host-Http-a",
    "_Host-a=1",
    " __Host-a=1",
    "a=__Host-b",
    "\u{e9}__Host-a=1",
    // SameSite, Secure and Partitioned.
    "a=1; Secure",
    "a=1; secure=false",
    "a=1; Secure; HttpOnly",
    "a=1; HttpOnly",
    "a=1; SameSite=None",
    "a=1; SameSite=none; Secure",
    "a=1; SAMESITE = nOnE",
    "a=1; SameSite=bogus",
    "a=1; SameSite=None; SameSite=Lax",
    "a=1; SameSite=Lax; SameSite=None",
    "a=1; SameSite=None; SameSite",
    "a=1; SameSite=Strict",
    "a=1; SameSite=Lax",
    "a=1; Partitioned",
    "a=1; Partitioned; Secure",
    "a=1; Partitioned; Secure; Path=/; SameSite=None",
    "a=1; Secure; SameSite=\"None\"",
    "a=1; SameSite=\"None\"",
    // Domains.
    "a=1; Domain=SITE",
    "a=1; Domain=.SITE",
    "a=1; Domain=..SITE",
    "a=1; Domain=SITE.",
    "a=1; Domain=\"SITE\"",
    "a=1; Domain= SITE ",
    "a=1; Domain=www.SITE",
    "a=1; Domain=x.www.SITE",
    "a=1; Domain=other.SITE",
    "a=1; Domain=ww.SITE",
    "a=1; Domain=w.SITE",
    "a=1; Domain=SITE; Domain=",
    "a=1; Domain=; Domain=SITE",
    "a=1; Domain",
    "a=1; Domain=.",
    "a=1; Domain=SITE:80",
    "a=1; Domain=SITE%2e",
    "a=1; Domain=example",
    "a=1; Domain=.example",
    "a=1; Domain=notSITE",
    "a=1; Domain=WWW.SITE",
    "a=1; DOMAIN=SITE; Secure",
    "a=1; Domain=\u{e9}.SITE",
    "a=1; Domain=SITE; Domain=other.test",
    // Paths.
    "a=1; Path",
    "a=1; Path=",
    "a=1; Path=x",
    "a=1; Path=/",
    "a=1; Path=/a",
    "a=1; Path=/a/",
    "a=1; Path=/a/b",
    "a=1; Path=/a/b/",
    "a=1; Path=/A",
    "a=1; Path=/%61",
    "a=1; Path=/a/../a",
    "a=1; Path=/a; Path=",
    "a=1; Path=\"/a\"",
    "a=1; Path=/a/b?x",
    "a=1; Path=/a; Path=/b",
];

const DATES: [&str; 45] = [
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "0",
    "",
    "Sun Nov  6 08:49:37 1994",
    "Fri, 01 Jan 2100 00:00:00 GMT",
    "1 jan 1600 1:2:3",
    "1 jan 2000 1:2:60",
    "-1",
    "31 feb 2000 1:2:3",
    "29 feb 2000 1:2:3",
    "29 feb 2001 1:2:3",
    "29 feb 1900 1:2:3",
    "31 apr 2000 1:2:3",
    "1 jan 2000 1:2",
    "\"1 jan 2000 1:2:3\"",
    "1x jan 2000 1:2:3",
    "1x 1 jan 2000 1:2:3",
    "1 jan 2000x 1:2:3",
    "1:2:3 jan 1 2000",
    "32 jan 2000 1:2:3",
    "0 jan 2000 1:2:3",
    "1 jan 0 1:2:3",
    "1 jan 70 1:2:3",
    "1 jan 69 1:2:3",
    "1 jan 2000 1:2:3x",
    "1 jan 2000 1:2:3x 1:2:3",
    "1 jan 2000 0001:2:003",
    "1 jan 2000 1:2:3:4",
    "1 jan 2000 1:+2:3",
    "1 jan 2000 24:0:0",
    "1 jan 2000 24:0:0 1:2:3",
    "1 jan 2000 0:60:0",
    "1 janx 2000 1:2:3",
    "1 xjan 2000 1:2:3",
    "001 jan 2000 1:2:3",
    "1 jan 001999 1:2:3",
    "1 jan 19999 1:2:3",
    "99 1 jan 2000 1:2:3",
    "1 jan 2000 5 1:2:3",
    "1.jan.2000 1:2:3.5",
    "1\u{e9} jan 2000 1:2:3",
    "1 jan 2000 1:2:3; Max-Age=60",
    "1 jan 2000 1:2:3; Max-Age=x",
];

/// Several lines in one response.
const ORDER: [&[&str]; 19] = [
    &["a=1", "b=1", "a=2"],
    &["a=1", "b=1", "a=1"],
    &["a=1", "b=1", "a=; Max-Age=0"],
    &["a=1", "a=2; Domain=www.SITE"],
    &["a=1", "a=2; Domain=SITE", "a=3; Domain=SITE", "a=4"],
    &["a=1; Domain=SITE", "a=; Domain=SITE; Max-Age=0"],
    &["a=1; Domain=SITE", "a=; Max-Age=0"],
    &["z=1; Path=/", "y=1; Path=/a", "x=1; Path=/a/b", "w=1; Path=/a/"],
    &["x", "y", "=z"],
    &["x", "a=", "=; Max-Age=0"],
    &["a=1; Max-Age=0"],
    &["a=1; Max-Age=+60"],
    &["a=1; Max-Age=-1"],
    &["a=1; Max-Age=99999999999999999999", "b=1; Max-Age=-99999999999999999999"],
    &["a=1; Max-Age=\"0\"", "b=1; Max-Age=-", "c=1; Max-Age=0.5", "d=1; Max-Age=00", "e=1; Max-Age=-0"],
    &["a=1; Max-Age=0; Max-Age=5", "b=1; Max-Age=5; Max-Age=0", "c=1; Max-Age=0; Max-Age="],
    &["__Secure-a=1; Secure", "__Secure-a=2", "__secure-a=3; Secure"],
    &["a=1; Secure", "a=2"],
    &["a=1; HttpOnly", "a=2"],
];

/// A Secure cookie, then a host and the line of its response over http.
const SHADOWS: [(&str, &str, &str); 22] = [
    ("a=1; Secure", "www.SITE", "a=2"),
    ("a=1; Secure", "www.SITE", "a=2; Max-Age=0"),
    ("a=1; Secure", "www.SITE", "a=2; Domain=www.SITE"),
    ("a=1; Secure", "www.SITE", "a=2; Domain=SITE"),
    ("a=1; Secure", "www.SITE", "a=2; Path=/"),
    ("a=1; Secure; Path=/", "www.SITE", "a=2; Path=/a/b"),
    ("a=1; Secure; Path=/a/b", "www.SITE", "a=2; Path=/a"),
    ("a=1; Secure; Path=/a", "www.SITE", "a=2; Path=/ab"),
    ("a=1; Secure; Path=/a/", "www.SITE", "a=2; Path=/a"),
    ("a=1; Secure; Domain=SITE", "www.SITE", "a=2"),
    ("a=1; Secure; Domain=SITE", "x.SITE", "a=2"),
    ("a=1; Secure; Domain=SITE", "SITE", "a=2"),
    ("a=1; Secure; Domain=SITE", "x.www.SITE", "a=2; Domain=www.SITE"),
    ("a=1; Secure", "SITE", "a=2"),
    ("a=1; Secure", "SITE", "a=2; Domain=SITE"),
    ("a=1; Secure", "x.SITE", "a=2"),
    ("a=1; Secure", "x.www.SITE", "a=2"),
    ("a=1; Secure", "x.www.SITE", "a=2; Domain=www.SITE"),
    ("a=1; Secure", "www.SITE", "A=2"),
    ("x; Secure", "www.SITE", "y"),
    ("__Host-a=1; Secure; Path=/", "www.SITE", "__Host-a=2; Path=/"),
    ("a=1", "www.SITE", "a=2"),
];

/// A host, and the domain that it sets a cookie for.
const SUFFIX_DOMAINS: [(&str, &str); 20] = [
    ("kawasaki.jp", "kawasaki.jp"),
    ("kawasaki.jp", ".kawasaki.jp"),
    ("city.kawasaki.jp", "kawasaki.jp"),
    ("city.kawasaki.jp", "city.kawasaki.jp"),
    ("x.city.kawasaki.jp", "city.kawasaki.jp"),
    ("x.city.kawasaki.jp", "kawasaki.jp"),
    ("b.kawasaki.jp", "b.kawasaki.jp"),
    ("b.kawasaki.jp", "kawasaki.jp"),
    ("a.b.kawasaki.jp", "b.kawasaki.jp"),
    ("a.b.kawasaki.jp", "kawasaki.jp"),
    ("a.b.kawasaki.jp", "a.b.kawasaki.jp"),
    ("a.b.kawasaki.jp", "jp"),
    ("shop.co.uk", "co.uk"),
    ("shop.co.uk", "uk"),
    ("shop.co.uk", "shop.co.uk"),
    ("co.uk", "co.uk"),
    ("co.uk", "uk"),
    ("www.ck", "www.ck"),
    ("www.ck", "ck"),
    ("a.b.ck", "b.ck"),
];

const SUFFIX_HOSTS: [&str; 8] = [
    "kawasaki.jp",
    "city.kawasaki.jp",
    "y.city.kawasaki.jp",
    "b.kawasaki.jp",
    "c.b.kawasaki.jp",
    "co.uk",
    "www.shop.co.uk",
    "x.www.ck",
];

const LOCAL_LINES: [&str; 9] = [
    "a=1",
    "a=1; Secure",
    "__Secure-a=1; Secure",
    "__Host-a=1; Secure; Path=/",
    "__Http-a=1; Secure; HttpOnly",
    "a=1; Secure; SameSite=None",
    "a=1; Domain=localhost",
    "a=1; Domain=.127.0.0.1",
    "a=1; Secure; Partitioned",
];
