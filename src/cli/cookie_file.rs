//! Cookie files in the Netscape format that curl and wget read and write.

use std::io::ErrorKind;
use std::path::Path;

use http::HeaderValue;
use rungs::output_file::{self, FileMode};
use rungs::{Cookie, CookieJar};

use super::exit::Failure;
use super::terminal;

/// Reads the cookies of a file into every jar, as curl does: a missing file is empty, and lines that are not cookies are
/// skipped. Tells the number of each on stderr.
pub(crate) fn read(path: &Path, jars: &[&CookieJar]) -> Result<(), Failure> {
    for message in read_lines(path, jars)? {
        terminal::print_message(&format!("rungs: -b/--cookie: {message}"));
    }
    Ok(())
}

/// Reads the cookies, and returns a message for each line that was skipped. No message contains a value.
fn read_lines(path: &Path, jars: &[&CookieJar]) -> Result<Vec<String>, Failure> {
    let shown = path.display();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(cause) if cause.kind() == ErrorKind::NotFound => {
            return Ok(vec![format!("{shown} does not exist, so it adds no cookies")]);
        }
        Err(cause) => return Err(Failure::Io(format!("-b/--cookie: could not read {shown}"), cause)),
    };
    let skipped = add_lines(&bytes, jars);
    Ok(skipped
        .into_iter()
        .map(|(number, reason)| format!("skipped line {number} of {shown}: {reason}"))
        .collect())
}

/// Adds the cookies of a file. Returns the number of each line that was skipped, and the reason.
pub(crate) fn add_lines(bytes: &[u8], jars: &[&CookieJar]) -> Vec<(usize, &'static str)> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut skipped = Vec::new();
    for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
        let parsed = std::str::from_utf8(line).map_err(|_| "the line is not UTF-8").and_then(parse);
        let added = match parsed {
            Ok(None) => Ok(()),
            Ok(Some(cookie)) if jars.iter().map(|jar| jar.try_insert(&cookie)).min() != Some(false) => Ok(()),
            Ok(Some(_)) => Err("browsers refuse a cookie of this name with these attributes"),
            Err(reason) => Err(reason),
        };
        if let Err(reason) = added {
            skipped.push((number, reason));
        }
    }
    skipped
}

/// Parses one line. Returns `None` for a comment. Errors do not contain values.
fn parse(line: &str) -> Result<Option<Cookie>, &'static str> {
    let line = line.trim_end_matches('\r');
    let (line, http_only) = match line.strip_prefix("#HttpOnly_") {
        Some(rest) => (rest, true),
        None if line.starts_with('#') || line.trim().is_empty() => return Ok(None),
        None => (line, false),
    };
    if line.get(..SET_COOKIE.len()).is_some_and(|start| start.eq_ignore_ascii_case(SET_COOKIE)) {
        return parse_header(line[SET_COOKIE.len()..].trim()).map(Some);
    }
    let mut fields: Vec<&str> = line.split('\t').collect();
    // The path may be missing, and a tab may follow the value.
    if fields.get(2).is_some_and(|field| matches!(*field, "TRUE" | "FALSE")) {
        fields.insert(2, "/");
    }
    if fields.len() == 6 {
        fields.push("");
    }
    if fields.len() == 8 && fields[7].is_empty() {
        fields.pop();
    }
    let [domain, subdomains, path, secure, expires, name, value] = fields[..] else {
        return Err("expected seven fields separated by tabs");
    };
    let domain = domain.trim().trim_start_matches('.');
    if domain.is_empty() {
        return Err("the first field is not a domain");
    }
    if line.replace('\t', "").contains(char::is_control) {
        return Err("it contains a control character");
    }
    let expires = parse_seconds(expires).ok_or("the fifth field is not a time in seconds")?;
    let mut cookie = Cookie::session(name, value, domain);
    cookie.host_only = !subdomains.eq_ignore_ascii_case("TRUE");
    path.clone_into(&mut cookie.path);
    cookie.secure = secure.eq_ignore_ascii_case("TRUE");
    cookie.expires = (expires != 0).then_some(expires);
    cookie.http_only = http_only;
    Ok(Some(cookie))
}

/// Parses the whole seconds of a time. Other programs write a fraction behind them.
fn parse_seconds(text: &str) -> Option<i64> {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// Parses a `Set-Cookie` line, which curl accepts too.
fn parse_header(value: &str) -> Result<Cookie, &'static str> {
    let attributes = value.split(';').skip(1).filter_map(|part| part.split_once('='));
    let domains = attributes.filter(|(name, _)| name.trim().eq_ignore_ascii_case("domain"));
    let domain = domains.last().map(|(_, domain)| domain.trim().trim_start_matches('.')).unwrap_or_default();
    let url =
        rungs::parse_url(&format!("https://{domain}/")).map_err(|_| "`Set-Cookie` without a valid domain")?;
    let value = HeaderValue::from_str(value).map_err(|_| "it contains a control character")?;
    let jar = CookieJar::default();
    jar.store(&url, [&value]);
    jar.list().pop().ok_or("browsers refuse the cookie, or it has expired")
}

/// Writes the cookies of all jars to a file that only its owner can read. A cookie that cannot be read back is left out,
/// which stderr tells.
pub(crate) fn write(path: &Path, jars: &[&CookieJar]) -> Result<(), Failure> {
    let (text, left_out) = format(jars);
    for cookie in left_out {
        let (name, domain) = (cookie.name.escape_debug(), cookie.domain.escape_debug());
        terminal::print_message(&format!(
            "rungs: -c/--cookie-jar: the cookie `{name}` of {domain} does not fit into a cookie file"
        ));
    }
    let failed = |cause: std::io::Error| {
        Failure::Io(format!("-c/--cookie-jar: could not write {}", path.display()), cause)
    };
    output_file::write(path, text.as_bytes(), FileMode::Private).map_err(failed)
}

/// Formats the cookies of all jars. The latest change of each cookie wins. Returns the cookies that cannot be read back
/// apart.
pub(crate) fn format(jars: &[&CookieJar]) -> (String, Vec<Cookie>) {
    let mut left_out = Vec::new();
    let mut text = String::from("# Netscape HTTP Cookie File\n# Written by rungs. Contains secrets.\n\n");
    for cookie in CookieJar::merge(jars.iter().copied()) {
        let line = format_line(&cookie);
        let is_read_back = parse(&line).is_ok_and(|read| read.is_some_and(|read| format_line(&read) == line));
        if is_read_back && !line.contains('\n') {
            text.push_str(&line);
            text.push('\n');
        } else {
            left_out.push(cookie);
        }
    }
    (text, left_out)
}

fn format_line(cookie: &Cookie) -> String {
    let flag = |value: bool| if value { "TRUE" } else { "FALSE" };
    format!(
        "{}{}{}\t{}\t{}\t{}\t{}\t{}\t{}",
        if cookie.http_only { "#HttpOnly_" } else { "" },
        if cookie.host_only { "" } else { "." },
        cookie.domain,
        flag(!cookie.host_only),
        cookie.path,
        flag(cookie.secure),
        cookie.expires.unwrap_or(0),
        cookie.name,
        cookie.value
    )
}

const SET_COOKIE: &str = "set-cookie:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_cookies_are_read_back_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cookies.txt");
        let jar = CookieJar::default();
        let url = rungs::parse_url("https://www.site.example/").unwrap();
        let set = ["a=1; Domain=site.example; HttpOnly; Max-Age=100", "b=2; Secure; Path=/x"];
        let values: Vec<HeaderValue> = set.iter().map(|text| text.parse().unwrap()).collect();
        jar.store(&url, &values);
        write(&path, &[&jar]).unwrap();
        let copy = CookieJar::default();
        read(&path, &[&copy]).unwrap();
        let plain = |jar: &CookieJar| {
            jar.list()
                .into_iter()
                .map(|c| (c.name, c.value, c.domain, c.host_only, c.secure))
                .collect::<Vec<_>>()
        };
        assert_eq!(plain(&jar), plain(&copy));
    }

    /// Reads a file. Returns the names and values of the cookies, sorted, and the messages.
    fn read_text(text: &[u8]) -> (String, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cookies.txt");
        std::fs::write(&path, text).unwrap();
        let jar = CookieJar::default();
        let messages = read_lines(&path, &[&jar]).unwrap();
        let mut pairs: Vec<String> = jar.list().iter().map(|c| format!("{}={}", c.name, c.value)).collect();
        pairs.sort_unstable();
        (pairs.join(" "), messages)
    }

    /// The results are those of curl, except that a `Set-Cookie` line needs a domain and a BOM is skipped.
    #[test]
    fn lines_are_read_as_curl_reads_them() {
        for (line, pair) in [
            ("a.example\tFALSE\t/\tFALSE\t1893456000.5\tfraction\t1", "fraction=1"),
            ("a.example\tFALSE\t/\tFALSE\t1893456000000\tmillis\t1", "millis=1"),
            ("a.example\tFALSE\t/\tFALSE\t0\tempty\t", "empty="),
            ("a.example\tFALSE\t/\tFALSE\t0\tnoval", "noval="),
            ("a.example\tFALSE\t/\tFALSE\t 0\tspace\t1", "space=1"),
            ("a.example\tFALSE\tFALSE\t0\tnopath\t1", "nopath=1"),
            ("a.example\ttrue\t/\ttrue\t0\tlower\t1", "lower=1"),
            ("a.example\tFALSE\t/\tFALSE\t0\ttrailtab\t1\t", "trailtab=1"),
            (" a.example\tFALSE\t/\tFALSE\t0\tlead\t1", "lead=1"),
            ("a.example\tFALSE\t\tFALSE\t0\temptypath\t1", "emptypath=1"),
            ("a.example\tFALSE\tx\tFALSE\t0\trelpath\t1", "relpath=1"),
            ("a.example\tFALSE\t/\tFALSE\t0\tquoted\t\"a b\"", "quoted=\"a b\""),
            ("a.example\tFALSE\t/\tFALSE\t0\tcr\t1\r", "cr=1"),
            ("#HttpOnly_a.example\tFALSE\t/\tFALSE\t0\tho\t1", "ho=1"),
            ("Set-Cookie: hdr=1; domain=.a.example; path=/", "hdr=1"),
            ("\u{feff}a.example\tFALSE\t/\tFALSE\t0\tbom\t1", "bom=1"),
            ("# comment", ""),
            ("#comment\tFALSE\t/\tFALSE\t0\tc\t1", ""),
            ("", ""),
            ("a.example\tFALSE\t/\tFALSE\t1\texpired\t1", ""),
        ] {
            assert_eq!(read_text(line.as_bytes()), (pair.to_owned(), vec![]), "{line:?}");
        }
    }

    #[test]
    fn each_skipped_line_is_reported_with_its_number_and_without_its_value() {
        let good = "a.example\tFALSE\t/\tFALSE\t0\tgood\t1";
        for (line, reason) in [
            ("a.example\tTRUE\thunter2", "seven fields"),
            ("a.example FALSE / FALSE 0 a hunter2", "seven fields"),
            ("a.example\tFALSE\t/\tFALSE\t0\ta\thunter2\tb", "seven fields"),
            ("a.example\tFALSE\t/\tFALSE\t-1\ta\thunter2", "not a time"),
            ("a.example\tFALSE\t/\tFALSE\t\ta\thunter2", "not a time"),
            ("a.example\tFALSE\t/\tFALSE\tsoon\ta\thunter2", "not a time"),
            ("a.example\tFALSE\t/\tFALSE\t99999999999999999999\ta\thunter2", "not a time"),
            ("\tFALSE\t/\tFALSE\t0\ta\thunter2", "not a domain"),
            ("a.example\tFALSE\t/\tFALSE\t0\ta\thunter2\u{1}", "control character"),
            ("a.example\tFALSE\t/\tFALSE\t0\t__Secure-a\thunter2", "browsers refuse"),
            ("Set-Cookie: a=hunter2", "without a valid domain"),
        ] {
            let (pairs, messages) = read_text(format!("# x\n{line}\n{good}\n").as_bytes());
            assert_eq!(pairs, "good=1", "{line:?}");
            assert_eq!(messages.len(), 1, "{line:?}");
            let message = &messages[0];
            assert!(
                message.starts_with("skipped line 2 of ") && message.contains(reason),
                "{line:?}: {message}"
            );
            assert!(!message.contains("hunter2"), "{message}");
        }
        let (pairs, messages) =
            read_text(&[b"a.example\tFALSE\t/\tFALSE\t0\ta\t\xff\n", good.as_bytes()].concat());
        assert_eq!((pairs.as_str(), messages.len()), ("good=1", 1));
    }

    #[test]
    fn a_missing_file_is_reported_and_adds_no_cookies() {
        let folder = tempfile::tempdir().unwrap();
        let messages = read_lines(&folder.path().join("none.txt"), &[]).unwrap();
        assert!(messages.len() == 1 && messages[0].contains("none.txt does not exist"), "{messages:?}");
        assert!(read_lines(folder.path(), &[]).is_err(), "a folder is not a file");
    }

    #[test]
    fn a_cookie_that_cannot_be_read_back_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cookies.txt");
        let jar = CookieJar::default();
        for (name, value) in [
            ("tab", "a\tb"),
            ("line", "a\nb"),
            ("bell", "\u{7}"),
            ("good", "a b=\"c\""),
            ("", "nameless"),
            ("e", ""),
        ] {
            jar.insert(&Cookie::session(name, value, "a.example"));
        }
        write(&path, &[&jar]).unwrap();
        let copy = CookieJar::default();
        assert_eq!(read_lines(&path, &[&copy]).unwrap(), [""; 0]);
        let names: Vec<String> = copy.list().into_iter().map(|cookie| cookie.name).collect();
        assert_eq!(names, ["good", "", "e"]);
    }

    #[test]
    fn a_file_holds_no_cookie_that_reaches_strangers_or_breaks_its_prefix() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cookies.txt");
        let lines = [
            ".co.uk\tTRUE\t/\tFALSE\t0\tsuffix\t1",
            ".kawasaki.jp\tTRUE\t/\tFALSE\t0\twildcard\t1",
            "www.site.example\tFALSE\t/\tFALSE\t0\t__secure-a\t1",
            ".site.example\tTRUE\t/\tTRUE\t0\t__HOST-b\t1",
            "www.site.example\tFALSE\t/\tTRUE\t0\t__Http-c\t1",
            "www.site.example\tFALSE\t/\tTRUE\t0\t\t__Host-d=1",
            "#HttpOnly_www.site.example\tFALSE\t/\tTRUE\t0\t__Host-Http-e\t1",
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        let jar = CookieJar::default();
        read(&path, &[&jar]).unwrap();
        write(&path, &[&jar]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let written: Vec<&str> = text.lines().filter(|line| line.contains('\t')).collect();
        assert_eq!(
            written,
            [
                "co.uk\tFALSE\t/\tFALSE\t0\tsuffix\t1",
                "kawasaki.jp\tFALSE\t/\tFALSE\t0\twildcard\t1",
                lines[6],
            ]
        );
    }
}
