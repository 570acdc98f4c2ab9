//! Redaction of secrets and escaping of untrusted text.

mod terminal;

use std::fmt;

use url::{Position, Url};

pub(crate) use terminal::escape_csv_cell;
pub use terminal::{EscapedWriter, escape_json, escape_terminal, is_harmful};

/// A secret that `Debug` and `Display` never print.
///
/// ```
/// let secret = rungs::Secret::new("hunter2");
/// assert_eq!(format!("{secret:?} {secret}"), "*** ***");
/// assert_eq!(secret.expose(), "hunter2");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the secret, for the wire only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Returns the URL with its credentials redacted, for logs and errors.
#[must_use]
pub fn url(url: &Url) -> String {
    if url.password().is_none() && url.username().is_empty() {
        return url.to_string();
    }
    let mut shown = url.clone();
    // Neither call can fail on a URL that has credentials.
    let _ = shown.set_password(url.password().map(|_| "***"));
    let _ = shown.set_username(if url.username().is_empty() { "" } else { "***" });
    shown.to_string()
}

/// Returns the URL for a span, which is sent to other machines. It has no credentials and no query, which may contain
/// some, and at most 1,024 bytes.
pub(crate) fn without_credentials_and_query(url: &Url) -> String {
    let host_and_path = &url[Position::BeforeHost..Position::AfterPath];
    let mut shown = format!("{}://{host_and_path}", url.scheme());
    // A URL is ASCII: every byte is a character boundary.
    shown.truncate(1024);
    if url.query().is_some() {
        shown.push_str("?***");
    }
    shown
}

/// Returns a URL as the user wrote it, possibly malformed, without credentials.
#[must_use]
pub fn url_text(text: &str) -> String {
    match Url::parse(text) {
        Ok(parsed) if parsed.has_host() => url(&parsed),
        // The credentials of a malformed URL may end at any `@`, so everything before the last one is redacted.
        _ => match text.rsplit_once('@') {
            Some((before, after)) => {
                let scheme = before.find("//").map_or("", |at| &before[..at + 2]);
                format!("{scheme}***@{after}")
            }
            None => text.to_owned(),
        },
    }
}

/// Escapes text for HTML, between tags and in quoted attributes.
#[must_use]
pub fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_a_url_are_not_shown() {
        let with = Url::parse("http://jane:hunter2@site.example/p").unwrap();
        assert_eq!(url(&with), "http://***:***@site.example/p");
        let without = Url::parse("http://site.example/p").unwrap();
        assert_eq!(url(&without), "http://site.example/p");
    }

    #[test]
    fn a_span_url_has_no_credentials_and_no_query() {
        let shown = |text: &str| without_credentials_and_query(&Url::parse(text).unwrap());
        assert_eq!(
            shown("https://jane:hunter2@site.example:8443/p/1?token=hunter2#x"),
            "https://site.example:8443/p/1?***"
        );
        assert_eq!(shown("http://site.example"), "http://site.example/");
        assert_eq!(shown(&format!("http://site.example/{}", "é".repeat(5000))).len(), 1024);
    }

    #[test]
    fn credentials_in_a_malformed_url_are_not_shown() {
        for (text, shown) in [
            ("http://jane:hunter2@[bad/", "http://***@[bad/"),
            ("http://jane:hun/ter2@host:99999/", "http://***@host:99999/"),
            ("jane:hunter2@host/", "***@host/"),
            ("ftp://jane:hunter2@host/", "ftp://***:***@host/"),
            ("http://[bad/", "http://[bad/"),
            ("https://host/@jane", "https://host/@jane"),
        ] {
            assert_eq!(url_text(text), shown);
        }
    }

    #[test]
    fn text_cannot_become_markup() {
        let shown = "&lt;a b=&quot;&#39;&amp;amp;&#39;&quot;&gt;";
        assert_eq!(escape_html("<a b=\"'&amp;'\">"), shown);
    }
}
