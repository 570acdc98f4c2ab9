//! What a journal's frames say together.

use super::JournalRecord;
use crate::batch::counters::Counters;

/// Where a run stands.
#[derive(Debug, Default)]
pub(in crate::batch) struct JournalState {
    /// The output is this journal's: before, a file in its place was somebody else's.
    pub(in crate::batch) owns_output: bool,
    /// How much of the output is committed, in its own unit.
    pub(in crate::batch) position: u64,
    /// What came of the tasks so far.
    pub(in crate::batch) counters: Counters,
    /// Where the output has records of failures that may pass.
    pub(in crate::batch) retryable: Ranges,
    /// The output was being replaced by one of this length when the run ended.
    pub(in crate::batch) replacing: Option<u64>,
    /// The last run had nothing left to do.
    pub(in crate::batch) finished: bool,
    /// Behind the last frame that is on the disk for good.
    pub(super) synced_at: u64,
    /// Behind the last frame that made a new try of failures.
    pub(super) forgotten_at: u64,
}

/// Parts of a file, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::batch) struct Ranges(Vec<(u64, u32)>);

impl Ranges {
    /// From where, and how long.
    pub(in crate::batch) fn iter(&self) -> impl Iterator<Item = (u64, u32)> {
        self.0.iter().copied()
    }
}

impl JournalState {
    /// The output is of this length now, and without the records that may go better.
    pub(in crate::batch) fn apply_replaced(&mut self, len: u64) {
        self.replacing = None;
        self.position = len;
        self.retryable = Ranges::default();
        self.counters.remove_retryable();
    }

    /// Takes in the frame that ends at `offset`.
    pub(super) fn apply(&mut self, frame: &JournalRecord, offset: u64) {
        match frame {
            JournalRecord::Header(_) | JournalRecord::Discoveries(_) => {}
            JournalRecord::Session { .. } => self.finished = false,
            JournalRecord::Commit { position, entries } => {
                self.owns_output = true;
                let records: u64 = entries.iter().map(|entry| u64::from(entry.len)).sum();
                let mut at = position.saturating_sub(records);
                for done in entries {
                    self.counters.add(done.outcome);
                    if done.outcome.is_retryable {
                        self.retryable.0.push((at, done.len));
                    }
                    at += u64::from(done.len);
                }
                self.position = *position;
            }
            JournalRecord::Synced { position } => {
                self.position = *position;
                self.synced_at = offset;
            }
            JournalRecord::Replacing { len } => {
                self.replacing = Some(*len);
                self.synced_at = offset;
            }
            JournalRecord::Replaced { len } => {
                self.apply_replaced(*len);
                self.synced_at = offset;
                self.forgotten_at = offset;
            }
            JournalRecord::Finished => {
                self.finished = true;
                self.synced_at = offset;
            }
        }
    }
}
