//! The classification of a response: genuine, or a block with kind, vendor, confidence and evidence.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kind of a response. The router has a different next step for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum VerdictKind {
    /// A response of the site itself, whatever its status.
    Genuine,
    /// A challenge that a browser can pass by running JavaScript.
    Challenge,
    /// A puzzle for a human, which rungs cannot solve.
    Captcha,
    /// A refusal of this client, address or account.
    Block,
    /// Too many requests.
    RateLimit,
    /// Not available in this country.
    Geo,
    /// The page requires an account.
    LoginWall,
    /// A page of the proxy, not of the site.
    ProxyFault,
    /// The vendor's edge reports an error of the origin server.
    OriginError,
    /// A page without content: empty, or far too small.
    Stub,
}

impl VerdictKind {
    /// Whether the site refuses this client, so that a higher tier or another profile may succeed.
    pub(crate) const fn is_refusal(self) -> bool {
        matches!(self, Self::Challenge | Self::Captcha | Self::Block | Self::Stub)
    }

    /// The stable snake-case name, as in JSON and block rules.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Genuine => "genuine",
            Self::Challenge => "challenge",
            Self::Captcha => "captcha",
            Self::Block => "block",
            Self::RateLimit => "rate_limit",
            Self::Geo => "geo",
            Self::LoginWall => "login_wall",
            Self::ProxyFault => "proxy_fault",
            Self::OriginError => "origin_error",
            Self::Stub => "stub",
        }
    }
}

impl fmt::Display for VerdictKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name().replace('_', " "))
    }
}

/// The start of the ids in the evidence of the structural detector. A kind follows.
pub(crate) const STRUCTURE_RULES: &str = "structure/";

/// One reason for a verdict: the rule that matched and the text that it matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The rule's id, `file/rule`, for example `cloudflare/challenge-header`.
    pub rule: String,
    /// The matched part of the response: `status`, `header cf-mitigated`, `cookie`, `url`, `title`, `body`, …
    pub place: String,
    /// The matched text, limited in length. It comes from the network.
    pub text: String,
}

/// The classification of one response.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The kind of the response.
    pub kind: VerdictKind,
    /// The vendor of the block, for example `cloudflare`; `None` if not known.
    pub vendor: Option<String>,
    /// The confidence, from 0.0 to 1.0.
    pub confidence: f32,
    /// The reasons, strongest first. Empty for a page without signs of a block.
    pub evidence: Vec<Evidence>,
}

impl Verdict {
    /// Creates the verdict of a genuine response without evidence.
    #[must_use]
    pub const fn genuine() -> Self {
        Self { kind: VerdictKind::Genuine, vendor: None, confidence: 1.0, evidence: Vec::new() }
    }

    /// Whether the structural detector decided. It may be wrong about a page that no rule knows.
    pub(crate) fn is_structural(&self) -> bool {
        self.evidence.first().is_some_and(|first| first.rule.starts_with(STRUCTURE_RULES))
    }

    /// Whether the response is genuine.
    #[must_use]
    pub fn is_genuine(&self) -> bool {
        self.kind == VerdictKind::Genuine
    }
}

/// `cloudflare challenge`, `block`, `genuine`.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.vendor {
            Some(vendor) if !self.is_genuine() => write!(f, "{vendor} {}", self.kind),
            _ => write!(f, "{}", self.kind),
        }
    }
}
