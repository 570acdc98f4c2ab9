//! What an attempt's answer was: genuine, or a block with kind, vendor, confidence and evidence.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of answer it was. Each kind has its own next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum VerdictKind {
    /// The site's own answer, whatever its status.
    Genuine,
    /// A challenge that running JavaScript can pass.
    Challenge,
    /// A puzzle for a person; nothing here passes it.
    Captcha,
    /// A refusal of this client, address or account.
    Block,
    /// Too many requests.
    RateLimit,
    /// Not served in this country.
    Geo,
    /// The page wants an account.
    LoginWall,
    /// The proxy's own page, not the site's.
    ProxyFault,
    /// The site is broken behind its vendor's edge.
    OriginError,
    /// An answer that pretends to be a page: empty, or far too small.
    Stub,
}

impl VerdictKind {
    /// Whether it is on who asked, so that a higher tier, or another browser, may fare better.
    pub(crate) const fn is_refusal(self) -> bool {
        matches!(self, Self::Challenge | Self::Captcha | Self::Block | Self::Stub)
    }

    /// The stable snake-case name, as JSON and block rules write it.
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

/// One reason behind a verdict: the rule that fired and the bytes that fired it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The rule's id, `file/rule`, for example `cloudflare/challenge-header`.
    pub rule: String,
    /// Where it was seen: `status`, `header cf-mitigated`, `cookie`, `url`, `title`, `body`, …
    pub place: String,
    /// The text that fired the rule, bounded in length. It comes from the network.
    pub text: String,
}

/// The judgement of one answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// What kind of answer it was.
    pub kind: VerdictKind,
    /// Whose block it is, for example `cloudflare`; `None` when nobody's signs were seen.
    pub vendor: Option<String>,
    /// From 0.0 to 1.0: how sure the rules are.
    pub confidence: f32,
    /// Why, strongest first. Empty for a plainly genuine page.
    pub evidence: Vec<Evidence>,
}

impl Verdict {
    /// The site's own answer, with nothing to hold against it.
    #[must_use]
    pub const fn genuine() -> Self {
        Self { kind: VerdictKind::Genuine, vendor: None, confidence: 1.0, evidence: Vec::new() }
    }

    /// Whether this is the site's own answer.
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
