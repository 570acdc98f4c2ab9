//! How the browser tier renders a page. The other tiers ignore most of these options.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// The form of the page that the browser tier returns as the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum BodySource {
    /// The DOM as scripts changed it, serialized as HTML. A document that is not markup is raw.
    #[default]
    Dom,
    /// The document as the server sent it, after content decoding.
    Raw,
}

/// A resource type that the browser can be kept from loading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ResourceKind {
    /// Images.
    Images,
    /// Fonts.
    Fonts,
    /// Audio and video.
    Media,
    /// All resources from the hosts in `profiles/blocking/trackers.txt`.
    Trackers,
}

impl ResourceKind {
    /// All types.
    pub const ALL: [Self; 4] = [Self::Images, Self::Fonts, Self::Media, Self::Trackers];

    /// The stable lower-case name, as in `--block`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Fonts => "fonts",
            Self::Media => "media",
            Self::Trackers => "trackers",
        }
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The options for rendering a page in the browser.
#[derive(Clone, Debug, Default)]
pub(crate) struct RenderOptions {
    /// Wait until this CSS selector matches.
    pub(crate) wait_for: Option<String>,
    /// Default: [`BodySource::Dom`].
    pub(crate) body: Option<BodySource>,
    /// The resource types that are not loaded.
    pub(crate) block: Vec<ResourceKind>,
    /// Scroll to the end of the page.
    pub(crate) scroll: bool,
    pub(crate) screenshot: bool,
    pub(crate) pdf: bool,
    /// Wait this long after the page has settled.
    pub(crate) wait: Option<Duration>,
    /// Read the documents of its frames too.
    pub(crate) frames: bool,
    /// Read the text that the page shows too.
    pub(crate) shown_text: bool,
    /// Whether a page is the expected one. The browser waits for it as for the end of a challenge.
    #[cfg_attr(not(feature = "browser"), expect(dead_code, reason = "only the browser tier reads it"))]
    pub(crate) expected: Option<PageCheck>,
}

/// Returns whether a page (status, headers, URL, body) is the expected one.
#[derive(Clone)]
pub(crate) struct PageCheck(
    #[cfg_attr(not(feature = "browser"), expect(dead_code, reason = "only the browser tier calls it"))]
    pub(crate) Arc<PageCheckFn>,
);

type PageCheckFn = dyn Fn(u16, &HeaderMap, &Url, &[u8]) -> bool + Send + Sync;

impl fmt::Debug for PageCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageCheck")
    }
}

impl RenderOptions {
    /// The options of a request that is not a page.
    pub(crate) const NONE: &Self = &Self {
        wait_for: None,
        body: None,
        block: Vec::new(),
        scroll: false,
        screenshot: false,
        pdf: false,
        wait: None,
        frames: false,
        shown_text: false,
        expected: None,
    };

    /// Returns a requested output that only the browser tier can produce, for messages.
    pub(crate) fn browser_only_output(&self) -> Option<&'static str> {
        match (self.screenshot, self.pdf, self.frames) {
            (true, _, _) => Some("a screenshot"),
            (_, true, _) => Some("a PDF of the page"),
            (_, _, true) => Some("the list of frames"),
            _ => None,
        }
    }
}
