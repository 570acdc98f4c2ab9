//! One scenario being compared.

use std::collections::BTreeSet;

use super::{Difference, Layer, Report};

/// One scenario being compared.
pub(super) struct Row<'a> {
    pub(super) scenario: String,
    layers: BTreeSet<Layer>,
    report: &'a mut Report,
}

impl<'a> Row<'a> {
    pub(super) const fn begin(scenario: String, report: &'a mut Report) -> Self {
        Self { scenario, layers: BTreeSet::new(), report }
    }

    pub(super) fn end(self) {
        self.report.compared.push((self.scenario, self.layers.into_iter().collect()));
    }

    /// Holds what the browser said of `what` against what the impersonate tier said.
    #[expect(clippy::needless_pass_by_value, reason = "both are made for the call")]
    pub(super) fn hold<T: PartialEq>(
        &mut self,
        layer: Layer,
        what: &str,
        theirs: T,
        ours: T,
        show: impl Fn(&T) -> String,
    ) {
        self.layers.insert(layer);
        if theirs != ours {
            self.report.differences.push(Difference {
                scenario: self.scenario.clone(),
                layer,
                what: what.to_owned(),
                browser: show(&theirs),
                rungs: show(&ours),
            });
        }
    }

    pub(super) fn hold_text(&mut self, layer: Layer, what: &str, theirs: String, ours: String) {
        self.hold(layer, what, theirs, ours, Clone::clone);
    }
}
