//! The accuracy on sets of responses that were written apart from the rules.

use std::fmt::Write as _;
use std::path::Path;

use rungs::detect::Rules;

use super::samples::folder_samples;

/// The sets in `fixtures/`, and what each was used for.
pub(crate) const SETS: [(&str, &str); 7] = [
    ("training", "weights were chosen on it"),
    ("unseen", "weights were corrected on it, after its first use"),
    ("holdout", "weights were corrected on it, after its first use"),
    ("wide", "weights were corrected on it, after its first use"),
    ("week", "weights were corrected on it, after its first use"),
    ("blind", "weights were corrected on it, after its first use"),
    ("fresh", "judged once, not used"),
];

/// The counts of one set.
#[derive(Default)]
pub(crate) struct SetCount {
    pub(crate) blocks: usize,
    pub(crate) flagged: usize,
    pub(crate) right: usize,
    /// Blocks of no known vendor, and how many of them are flagged.
    unknown: usize,
    unknown_flagged: usize,
    pub(crate) pages: usize,
    /// Genuine pages that are called a block, with the verdict.
    pub(crate) accused: Vec<String>,
}

impl SetCount {
    /// Classifies all responses of a folder.
    pub(crate) fn of(rules: &Rules, folder: &Path) -> Self {
        let mut count = Self::default();
        for sample in folder_samples(folder, None) {
            let verdict = sample.classify(rules);
            let flagged = usize::from(!verdict.is_genuine());
            if sample.is_block() {
                count.blocks += 1;
                count.flagged += flagged;
                count.right += usize::from(verdict.kind == sample.kind);
                count.unknown += usize::from(sample.vendor.is_none());
                count.unknown_flagged += flagged * usize::from(sample.vendor.is_none());
            } else {
                count.pages += 1;
                if flagged > 0 {
                    count.accused.push(format!("{}: {verdict:?}", sample.path.display()));
                }
            }
        }
        count
    }
}

/// Returns the counts of all sets as a Markdown table.
pub(crate) fn table(rules: &Rules, fixtures: &Path) -> String {
    let mut out = String::from(
        "\n| set | use | blocks | flagged | right kind | no known vendor: flagged | pages | accused |\n\
         |---|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for (set, purpose) in SETS {
        let count = SetCount::of(rules, &fixtures.join(set));
        let SetCount { blocks, flagged, right, unknown, unknown_flagged, pages, accused } = count;
        let accused = accused.len();
        let _ = writeln!(
            out,
            "| {set} | {purpose} | {blocks} | {flagged} | {right} | {unknown_flagged} of {unknown} | {pages} | {accused} |"
        );
    }
    out
}
