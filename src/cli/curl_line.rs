//! Expands `--from-curl`: a curl command line, as DevTools copies it, becomes arguments of `rungs fetch`.

mod cmd;
mod posix;

use std::ffi::OsString;
use std::io::Read;

use super::exit::Failure;

/// Replaces `--from-curl LINE` among the arguments of `rungs fetch` by the arguments of the line.
pub(crate) fn expand(args: impl Iterator<Item = OsString>) -> Result<Vec<OsString>, Failure> {
    let mut out: Vec<OsString> = Vec::new();
    let mut args = args.peekable();
    while let Some(argument) = args.next() {
        let is_fetch =
            out.iter().skip(1).any(|before| before == "fetch") && !out.iter().any(|before| before == "--");
        let text = argument.to_str().filter(|_| is_fetch);
        let line = match text {
            Some("--from-curl") if args.peek().is_some() => args.next(),
            Some(text) => text.strip_prefix("--from-curl=").map(OsString::from),
            None => None,
        };
        let Some(line) = line else {
            out.push(argument);
            continue;
        };
        let line = line.into_string().map_err(|_| invalid("it is not valid UTF-8"))?;
        out.extend(to_arguments(&read_line(&line)?)?.into_iter().map(OsString::from));
    }
    Ok(out)
}

/// Returns the line itself, or the content of `@FILE` or stdin (`-`).
fn read_line(text: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = match (text, text.strip_prefix('@')) {
        ("-" | "@-", _) => std::io::stdin().take(MAX_LINE).read_to_end(&mut bytes),
        (_, Some(file)) => {
            std::fs::File::open(file).and_then(|file| file.take(MAX_LINE).read_to_end(&mut bytes))
        }
        _ => return Ok(text.to_owned()),
    };
    read.map_err(|cause| Failure::Io(format!("--from-curl: could not read {text}"), cause))?;
    String::from_utf8(bytes).map_err(|_| invalid("it is not valid UTF-8"))
}

/// Converts a curl command line to arguments.
fn to_arguments(line: &str) -> Result<Vec<String>, Failure> {
    let words = if cmd::is_cmd(line) { cmd::split(line) } else { posix::split(line).map_err(invalid)? };
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_default();
    let name = program.rsplit(['/', '\\']).next().unwrap_or_default().to_ascii_lowercase();
    if !matches!(name.as_str(), "curl" | "curl.exe") {
        return Err(invalid("it does not begin with `curl`"));
    }
    let mut out = Vec::new();
    while let Some(word) = words.next() {
        if IGNORED.contains(&word.as_str()) {
            continue;
        }
        match word.as_str() {
            "--url" => out.extend(words.next()),
            "-H" | "--header" => {
                let header = words.next().ok_or_else(|| invalid("a header is missing after -H"))?;
                // The length is derived from the body.
                if !header.to_ascii_lowercase().starts_with("content-length:") {
                    out.extend(["-H".to_owned(), header]);
                }
            }
            _ if word.starts_with('-') && !word.starts_with("--") => {
                let (word, needs_value) = without_ignored(&word);
                out.extend(word);
                if needs_value {
                    out.extend(words.next());
                }
            }
            _ if word.starts_with("--") => {
                let takes_value = VALUES.contains(&word.as_str());
                out.push(word);
                if takes_value {
                    out.extend(words.next());
                }
            }
            _ => out.push(word),
        }
    }
    Ok(out)
}

/// Removes the letters of flags that change nothing from a word such as `-sSLo`. Also returns whether the last flag takes
/// the next word as its value.
fn without_ignored(word: &str) -> (Option<String>, bool) {
    let mut kept = String::new();
    for (at, letter) in word.char_indices().skip(1) {
        if IGNORED_LETTERS.contains(letter) {
            continue;
        }
        kept.push(letter);
        if VALUE_LETTERS.contains(letter) {
            let value = &word[at + letter.len_utf8()..];
            kept.push_str(value);
            return (Some(format!("-{kept}")), value.is_empty());
        }
    }
    ((!kept.is_empty()).then(|| format!("-{kept}")), false)
}

fn invalid(problem: &str) -> Failure {
    Failure::Usage(format!("--from-curl: the line is not a curl command: {problem}"))
}

/// Flags of curl that change nothing here: redirects are followed, content codings are decoded, and there is no progress.
const IGNORED: [&str; 13] = [
    "--compressed",
    "--location",
    "--silent",
    "--show-error",
    "--no-progress-meter",
    "--progress-bar",
    "--globoff",
    "--no-buffer",
    "--verbose",
    "--no-keepalive",
    "--tcp-nodelay",
    "--ssl-reqd",
    "--http2-prior-knowledge",
];
const IGNORED_LETTERS: &str = "sSLgNv#";
/// The letters of flags with a value.
const VALUE_LETTERS: &str = "XHdAbceFuUxmoETCzrw";
/// The long flags with a value that DevTools and users write.
const VALUES: [&str; 30] = [
    "--request",
    "--data",
    "--data-ascii",
    "--data-raw",
    "--data-binary",
    "--data-urlencode",
    "--json",
    "--form",
    "--form-string",
    "--user-agent",
    "--cookie",
    "--cookie-jar",
    "--referer",
    "--user",
    "--proxy",
    "--proxy-user",
    "--noproxy",
    "--max-time",
    "--connect-timeout",
    "--output",
    "--cert",
    "--key",
    "--cert-type",
    "--pass",
    "--cacert",
    "--resolve",
    "--upload-file",
    "--continue-at",
    "--time-cond",
    "--retry",
];
/// The maximum size of a line.
const MAX_LINE: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Vec<String> {
        to_arguments(line).unwrap()
    }

    #[test]
    fn a_line_for_bash_becomes_arguments() {
        let line = "curl 'https://a.example/x?y=1' \\\n  -X 'PUT' \\\n  -H 'accept: */*' \\\r\n  -H $'x-a: it\\'s \\u0021\\x41\\n' \\\n  \
            -b 'a=1; b=2' \\\n  -H 'Content-Length: 3' \\\n  --data-raw $'{\"a\":\"\\u00fc\\\\\"}' \\\n  --compressed --insecure";
        assert_eq!(
            arguments(line),
            [
                "https://a.example/x?y=1",
                "-X",
                "PUT",
                "-H",
                "accept: */*",
                "-H",
                "x-a: it's !A\n",
                "-b",
                "a=1; b=2",
                "--data-raw",
                "{\"a\":\"ü\\\"}",
                "--insecure",
            ]
        );
    }

    #[test]
    fn a_line_for_cmd_becomes_arguments() {
        let expected = [
            "https://a.example/x?y=1&z=%20",
            "-H",
            "sec-ch-ua: \"Chromium\";v=\"156\"",
            "--data-raw",
            "{\"a\":\"b\\c\n\"}",
        ];
        let new = "curl ^\"https://a.example/x?y=1^&z=^%^20^\" ^\r\n  -H ^\"sec-ch-ua: ^\\^\"Chromium^\\^\";v=^\\^\"156^\\^\"^\" ^\r\n  \
            --data-raw ^\"^{^\\^\"a^\\^\":^\\^\"b^\\\\c^\n\n^\\^\"^}^\"";
        assert_eq!(arguments(new), expected);
        let old = "curl \"https://a.example/x?y=1&z=%20\" ^\n  -H \"sec-ch-ua: \\\"Chromium\\\";v=\\\"156\\\"\" ^\n  --compressed";
        assert_eq!(arguments(old), expected[..3]);
    }

    #[test]
    fn flags_that_change_nothing_are_removed() {
        assert_eq!(
            arguments("curl -sSL -sX POST -kLo f --url http://a -d-L"),
            ["-X", "POST", "-ko", "f", "http://a", "-d-L"]
        );
        assert_eq!(arguments("/usr/bin/curl -L --data --location a"), ["--data", "--location", "a"]);
    }

    #[test]
    fn other_text_is_an_error() {
        for line in ["", "wget http://a", "curl 'http://a", "curl \"a", "fetch('x')"] {
            assert_eq!(to_arguments(line).unwrap_err().code(), 2, "{line}");
        }
    }

    #[test]
    fn only_the_argument_of_fetch_is_expanded() {
        let run = |args: &[&str]| expand(args.iter().map(OsString::from)).unwrap();
        assert_eq!(run(&["rungs", "fetch", "--from-curl", "curl a -L", "-i"]), ["rungs", "fetch", "a", "-i"]);
        assert_eq!(run(&["rungs", "-q", "fetch", "--from-curl=curl a"]), ["rungs", "-q", "fetch", "a"]);
        assert_eq!(run(&["rungs", "batch", "--from-curl", "x"]), ["rungs", "batch", "--from-curl", "x"]);
        assert_eq!(run(&["rungs", "fetch", "--from-curl"]), ["rungs", "fetch", "--from-curl"]);
    }
}
