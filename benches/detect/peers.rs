//! Applies other projects' published rules to a response. The rules are data, in peers.toml.

use rungs::detect::recorded::RecordedResponse;
use scraper::{Html, Selector};
use serde::Deserialize;

use super::samples::Sample;

/// One project's rules. The response counts as a block if any of them matches.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peer {
    pub(crate) name: String,
    #[expect(dead_code, reason = "provenance, for readers of the file")]
    source: String,
    #[expect(dead_code, reason = "provenance, for readers of the file")]
    note: String,
    #[serde(default)]
    status: Vec<u16>,
    #[serde(default)]
    title_is: Vec<String>,
    #[serde(default)]
    title_starts: Vec<String>,
    #[serde(default)]
    css: Vec<String>,
    #[serde(default)]
    header: Vec<String>,
    #[serde(default)]
    header_is: Vec<(String, String)>,
    #[serde(default)]
    server_has: Vec<String>,
    #[serde(default)]
    url_has: Vec<String>,
    #[serde(default)]
    body_has: Vec<String>,
    /// Number of bytes of the body that are searched.
    #[serde(default)]
    body_within: usize,
}

#[derive(Deserialize)]
struct File {
    peer: Vec<Peer>,
}

pub(crate) fn read(text: &str) -> Vec<Peer> {
    toml::from_str::<File>(text).unwrap_or_else(|error| panic!("peers.toml: {error}")).peer
}

impl Peer {
    pub(crate) fn is_block(&self, sample: &Sample) -> bool {
        let answer = &sample.answer;
        self.status.contains(&answer.status)
            || self.by_headers(answer)
            || self.url_has.iter().any(|part| sample.url.as_str().contains(part))
            || self.by_body(answer)
            || self.by_page(answer)
    }

    fn by_headers(&self, answer: &RecordedResponse) -> bool {
        let value = |name: &str| answer.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
        let server = value("server").to_ascii_lowercase();
        self.header.iter().any(|name| answer.headers.contains_key(name))
            || self.header_is.iter().any(|(name, is)| value(name).trim().eq_ignore_ascii_case(is))
            || self.server_has.iter().any(|part| server.contains(part))
    }

    fn by_body(&self, answer: &RecordedResponse) -> bool {
        let body = &answer.body[..answer.body.len().min(self.body_within)];
        let has = |text: &String| body.windows(text.len()).any(|window| window == text.as_bytes());
        self.body_has.iter().any(has)
    }

    /// Matches titles and selectors, if the body is an HTML page.
    fn by_page(&self, answer: &RecordedResponse) -> bool {
        if self.title_is.is_empty() && self.title_starts.is_empty() && self.css.is_empty() {
            return false;
        }
        let kind = answer.headers.get("content-type").and_then(|v| v.to_str().ok()).unwrap_or("text/html");
        if !kind.contains("html") {
            return false;
        }
        let page = Html::parse_document(&String::from_utf8_lossy(&answer.body));
        let select = |css: &str| {
            let selector =
                Selector::parse(css).unwrap_or_else(|error| panic!("{}: {css}: {error}", self.name));
            page.select(&selector).next().map(|element| element.text().collect::<String>())
        };
        let title = select("title").unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        self.title_is.iter().any(|is| is.eq_ignore_ascii_case(&title))
            || self.title_starts.iter().any(|start| title.starts_with(start.as_str()))
            || self.css.iter().any(|css| select(css).is_some())
    }
}
