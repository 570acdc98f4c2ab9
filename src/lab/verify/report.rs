//! The report of a comparison, and its text form.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::{Exception, FingerprintLayer};

/// A difference between two recordings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerDifference {
    /// The scenario and protocol, for example `form/h2`.
    pub scenario: String,
    /// The layer.
    pub layer: FingerprintLayer,
    /// The part of the layer: a field's name, or the request.
    pub what: String,
    /// The browser's value.
    pub browser: String,
    /// The impersonate tier's value.
    pub rungs: String,
}

/// The number of compared items of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecordingCount {
    /// ClientHellos.
    pub hellos: usize,
    /// Requests.
    pub requests: usize,
}

/// The report of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// The browser.
    pub browser: String,
    /// The client that is compared with it.
    pub rungs: String,
    /// The number of items recorded from the browser.
    pub browser_count: RecordingCount,
    /// The number of items recorded from the impersonate tier.
    pub rungs_count: RecordingCount,
    /// The compared layers of each scenario.
    pub compared: Vec<(String, Vec<FingerprintLayer>)>,
    /// Differences without an exception.
    pub differences: Vec<LayerDifference>,
    /// Differences that an exception explains.
    pub excepted: Vec<LayerDifference>,
    /// The exceptions that explain a difference.
    pub exceptions: Vec<Exception>,
    /// Exceptions without a difference. They are errors.
    pub stale: Vec<Exception>,
}

impl VerifyReport {
    /// Whether everything is equal except for named exceptions, and no exception is stale.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty() && self.stale.is_empty()
    }

    /// Moves the differences that an exception explains to `excepted`.
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

    /// Drops the differences that another run did not show. A browser races spare connections, so its traffic
    /// varies. Only differences in every run count.
    pub fn retain_common(&mut self, other: &Self) {
        let key = |difference: &LayerDifference| {
            (difference.scenario.clone(), difference.layer, difference.what.clone())
        };
        let shown: BTreeSet<_> = other.differences.iter().map(key).collect();
        self.differences.retain(|difference| shown.contains(&key(difference)));
        self.stale.retain(|exception| other.stale.contains(exception));
    }

    fn cell(&self, scenario: &str, layer: FingerprintLayer, compared: &[FingerprintLayer]) -> &'static str {
        let contains =
            |all: &[LayerDifference]| all.iter().any(|d| d.scenario == scenario && d.layer == layer);
        if contains(&self.differences) {
            "DIFFERS"
        } else if contains(&self.excepted) {
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
        let format_count =
            |count: RecordingCount| format!("{} requests, {} hellos", count.requests, count.hellos);
        writeln!(f, "browser: {} ({})", self.browser, format_count(self.browser_count))?;
        writeln!(f, "against: {} ({})\n", self.rungs, format_count(self.rungs_count))?;
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
