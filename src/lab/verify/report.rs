//! The outcome of a comparison, and how it is printed.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::{Exception, FingerprintLayer};

/// One place where two recordings differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerDifference {
    /// The scenario and way, for example `form/h2`.
    pub scenario: String,
    /// The layer.
    pub layer: FingerprintLayer,
    /// What of it: a field's name, or the request.
    pub what: String,
    /// What the browser said.
    pub browser: String,
    /// What the impersonate tier said.
    pub rungs: String,
}

/// How much was compared, of each side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecordingCount {
    /// ClientHellos.
    pub hellos: usize,
    /// Requests.
    pub requests: usize,
}

/// The outcome of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// The browser.
    pub browser: String,
    /// What was held against it.
    pub rungs: String,
    /// How much the browser said.
    pub browser_count: RecordingCount,
    /// How much the impersonate tier said.
    pub rungs_count: RecordingCount,
    /// What was compared: the layers of each scenario.
    pub compared: Vec<(String, Vec<FingerprintLayer>)>,
    /// Where they differ and nobody says why.
    pub differences: Vec<LayerDifference>,
    /// Where they differ as an exception says.
    pub excepted: Vec<LayerDifference>,
    /// The exceptions that explain a difference.
    pub exceptions: Vec<Exception>,
    /// Exceptions without a difference: errors.
    pub stale: Vec<Exception>,
}

impl VerifyReport {
    /// Whether everything is equal but for exceptions that are named, and none of these is stale.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty() && self.stale.is_empty()
    }

    /// Takes out the differences that an exception explains.
    pub(super) fn apply_exceptions(&mut self, exceptions: &[Exception]) {
        let explains = |exception: &Exception, difference: &LayerDifference| {
            exception.scenario == difference.scenario && exception.layer == difference.layer
        };
        let all = std::mem::take(&mut self.differences);
        (self.excepted, self.differences) =
            all.into_iter().partition(|d| exceptions.iter().any(|exception| explains(exception, d)));
        (self.exceptions, self.stale) = exceptions
            .iter()
            .cloned()
            .partition(|exception| self.excepted.iter().any(|difference| explains(exception, difference)));
    }

    /// Drops the differences that another run did not show. A browser races spare connections, and
    /// does not always do the same; what it never does is what counts.
    pub fn retain_common(&mut self, other: &Self) {
        let place = |difference: &LayerDifference| {
            (difference.scenario.clone(), difference.layer, difference.what.clone())
        };
        let shown: BTreeSet<_> = other.differences.iter().map(place).collect();
        self.differences.retain(|difference| shown.contains(&place(difference)));
        self.stale.retain(|exception| other.stale.contains(exception));
    }

    fn cell(&self, scenario: &str, layer: FingerprintLayer, compared: &[FingerprintLayer]) -> &'static str {
        let among = |all: &[LayerDifference]| all.iter().any(|d| d.scenario == scenario && d.layer == layer);
        if among(&self.differences) {
            "DIFFERS"
        } else if among(&self.excepted) {
            "excepted"
        } else if compared.contains(&layer) {
            "equal"
        } else {
            "-"
        }
    }

    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.compared.iter().map(|(name, _)| name.len()).max().unwrap_or(8);
        write!(f, "{:width$}", "scenario")?;
        for layer in FingerprintLayer::ALL {
            write!(f, "  {:>10}", layer.name())?;
        }
        writeln!(f)?;
        for (name, layers) in &self.compared {
            write!(f, "{name:width$}")?;
            for layer in FingerprintLayer::ALL {
                write!(f, "  {:>10}", self.cell(name, layer, layers))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heard = |count: RecordingCount| format!("{} requests, {} hellos", count.requests, count.hellos);
        writeln!(f, "browser: {} ({})", self.browser, heard(self.browser_count))?;
        writeln!(f, "against: {} ({})\n", self.rungs, heard(self.rungs_count))?;
        self.table(f)?;
        for Exception { scenario, layer, reason } in &self.exceptions {
            writeln!(f, "\nexception: {scenario} {}: {reason}", layer.name())?;
        }
        for Exception { scenario, layer, reason } in &self.stale {
            let name = layer.name();
            writeln!(f, "\nstale exception: {scenario} {name} does not differ any more: {reason}")?;
        }
        for difference in &self.differences {
            let LayerDifference { scenario, layer, what, browser, rungs } = difference;
            writeln!(f, "\n{scenario} {}: {what}\n  browser: {browser}\n  rungs:   {rungs}", layer.name())?;
        }
        Ok(())
    }
}
