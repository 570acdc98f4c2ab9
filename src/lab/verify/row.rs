//! The comparison of one scenario.

use std::collections::BTreeSet;

use super::{FingerprintLayer, LayerDifference, VerifyReport};

/// The comparison of one scenario.
pub(super) struct ScenarioComparison<'a> {
    pub(super) scenario: String,
    layers: BTreeSet<FingerprintLayer>,
    report: &'a mut VerifyReport,
}

impl<'a> ScenarioComparison<'a> {
    pub(super) const fn new(scenario: String, report: &'a mut VerifyReport) -> Self {
        Self { scenario, layers: BTreeSet::new(), report }
    }

    pub(super) fn finish(self) {
        self.report.compared.push((self.scenario, self.layers.into_iter().collect()));
    }

    /// Compares one item of the browser with the same item of the impersonate tier.
    #[expect(clippy::needless_pass_by_value, reason = "both are created for the call")]
    pub(super) fn compare<T: PartialEq>(
        &mut self,
        layer: FingerprintLayer,
        what: &str,
        theirs: T,
        ours: T,
        show: impl Fn(&T) -> String,
    ) {
        self.layers.insert(layer);
        if theirs != ours {
            self.report.differences.push(LayerDifference {
                scenario: self.scenario.clone(),
                layer,
                what: what.to_owned(),
                browser: show(&theirs),
                rungs: show(&ours),
            });
        }
    }

    pub(super) fn compare_text(&mut self, layer: FingerprintLayer, what: &str, theirs: String, ours: String) {
        self.compare(layer, what, theirs, ours, Clone::clone);
    }
}
