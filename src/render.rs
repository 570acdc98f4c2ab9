//! What is wanted of a page when the browser shows it. The other tiers show nothing and ignore most of it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which form of a page the browser tier gives as the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum BodySource {
    /// The page as its scripts have made it, written out as HTML. Anything but markup is raw all the same.
    #[default]
    Dom,
    /// The document as the server sent it, content coding removed.
    Raw,
}

/// What a page in the browser may be kept from loading.
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
    /// Hosts of `profiles/blocking/trackers.txt`, whatever they would give.
    Trackers,
}

impl ResourceKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Images, Self::Fonts, Self::Media, Self::Trackers];

    /// The stable lower-case name, as `--block` takes it.
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

/// All that is wanted of a page in the browser.
#[derive(Clone, Debug, Default)]
pub(crate) struct RenderOptions {
    /// Wait until this CSS selector matches.
    pub(crate) wait_for: Option<String>,
    /// Unless said, [`BodyForm::Dom`].
    pub(crate) body: Option<BodySource>,
    /// What is not loaded.
    pub(crate) block: Vec<ResourceKind>,
    /// Go down to the page's end.
    pub(crate) scroll: bool,
    pub(crate) screenshot: bool,
    pub(crate) pdf: bool,
}

impl RenderOptions {
    /// What of it no other tier can give, if anything.
    pub(crate) fn browser_only_output(&self) -> Option<&'static str> {
        match (self.screenshot, self.pdf) {
            (true, _) => Some("a screenshot"),
            (_, true) => Some("a page printed as PDF"),
            _ => None,
        }
    }
}
