//! Known differences, each with its reason, from `exceptions.toml`.

use serde::{Deserialize, Serialize};

use super::FingerprintLayer;

/// A known difference and its explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// The scenario and protocol, for example `form/h2`.
    pub scenario: String,
    /// The layer.
    pub layer: FingerprintLayer,
    /// The reason for the difference, shown with the table.
    pub reason: String,
}

impl Exception {
    /// The exceptions that are shipped in this build.
    ///
    /// # Panics
    /// Never: a test parses them.
    #[must_use]
    pub fn shipped() -> Vec<Self> {
        toml::from_str::<ExceptionFile>(SHIPPED).expect("a test parses the shipped exceptions").exceptions
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExceptionFile {
    #[serde(default)]
    exceptions: Vec<Exception>,
}

const SHIPPED: &str = include_str!("exceptions.toml");

#[cfg(test)]
mod tests {
    use super::super::super::driver::scenario_key;
    use super::super::super::scenario::SCENARIOS;
    use super::*;

    #[test]
    fn shipped_exceptions_name_existing_scenarios_and_have_a_reason() {
        let keys: Vec<String> = SCENARIOS
            .iter()
            .flat_map(|scenario| scenario.protocols.iter().map(|over| scenario_key(scenario, *over)))
            .collect();
        for exception in Exception::shipped() {
            assert!(keys.contains(&exception.scenario), "{exception:?}");
            assert!(exception.reason.len() > 20, "{exception:?}");
        }
    }
}
