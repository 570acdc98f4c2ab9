//! Whether robots.txt is obeyed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How robots.txt is treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RobotsPolicy {
    /// Request it, and do not fetch disallowed URLs.
    Obey,
    /// Do not request it. Every trace records this.
    #[default]
    Ignore,
}

impl RobotsPolicy {
    /// The value in a trace: `obeyed` or `ignored`.
    #[must_use]
    pub const fn trace_label(self) -> &'static str {
        match self {
            Self::Obey => "obeyed",
            Self::Ignore => "ignored",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_default_holds() {
        assert_eq!(
            (RobotsPolicy::default(), RobotsPolicy::default().trace_label()),
            (RobotsPolicy::Ignore, "ignored")
        );
    }
}
