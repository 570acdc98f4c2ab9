//! Precision and recall per kind and per vendor, as Markdown tables.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rungs::VerdictKind;
use rungs::detect::Rules;

use super::peers::Peer;
use super::samples::Sample;

/// The minimum share of blocks that must get the right kind and vendor.
const LEAST_RECALL: f64 = 0.97;

/// Counts for one label: a kind or a vendor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    /// Responses that have this label.
    expected: usize,
    /// Responses that were classified with this label.
    found: usize,
    /// Responses that have it and were classified with it.
    right: usize,
}

impl Count {
    fn share(part: usize, whole: usize) -> String {
        if whole == 0 { "-".to_owned() } else { format!("{:.3}", ratio(part, whole)) }
    }

    fn row(self, name: &str) -> String {
        let (precision, recall) =
            (Self::share(self.right, self.found), Self::share(self.right, self.expected));
        format!("| {name} | {} | {precision} | {recall} |", self.expected)
    }
}

/// The result of the shipped rules on all samples.
#[derive(Default)]
pub(crate) struct Score {
    kinds: BTreeMap<&'static str, Count>,
    vendors: BTreeMap<String, Count>,
    blocks: usize,
    pages: usize,
    /// Blocks that got the right kind and vendor.
    right: usize,
    /// Genuine pages that were classified as blocks.
    accused: usize,
    /// One line for each response that was classified wrongly.
    pub(crate) wrong: Vec<String>,
}

impl Score {
    pub(crate) fn of(rules: &Rules, samples: &[Sample]) -> Self {
        let mut score = Self::default();
        for sample in samples {
            score.add(rules, sample);
        }
        score
    }

    fn add(&mut self, rules: &Rules, sample: &Sample) {
        let verdict = sample.classify(rules);
        let vendor = |vendor: Option<&String>, kind: VerdictKind| {
            (kind != VerdictKind::Genuine).then(|| vendor.cloned().unwrap_or_else(|| "none".to_owned()))
        };
        let (expected, found) =
            (vendor(sample.vendor.as_ref(), sample.kind), vendor(verdict.vendor.as_ref(), verdict.kind));
        tally(&mut self.kinds, Some(sample.kind.name()), Some(verdict.kind.name()));
        tally(&mut self.vendors, expected.clone(), found.clone());
        let right = (sample.kind, &expected) == (verdict.kind, &found);
        if sample.is_block() {
            self.blocks += 1;
            self.right += usize::from(right);
        } else {
            self.pages += 1;
            self.accused += usize::from(!right);
        }
        if !right {
            let (is, path) = (sample.kind.name(), sample.path.display());
            let vendor = sample.vendor.as_deref().unwrap_or("no vendor");
            self.wrong.push(format!("{path}: expected {is} of {vendor}, classified as {verdict:?}"));
        }
    }

    /// Whether the rules are good enough to ship.
    pub(crate) fn passes(&self) -> bool {
        self.accused == 0 && ratio(self.right, self.blocks) >= LEAST_RECALL
    }

    /// The tables, as Markdown.
    pub(crate) fn tables(&self, peers: &[Peer], samples: &[Sample]) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{} of {} blocks with the right kind and vendor, {} of {} genuine pages called a block.\n",
            self.right, self.blocks, self.accused, self.pages
        );
        let _ = writeln!(out, "| kind | responses | precision | recall |\n|---|---:|---:|---:|");
        for (name, count) in &self.kinds {
            let _ = writeln!(out, "{}", count.row(name));
        }
        let _ = writeln!(out, "\n| vendor | responses | precision | recall |\n|---|---:|---:|---:|");
        for (name, count) in &self.vendors {
            let _ = writeln!(out, "{}", count.row(name));
        }
        let _ = writeln!(
            out,
            "\n| rules | blocks detected | genuine pages called a block | precision | recall |\n|---|---:|---:|---:|---:|"
        );
        let seen = self.blocks - samples.iter().filter(|s| s.is_block() && missed(s)).count();
        let _ = writeln!(out, "{}", self.rival("**rungs**", seen, self.accused));
        for peer in peers {
            let matches = |sample: &&Sample| peer.is_block(sample);
            let seen = samples.iter().filter(|sample| sample.is_block()).filter(matches).count();
            let accused = samples.iter().filter(|sample| !sample.is_block()).filter(matches).count();
            let _ = writeln!(out, "{}", self.rival(&peer.name, seen, accused));
        }
        out
    }

    fn rival(&self, name: &str, seen: usize, accused: usize) -> String {
        let (precision, recall) = (Count::share(seen, seen + accused), Count::share(seen, self.blocks));
        format!(
            "| {name} | {seen} of {} | {accused} of {} | {precision} | {recall} |",
            self.blocks, self.pages
        )
    }
}

/// Whether a block was classified as genuine.
fn missed(sample: &Sample) -> bool {
    sample.classify(&Rules::shipped()).is_genuine()
}

fn tally<K: Ord + Clone>(counts: &mut BTreeMap<K, Count>, expected: Option<K>, found: Option<K>) {
    let right = expected.is_some() && expected == found;
    if let Some(expected) = expected {
        let count = counts.entry(expected).or_default();
        count.expected += 1;
        count.right += usize::from(right);
    }
    if let Some(found) = found {
        counts.entry(found).or_default().found += 1;
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of files")]
    let ratio = part as f64 / whole as f64;
    ratio
}
