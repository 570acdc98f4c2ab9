//! Cookie files in the Netscape format that curl and wget read and write.

use std::fmt::Write as _;
use std::path::Path;

use rungs::output_file::{self, FileMode};
use rungs::{Cookie, CookieJar};

use super::exit::Failure;

/// Reads the cookies of a file into every jar.
pub(crate) fn read(path: &Path, jars: &[&CookieJar]) -> Result<(), Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|cause| Failure::Io(format!("-b/--cookie: could not read {}", path.display()), cause))?;
    for (number, line) in text.lines().enumerate() {
        let Some(cookie) = parse(line).map_err(|what| {
            Failure::Usage(format!("-b/--cookie: {}:{}: {what}", path.display(), number + 1))
        })?
        else {
            continue;
        };
        for jar in jars {
            jar.insert(&cookie);
        }
    }
    Ok(())
}

/// Parses one line. Returns `None` for a comment. Errors do not contain values.
fn parse(line: &str) -> Result<Option<Cookie>, &'static str> {
    let (line, http_only) = match line.strip_prefix("#HttpOnly_") {
        Some(rest) => (rest, true),
        None if line.starts_with('#') || line.trim().is_empty() => return Ok(None),
        None => (line, false),
    };
    // The value may contain tabs.
    let fields: Vec<&str> = line.trim_end_matches(['\r', '\n']).splitn(7, '\t').collect();
    let [domain, subdomains, path, secure, expires, name, value] = fields[..] else {
        return Err("expected seven fields separated by tabs");
    };
    let expires: i64 = expires.parse().map_err(|_| "the fifth field is not a time in seconds")?;
    let mut cookie = Cookie::session(name, value, domain.trim_start_matches('.'));
    cookie.host_only = subdomains != "TRUE";
    path.clone_into(&mut cookie.path);
    cookie.secure = secure == "TRUE";
    cookie.expires = (expires != 0).then_some(expires);
    cookie.http_only = http_only;
    Ok(Some(cookie))
}

/// Writes the cookies of all jars to a file that only its owner can read. The latest change of each cookie wins.
pub(crate) fn write(path: &Path, jars: &[&CookieJar]) -> Result<(), Failure> {
    let mut text = String::from("# Netscape HTTP Cookie File\n# Written by rungs. Contains secrets.\n\n");
    let flag = |value: bool| if value { "TRUE" } else { "FALSE" };
    for cookie in CookieJar::merge(jars.iter().copied()).iter().filter(|cookie| fits_in_line(cookie)) {
        let mark = if cookie.http_only { "#HttpOnly_" } else { "" };
        let dot = if cookie.host_only { "" } else { "." };
        let _ = writeln!(
            text,
            "{mark}{dot}{}\t{}\t{}\t{}\t{}\t{}\t{}",
            cookie.domain,
            flag(!cookie.host_only),
            cookie.path,
            flag(cookie.secure),
            cookie.expires.unwrap_or(0),
            cookie.name,
            cookie.value
        );
    }
    let failed = |cause: std::io::Error| {
        Failure::Io(format!("-c/--cookie-jar: could not write {}", path.display()), cause)
    };
    output_file::write(path, text.as_bytes(), FileMode::Private).map_err(failed)
}

/// Whether no part of the cookie ends a field or a line.
fn fits_in_line(cookie: &Cookie) -> bool {
    let is_clean = |text: &str| !text.contains(char::is_control);
    [&cookie.name, &cookie.domain, &cookie.path].into_iter().all(|text| is_clean(text))
        && is_clean(&cookie.value.replace('\t', ""))
}

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
        let values: Vec<http::HeaderValue> = set.iter().map(|text| text.parse().unwrap()).collect();
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

    #[test]
    fn error_names_a_bad_line_without_its_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cookies.txt");
        std::fs::write(&path, "# comment\nsite.example\tTRUE\thunter2\n").unwrap();
        let failure = read(&path, &[]).unwrap_err();
        let Failure::Usage(message) = failure else { panic!("not a usage failure") };
        assert!(message.contains("cookies.txt:2:") && !message.contains("hunter2"), "{message}");
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
            "#HttpOnly_www.site.example\tFALSE\t/\tTRUE\t0\t__Host-Http-e\t1\t2",
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
