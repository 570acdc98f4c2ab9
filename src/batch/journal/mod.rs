//! The journal: which tasks are finished, and how much of the output holds their records.
//!
//! A file that only grows: a line that says what it is, then frames with length and CRC. A frame that the
//! program's end left half written is cut off; one that is damaged anywhere else is an error. What is written
//! survives the program at once, and the machine once it is [synced](Journal::synced).

mod format;
mod state;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::task::{Task, TaskKey};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;

use format::{FrameRead, JournalRecord, Payload};

pub(super) use format::{CommitEntry, Discoveries, TaskOutcome};
pub(super) use state::{JournalState, Ranges};

/// What a journal is for: a run must go on as it began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JournalHeader {
    pub(super) input: String,
    pub(super) output: String,
    pub(super) format: String,
}

/// An open journal, this process's alone.
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    len: u64,
    /// Written since the last sync.
    dirty: bool,
    /// What may pass and was written down before is not finished.
    forgotten_at: u64,
}

/// What was found in it.
pub(super) struct Recovery {
    pub(super) state: JournalState,
    /// Bytes of a half-written frame that were cut off.
    pub(super) torn_bytes: u64,
    /// The machine stopped since: only what was synced counts.
    pub(super) rebooted: bool,
}

impl Journal {
    /// Opens the journal at `path`, made when it is not there.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when another process has it, when it is for something else, or no journal at all;
    /// [`ErrorKind::Io`] when it is damaged or the system does not give it.
    pub(super) fn open(path: &Path, purpose: &JournalHeader) -> Result<(Self, Recovery)> {
        let broken = |cause| checkpoint_error(path, "could not be used", cause);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(broken)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("the checkpoint {} is in use by another run", path.display());
                return Err(Error::new(ErrorKind::Config, message)
                    .with_hint("wait for it to end, or name another --checkpoint"));
            }
            Err(TryLockError::Error(cause)) => return Err(broken(cause)),
        }
        let size = file.metadata().map_err(broken)?.len();
        let mut found = Recovery { state: JournalState::default(), torn_bytes: 0, rebooted: false };
        let begins = check_magic(&mut file, size).map_err(broken)?;
        match begins {
            FileStart::Valid => {}
            FileStart::Incomplete => {
                found.torn_bytes = size;
                let mut journal = Self { file, path: path.to_owned(), len: 0, dirty: true, forgotten_at: 0 };
                journal.file.set_len(0).map_err(broken)?;
                journal.file.seek(SeekFrom::Start(0)).map_err(broken)?;
                journal.file.write_all(MAGIC).map_err(broken)?;
                journal.len = MAGIC.len() as u64;
                journal.append(&JournalRecord::Header(purpose.clone())).map_err(broken)?;
                journal.append(&JournalRecord::Session { boot: boot_id() }).map_err(broken)?;
                return Ok((journal, found));
            }
            FileStart::Foreign => {
                let message = format!("{} is no checkpoint of this version of rungs", path.display());
                return Err(Error::new(ErrorKind::Config, message).with_hint("name another --checkpoint"));
            }
        }
        let whole = found.replay(&mut file, path, purpose, None)?;
        let mut end = whole.end;
        if found.rebooted {
            // What was written after the last sync may have reached the disk in part, or in another order.
            end = found.state.synced_at.max(whole.header_end);
            found.state = JournalState::default();
            found.replay(&mut file, path, purpose, Some(end))?;
            found.rebooted = end < whole.end;
        }
        found.torn_bytes = size - whole.end;
        file.set_len(end).map_err(broken)?;
        file.seek(SeekFrom::Start(end)).map_err(broken)?;
        let forgotten = found.state.forgotten_at;
        let mut journal =
            Self { file, path: path.to_owned(), len: end, dirty: true, forgotten_at: forgotten };
        journal.append(&JournalRecord::Session { boot: boot_id() }).map_err(broken)?;
        Ok((journal, found))
    }

    /// Tells `entry` of every finished task, but not of those that are to be tried again.
    pub(super) fn for_each_entry(
        &mut self,
        mut entry: impl FnMut(&CommitEntry) -> io::Result<()>,
    ) -> io::Result<()> {
        let forgotten = self.forgotten_at;
        let mut offset = MAGIC.len() as u64;
        self.file.seek(SeekFrom::Start(offset))?;
        let mut reader = BufReader::with_capacity(1 << 16, &self.file);
        while let FrameRead::Complete(payload) = format::read_frame(&mut reader, self.len - offset)? {
            offset += (format::HEADER_BYTES + payload.len()) as u64;
            let Some(JournalRecord::Commit { entries, .. }) = JournalRecord::decode(&payload) else {
                continue;
            };
            for done in entries.iter().filter(|done| !done.outcome.is_retryable || offset > forgotten) {
                entry(done)?;
            }
        }
        self.file.seek(SeekFrom::Start(self.len))?;
        Ok(())
    }

    /// What pages led to so far, to be read while the journal is written.
    pub(super) fn discoveries(&self) -> Result<DiscoveriesReader> {
        let broken = |cause| checkpoint_error(&self.path, "could not be read", cause);
        let mut file = File::open(&self.path).map_err(broken)?;
        let offset = MAGIC.len() as u64;
        file.seek(SeekFrom::Start(offset)).map_err(broken)?;
        let reader = BufReader::with_capacity(1 << 16, file);
        Ok(DiscoveriesReader { reader, left: self.len - offset, path: self.path.clone() })
    }

    /// Writes down finished tasks, whose records end the output's first `position` bytes or rows.
    pub(super) fn commit(&mut self, position: u64, entries: &[CommitEntry]) -> io::Result<()> {
        self.commit_with_discoveries(position, entries, [].iter(), &[])
    }

    /// The same, and what these tasks led to: both or neither.
    pub(super) fn commit_with_discoveries<'a>(
        &mut self,
        position: u64,
        entries: &[CommitEntry],
        tasks: impl Iterator<Item = &'a Task>,
        aliases: &[TaskKey],
    ) -> io::Result<()> {
        let mut framed = Payload::new();
        for payload in Discoveries::payloads(tasks, aliases) {
            framed.extend_from_slice(&format::encode_frame(&payload));
        }
        // Behind what they led to: who finds this one finds the others.
        framed.extend_from_slice(&format::encode_frame(&format::commit_payload(position, entries)));
        self.append_frames(&framed)
    }

    /// All that was written before, output and journal, is on the disk for good.
    pub(super) fn mark_synced(&mut self, position: u64) -> io::Result<()> {
        if !self.dirty {
            return Ok(());
        }
        self.append(&JournalRecord::Synced { position })?;
        self.file.sync_data()?;
        self.dirty = false;
        Ok(())
    }

    /// The output is about to be replaced by one of `len` bytes, without the records that may be better now.
    pub(super) fn begin_replace(&mut self, len: u64) -> io::Result<()> {
        self.append(&JournalRecord::Replacing { len })?;
        self.file.sync_data()
    }

    /// It was, and what may be better now is forgotten.
    pub(super) fn finish_replace(&mut self, len: u64) -> io::Result<()> {
        self.append(&JournalRecord::Replaced { len })?;
        self.forgotten_at = self.len;
        self.file.sync_data()
    }

    /// The run is over: nothing is left to do.
    pub(super) fn mark_finished(&mut self) -> io::Result<()> {
        self.append(&JournalRecord::Finished)?;
        self.file.sync_data()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn append(&mut self, frame: &JournalRecord) -> io::Result<()> {
        self.append_frames(&format::encode_frame(&frame.to_payload()))
    }

    /// By one write. When that fails, the file is as it was.
    fn append_frames(&mut self, framed: &[u8]) -> io::Result<()> {
        if let Err(cause) = self.file.write_all(framed) {
            // A full disk may have taken a part; the next reader would cut that off anyway.
            let _ = self.file.set_len(self.len);
            let _ = self.file.seek(SeekFrom::Start(self.len));
            return Err(cause);
        }
        self.len += framed.len() as u64;
        self.dirty = true;
        Ok(())
    }
}

/// Reads what pages led to.
pub(super) struct DiscoveriesReader {
    reader: BufReader<File>,
    left: u64,
    path: PathBuf,
}

impl Iterator for DiscoveriesReader {
    type Item = Result<Discoveries>;

    fn next(&mut self) -> Option<Result<Discoveries>> {
        loop {
            let payload = match format::read_frame(&mut self.reader, self.left) {
                Ok(FrameRead::Complete(payload)) => payload,
                Ok(_) => return None,
                Err(cause) => return Some(Err(checkpoint_error(&self.path, "could not be read", cause))),
            };
            self.left -= (format::HEADER_BYTES + payload.len()) as u64;
            if let Some(JournalRecord::Discoveries(finds)) = JournalRecord::decode(&payload) {
                return Some(Ok(finds));
            }
        }
    }
}

/// How far a reading went.
struct ReadExtent {
    end: u64,
    /// Behind the frame that says what the journal is for.
    header_end: u64,
}

impl Recovery {
    /// Reads frames from the beginning, up to `until` or as far as they are whole.
    fn replay(
        &mut self,
        file: &mut File,
        path: &Path,
        purpose: &JournalHeader,
        until: Option<u64>,
    ) -> Result<ReadExtent> {
        let broken = |cause| checkpoint_error(path, "could not be read", cause);
        let size = file.metadata().map_err(broken)?.len();
        let mut offset = MAGIC.len() as u64;
        let mut purpose_ends = offset;
        file.seek(SeekFrom::Start(offset)).map_err(broken)?;
        let mut reader = BufReader::with_capacity(1 << 16, &*file);
        let mut last_boot = None;
        while until.is_none_or(|until| offset < until) {
            let payload = match format::read_frame(&mut reader, size - offset).map_err(broken)? {
                FrameRead::Complete(payload) => payload,
                FrameRead::End | FrameRead::Torn => break,
                FrameRead::Corrupt if last_boot.as_ref() != Some(&boot_id()) => break,
                FrameRead::Corrupt => return Err(corruption_error(path, offset)),
            };
            let frame = JournalRecord::decode(&payload).ok_or_else(|| corruption_error(path, offset))?;
            offset += format::HEADER_BYTES as u64 + payload.len() as u64;
            match &frame {
                JournalRecord::Header(other) => {
                    purpose_ends = offset;
                    other.check(purpose, path)?;
                }
                JournalRecord::Session { boot } => last_boot = Some(boot.clone()),
                _ => {}
            }
            self.state.apply(&frame, offset);
        }
        self.rebooted = last_boot.is_some_and(|last| last != boot_id()) && !self.state.finished;
        Ok(ReadExtent { end: offset, header_end: purpose_ends })
    }
}

impl JournalHeader {
    fn check(&self, now: &Self, path: &Path) -> Result<()> {
        if self == now {
            return Ok(());
        }
        let other = [
            ("of", &self.input, &now.input),
            ("into", &self.output, &now.output),
            ("as", &self.format, &now.format),
        ];
        let told: Vec<String> = other
            .into_iter()
            .filter(|(_, then, now)| then != now)
            .map(|(word, then, now)| format!("{word} {then}, not {now}"))
            .collect();
        let message = format!("the checkpoint {} is for a batch {}", path.display(), told.join(", and "));
        Err(Error::new(ErrorKind::Config, message)
            .with_hint("give the same command again to resume, or name another --checkpoint"))
    }
}

enum FileStart {
    Valid,
    /// New, or ended before its first line was whole.
    Incomplete,
    Foreign,
}

fn check_magic(file: &mut File, size: u64) -> io::Result<FileStart> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(MAGIC.len() as u64).read_to_end(&mut head)?;
    Ok(if head == MAGIC && size > MAGIC.len() as u64 {
        FileStart::Valid
    } else if MAGIC.starts_with(&head) {
        FileStart::Incomplete
    } else {
        FileStart::Foreign
    })
}

fn corruption_error(path: &Path, offset: u64) -> Error {
    let message = format!("the checkpoint {} is damaged at byte {offset}", path.display());
    Error::new(ErrorKind::Io, message).with_hint("begin anew: move it and its output away, or name others")
}

pub(super) fn checkpoint_error(path: &Path, what: &str, cause: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("the checkpoint {} {what}", path.display())).with_source(cause)
}

/// Which start of the machine this is; empty where nobody says.
fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// What stands for a task that is finished.
pub(super) fn new_entry(key: TaskKey, outcome: TaskOutcome, len: u64) -> CommitEntry {
    CommitEntry { key, outcome, len: u32::try_from(len).unwrap_or(u32::MAX) }
}

const MAGIC: &[u8] = b"rungs checkpoint 1\n";

#[cfg(test)]
mod tests;
