//! Differences that are known, each with its reason. They are data: `exceptions.toml`.

use serde::{Deserialize, Serialize};

use super::FingerprintLayer;

/// A difference that is known and explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// The scenario and way, for example `form/h2`.
    pub scenario: String,
    /// The layer.
    pub layer: FingerprintLayer,
    /// Why it differs, for who reads the table.
    pub reason: String,
}

impl Exception {
    /// The exceptions this build knows.
    ///
    /// # Panics
    /// Never: a test reads them.
    #[must_use]
    pub fn shipped() -> Vec<Self> {
        toml::from_str::<ExceptionFile>(SHIPPED).expect("a test reads the shipped exceptions").exceptions
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
    fn shipped_exceptions_name_scenarios_that_there_are_and_say_why() {
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
