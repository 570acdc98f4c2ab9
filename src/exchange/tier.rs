//! The three tiers, cheapest first.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A way to fetch a page. Ordered by cost: `Plain < Impersonate < Browser`.
///
/// ```
/// use rungs::Tier;
/// assert!(Tier::Plain < Tier::Browser);
/// assert_eq!(Tier::Plain.next(), Some(Tier::Impersonate));
/// assert_eq!("browser".parse(), Ok(Tier::Browser));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// An HTTP client that identifies itself.
    Plain,
    /// The same client with the TLS, HTTP/2 and headers of a real browser.
    Impersonate,
    /// A headless Chromium that runs the page's JavaScript.
    Browser,
}

impl Tier {
    /// All tiers, cheapest first.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Impersonate, Self::Browser];

    /// The stable lower-case name, as on the command line and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Impersonate => "impersonate",
            Self::Browser => "browser",
        }
    }

    /// The next more expensive tier, if there is one.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self {
            Self::Plain => Some(Self::Impersonate),
            Self::Impersonate => Some(Self::Browser),
            Self::Browser => None,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Tier {
    type Err = UnknownTier;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|tier| tier.name() == text).ok_or_else(|| UnknownTier(text.to_owned()))
    }
}

/// The error for a text that is not the name of a tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownTier(String);

impl fmt::Display for UnknownTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown tier `{}`: expected plain, impersonate or browser", self.0.escape_debug())
    }
}

impl std::error::Error for UnknownTier {}
