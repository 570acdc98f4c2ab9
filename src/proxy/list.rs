//! Lists of proxies, one per line.

use std::collections::HashSet;

use super::Proxy;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;

impl Proxy {
    /// Parses a list with one proxy URL per line. A `#` at the start of a line or after a space begins a comment.
    /// Duplicates are dropped. At most 10,000 proxies, in 4 MiB.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming `origin` and the line, but not its text: it may contain a password.
    pub fn parse_list(text: &str, origin: &str) -> Result<Vec<Self>> {
        let config_error = |message: String| Error::new(ErrorKind::Config, message);
        if text.len() > MAX_BYTES {
            let size = text.len();
            return Err(config_error(format!(
                "{origin}: the proxy list has {size} bytes; the limit is {MAX_BYTES}"
            )));
        }
        let mut proxies = Vec::new();
        let mut seen = HashSet::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.split_once(" #").map_or(line, |(before, _)| before).trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let proxy: Self = line.parse().map_err(|error: Error| {
                let hint = error.hint().map(ToOwned::to_owned).unwrap_or_default();
                config_error(format!("{origin}:{}", at + 1)).with_source(error).with_hint(hint)
            })?;
            if seen.insert(proxy.clone()) {
                proxies.push(proxy);
            }
            if proxies.len() > MAX_PROXIES {
                return Err(config_error(format!("{origin}: the list has more than {MAX_PROXIES} proxies")));
            }
        }
        if proxies.is_empty() {
            return Err(config_error(format!("{origin}: no proxy is listed"))
                .with_hint("write one proxy per line, as http://user:password@host:port"));
        }
        Ok(proxies)
    }
}

/// The maximum size of a list, in bytes.
const MAX_BYTES: usize = 4 << 20;
const MAX_PROXIES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_one_proxy_per_line_and_comments() {
        let text = "# ours\n\nhttp://u:p@a.example:1 # the first\r\n  socks5h://b.example:2\nhttp://u:p@a.example:1\n";
        let read: Vec<String> =
            Proxy::parse_list(text, "list").unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(read, ["http://***@a.example:1", "socks5h://b.example:2"]);
    }

    #[test]
    fn an_error_names_the_line_number_and_not_its_text() {
        for (text, expected) in [
            ("http://a.example:1\n\nftp://u:hunter2@b.example\n", "list:3"),
            ("u:hunter2@:80", "list:1"),
            ("# nothing\n", "no proxy is listed"),
            (&"x".repeat(MAX_BYTES + 1), "the limit is 4194304"),
        ] {
            let error = Proxy::parse_list(text, "list").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(
                error.chain().contains(expected) && !format!("{error:?}").contains("hunter2"),
                "{error:?}"
            );
        }
        let many: Vec<String> = (0..=MAX_PROXIES).map(|at| format!("http://a{at}.example")).collect();
        assert!(Proxy::parse_list(&many.join("\n"), "list").unwrap_err().to_string().contains("more than"));
    }
}
