//! The state that results from a journal's frames.

use super::JournalRecord;
use crate::batch::counters::Counters;

/// The state of a run.
#[derive(Debug, Default)]
pub(in crate::batch) struct JournalState {
    /// The output belongs to this journal. Before the first commit, an existing file belongs to another program.
    pub(in crate::batch) owns_output: bool,
    /// The committed length of the output, in its own unit.
    pub(in crate::batch) position: u64,
    /// The counters of the finished tasks.
    pub(in crate::batch) counters: Counters,
    /// The ranges of the output with records of transient failures.
    pub(in crate::batch) retryable: Ranges,
    /// The output was being replaced by one of this length when the run ended.
    pub(in crate::batch) replacing: Option<u64>,
    /// The last run finished all tasks.
    pub(in crate::batch) finished: bool,
    /// The end of the last synced frame.
    pub(super) synced_at: u64,
    /// The end of the last frame that forgot retryable failures.
    pub(super) forgotten_at: u64,
}

/// Ranges of a file, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::batch) struct Ranges(Vec<(u64, u32)>);

impl Ranges {
    /// Iterates over start and length.
    pub(in crate::batch) fn iter(&self) -> impl Iterator<Item = (u64, u32)> {
        self.0.iter().copied()
    }
}

impl JournalState {
    /// Applies the replacement of the output by one of `len` bytes, without the retryable records.
    pub(in crate::batch) fn apply_replaced(&mut self, len: u64) {
        self.replacing = None;
        self.position = len;
        self.retryable = Ranges::default();
        self.counters.remove_retryable();
    }

    /// Applies the frame that ends at `offset`.
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
