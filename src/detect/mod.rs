//! What an answer is: genuine, or a block with kind, vendor, confidence and evidence. Pure.
//!
//! Rules are data, one file a vendor in `profiles/blocks/`. The strongest rule that fires names the
//! verdict. What costs nothing is asked first: a page is only searched when a rule still stands that
//! asks for its text, and only parsed when one asks for an element that its text may hold.
//!
//! JSON and XML are judged by status and headers only; images and other binary answers too.
//!
//! ```
//! use rungs::detect::{Rules, Seen, saved};
//! let saved = saved::parse(b"HTTP/2 403\ncf-mitigated: challenge\ncontent-type: text/html\n\n<html>")?;
//! let url = rungs::parse_url("https://shop.example/")?;
//! let verdict = Rules::shipped().judge(&saved.seen(&url));
//! assert_eq!(verdict.to_string(), "cloudflare challenge");
//! assert_eq!(verdict.evidence[0].rule, "cloudflare/challenge-header");
//! # Ok::<(), rungs::Error>(())
//! ```

use http::HeaderMap;
use url::Url;

use crate::tier::Tier;

mod classify;
mod condition;
mod content_kind;
mod expectation;
mod html;
mod preconditions;
mod prefilter;
pub mod recorded;
mod rule;
mod rules;
mod selector;
#[cfg(test)]
mod tests;
mod text;

pub use expectation::Expectation;
pub use rule::RuleInfo;
pub use rules::Rules;

/// How much of a body is looked at, in bytes; the cost of a judgement does not grow beyond it.
pub const PREFIX: usize = 256 * 1024;

/// One answer as it was seen, ready to be judged.
#[derive(Clone, Copy, Debug)]
pub struct ResponseView<'a> {
    /// The tier that got it, where that is known.
    pub tier: Option<Tier>,
    /// The status code.
    pub status: u16,
    /// The header fields of the final answer.
    pub headers: &'a HeaderMap,
    /// The URL that answered, after redirects.
    pub url: &'a Url,
    /// The URL that was asked for.
    pub requested: &'a Url,
    /// The body, content coding removed, or its first bytes. No more than [`PREFIX`] is read.
    pub body: &'a [u8],
    /// Whether `body` is the whole body. False for an answer to HEAD, whose body says nothing.
    pub complete: bool,
    /// Whether it came through a proxy, whose own page it may be.
    pub via_proxy: bool,
}

impl ResponseView<'_> {
    /// Whether it is a page: a 200 that holds HTML.
    pub(crate) fn is_page(&self) -> bool {
        self.status == 200
            && content_kind::ContentKind::from_response(self.headers, self.body)
                == content_kind::ContentKind::Html
    }
}
