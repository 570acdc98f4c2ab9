//! A set of named features.

use std::collections::BTreeSet;

use super::names;

/// The features that hold.
#[derive(Default)]
pub(super) struct FeatureSet(BTreeSet<String>);

impl FeatureSet {
    pub(super) fn add(&mut self, name: &str) {
        debug_assert!(names::FEATURES.contains(&name), "{name} is not in the list of features");
        self.0.insert(name.to_owned());
    }

    pub(super) fn add_if(&mut self, name: &str, holds: bool) {
        if holds {
            self.add(name);
        }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    pub(super) fn into_names(self) -> Vec<String> {
        self.0.into_iter().collect()
    }
}
