//! Classifies a response: genuine, or a block with kind, vendor, confidence and evidence. Pure.
//!
//! Rules are data, one file per vendor in `profiles/blocks/`. The strongest rule that fires determines the
//! verdict. Cheap conditions are evaluated first. A page is searched only if a remaining rule needs its text,
//! and parsed only if a remaining rule needs an element that its text may contain.
//!
//! Rules read only status and headers of JSON, XML, images and other binary responses.
//!
//! If no rule is sure, the structural detector judges the page by its shape, words and scripts (`profiles/structure.toml`).
//!
//! ```
//! use rungs::detect::{Rules, recorded};
//! let recorded = recorded::parse(b"HTTP/2 403\ncf-mitigated: challenge\ncontent-type: text/html\n\n<html>")?;
//! let url = rungs::parse_url("https://shop.example/")?;
//! let verdict = Rules::shipped().classify(&recorded.view(&url));
//! assert_eq!(verdict.to_string(), "cloudflare challenge");
//! assert_eq!(verdict.evidence[0].rule, "cloudflare/challenge-header");
//! # Ok::<(), rungs::Error>(())
//! ```

use http::HeaderMap;
use url::Url;

use crate::exchange::tier::Tier;

mod classify;
mod compiled;
mod condition;
mod content_kind;
mod expectation;
pub mod har;
mod html;
mod near_rule;
mod preconditions;
mod prefilter;
pub mod recorded;
mod rule;
mod rules;
mod selector;
mod structure;
#[cfg(test)]
mod tests;
mod text;

pub use expectation::Expectation;
pub(crate) use html::title;
pub use near_rule::NearRule;
pub use rule::RuleInfo;
pub use rules::Rules;
pub use structure::{KindScore, StructureExplanation};

/// Maximum number of body bytes that are read. It bounds the cost of a classification.
pub const PREFIX: usize = 256 * 1024;

/// Whether a page has a script.
pub(crate) fn has_script(body: &[u8]) -> bool {
    text::contains_ignore_case(&body[..body.len().min(PREFIX)], b"<script")
}

/// The parts of a response that block rules may read.
#[derive(Clone, Copy, Debug)]
pub struct ResponseView<'a> {
    /// The tier that received the response, if known.
    pub tier: Option<Tier>,
    /// The status code.
    pub status: u16,
    /// The header fields of the final response.
    pub headers: &'a HeaderMap,
    /// The URL of the final response, after redirects.
    pub url: &'a Url,
    /// The requested URL.
    pub requested: &'a Url,
    /// The body after content decoding, or its first bytes. At most [`PREFIX`] bytes are read.
    pub body: &'a [u8],
    /// Whether `body` is the whole body. False for a response to HEAD, which has none.
    pub complete: bool,
    /// Whether the response came through a proxy. It may then be the proxy's own page.
    pub via_proxy: bool,
}

impl<'a> ResponseView<'a> {
    /// The document that the browser shows at `url`.
    pub(crate) const fn of_shown_page(
        status: u16,
        headers: &'a HeaderMap,
        url: &'a Url,
        body: &'a [u8],
    ) -> Self {
        Self {
            tier: Some(Tier::Browser),
            status,
            headers,
            url,
            requested: url,
            body,
            complete: true,
            via_proxy: false,
        }
    }

    /// Whether it is a page: a 200 with HTML.
    pub(crate) fn is_page(&self) -> bool {
        self.status == 200
            && content_kind::ContentKind::from_response(self.headers, self.body)
                == content_kind::ContentKind::Html
    }
}
