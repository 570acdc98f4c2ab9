//! The URLs that are sent.

use std::borrow::Cow;

use url::{Position, Url};

use crate::exchange::request::Request;

/// Escapes what the URL parser leaves in the path: `^`, as the URL standard says, and on the tiers of a browser `|`, as
/// Chromium does.
pub(super) fn escape_path(request: Cow<'_, Request>, is_browser: bool) -> Cow<'_, Request> {
    let is_escaped = |c: char| c == '^' || is_browser && c == '|';
    let url = &request.url;
    if !url.path().contains(is_escaped) {
        return request;
    }
    let mut text = url[..Position::BeforePath].to_owned();
    for c in url.path().chars() {
        match c {
            '^' => text.push_str("%5E"),
            '|' if is_browser => text.push_str("%7C"),
            _ => text.push(c),
        }
    }
    text.push_str(&url[Position::AfterPath..]);
    match Url::parse(&text) {
        Ok(url) => Cow::Owned(Request { url, ..request.into_owned() }),
        Err(_) => request,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_path_is_escaped() {
        for (text, plain, browser) in [
            ("http://u:p@a.test:81/a|b^c?d|e^f#g|h^i", "/a|b%5Ec", "/a%7Cb%5Ec"),
            ("http://a.test/a%5Eb", "/a%5Eb", "/a%5Eb"),
            ("http://a.test", "/", "/"),
        ] {
            let request = Request::get(text.parse().unwrap());
            for (is_browser, path) in [(false, plain), (true, browser)] {
                let escaped = escape_path(Cow::Borrowed(&request), is_browser);
                assert_eq!(escaped.url.path(), path, "{text}");
                assert_eq!(escaped.url[..Position::BeforePath], request.url[..Position::BeforePath]);
                assert_eq!(escaped.url[Position::AfterPath..], request.url[Position::AfterPath..]);
            }
        }
    }
}
