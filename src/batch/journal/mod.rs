//! The journal: the finished tasks, and the length of the output that contains their records.
//!
//! The file is append-only: a magic line, then frames with length and CRC. An incomplete frame at the end is
//! truncated; a corrupt frame elsewhere is an error. Written entries survive a crash of the program. They survive a
//! crash of the machine once they are [synced](Journal::mark_synced).

mod format;
mod state;

use std::fs::{File, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::outcome::TaskOutcome;
use super::task::{Task, TaskKey};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::os::output_file;

use format::{FrameRead, JournalRecord, Payload};

pub(super) use format::{CommitEntry, Discoveries};
pub(super) use state::{JournalState, Ranges};

/// The batch that a journal belongs to. A resumed run must have the same header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JournalHeader {
    pub(super) input: String,
    pub(super) output: String,
    pub(super) format: String,
}

/// An open journal, locked by this process.
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    len: u64,
    /// Whether entries were written since the last sync.
    dirty: bool,
    /// Retryable failures before this offset are not finished.
    forgotten_at: u64,
}

/// The state recovered from a journal.
pub(super) struct Recovery {
    pub(super) state: JournalState,
    /// Truncated bytes of an incomplete frame.
    pub(super) torn_bytes: u64,
    /// The machine restarted since, so only synced entries count.
    pub(super) rebooted: bool,
}

impl Journal {
    /// Opens the journal at `path`, or creates it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when another process uses it, when it belongs to another batch, or when it is not a
    /// journal. [`ErrorKind::Io`] when it is corrupt or could not be opened.
    pub(super) fn open(path: &Path, header: &JournalHeader) -> Result<(Self, Recovery)> {
        let broken = |cause| checkpoint_error(path, "open", cause);
        let mut file = output_file::open_regular(path, 0o666).map_err(broken)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("the checkpoint {} is in use by another run", path.display());
                return Err(Error::new(ErrorKind::Config, message)
                    .with_hint("wait for that run to end, or pass another --checkpoint"));
            }
            Err(TryLockError::Error(cause)) => return Err(broken(cause)),
        }
        let size = file.metadata().map_err(broken)?.len();
        let mut recovery = Recovery { state: JournalState::default(), torn_bytes: 0, rebooted: false };
        let start = check_magic(&mut file, size).map_err(broken)?;
        match start {
            FileStart::Valid => {}
            FileStart::Incomplete => {
                recovery.torn_bytes = size;
                let mut journal = Self { file, path: path.to_owned(), len: 0, dirty: true, forgotten_at: 0 };
                journal.file.set_len(0).map_err(broken)?;
                journal.file.seek(SeekFrom::Start(0)).map_err(broken)?;
                journal.file.write_all(MAGIC).map_err(broken)?;
                journal.len = MAGIC.len() as u64;
                journal.append(&JournalRecord::Header(header.clone())).map_err(broken)?;
                journal.append(&JournalRecord::Session { boot: boot_id() }).map_err(broken)?;
                return Ok((journal, recovery));
            }
            FileStart::Foreign => {
                let message = format!("{} is not a checkpoint of this version of rungs", path.display());
                return Err(Error::new(ErrorKind::Config, message).with_hint("pass another --checkpoint"));
            }
        }
        let extent = recovery.replay(&mut file, path, header, None)?;
        let mut end = extent.end;
        if recovery.rebooted {
            // Entries after the last sync may have reached the disk in part, or in another order.
            end = recovery.state.synced_at.max(extent.header_end);
            recovery.state = JournalState::default();
            recovery.replay(&mut file, path, header, Some(end))?;
            recovery.rebooted = end < extent.end;
        }
        recovery.torn_bytes = size - extent.end;
        file.set_len(end).map_err(broken)?;
        file.seek(SeekFrom::Start(end)).map_err(broken)?;
        let forgotten_at = recovery.state.forgotten_at;
        let mut journal = Self { file, path: path.to_owned(), len: end, dirty: true, forgotten_at };
        journal.append(&JournalRecord::Session { boot: boot_id() }).map_err(broken)?;
        Ok((journal, recovery))
    }

    /// Calls `entry` for every finished task, except those that are retried.
    pub(super) fn for_each_entry(
        &mut self,
        mut entry: impl FnMut(&CommitEntry) -> io::Result<()>,
    ) -> io::Result<()> {
        let forgotten_at = self.forgotten_at;
        let mut offset = MAGIC.len() as u64;
        self.file.seek(SeekFrom::Start(offset))?;
        let mut reader = BufReader::with_capacity(1 << 16, &self.file);
        while let FrameRead::Complete(payload) = format::read_frame(&mut reader, self.len - offset)? {
            offset += (format::HEADER_BYTES + payload.len()) as u64;
            let Some(JournalRecord::Commit { entries, .. }) = JournalRecord::decode(&payload) else {
                continue;
            };
            for done in entries.iter().filter(|done| !done.outcome.is_retryable || offset > forgotten_at) {
                entry(done)?;
            }
        }
        self.file.seek(SeekFrom::Start(self.len))?;
        Ok(())
    }

    /// Returns a reader of all discoveries so far. It works while the journal is written.
    pub(super) fn discoveries(&self) -> Result<DiscoveriesReader> {
        DiscoveriesReader::open(&self.path, self.len)
    }

    /// Writes finished tasks. Their records are the last of the output's first `position` bytes or rows.
    pub(super) fn commit(&mut self, position: u64, entries: &[CommitEntry]) -> io::Result<()> {
        self.commit_with_discoveries(position, entries, [].iter(), &[])
    }

    /// Writes finished tasks together with their discoveries: both or neither.
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
        // The commit comes last: if it is complete, so are the discoveries before it.
        framed.extend_from_slice(&format::encode_frame(&format::commit_payload(position, entries)));
        self.append_frames(&framed)
    }

    /// Syncs the journal. The caller has synced the output up to `position`.
    pub(super) fn mark_synced(&mut self, position: u64) -> io::Result<()> {
        if !self.dirty {
            return Ok(());
        }
        self.append(&JournalRecord::Synced { position })?;
        self.file.sync_data()?;
        self.dirty = false;
        Ok(())
    }

    /// Writes that the output is about to be replaced by one of `len` bytes, without the retryable records.
    pub(super) fn begin_replace(&mut self, len: u64) -> io::Result<()> {
        self.append(&JournalRecord::Replacing { len })?;
        self.file.sync_data()
    }

    /// Writes that the output was replaced, and forgets retryable failures.
    pub(super) fn finish_replace(&mut self, len: u64) -> io::Result<()> {
        self.append(&JournalRecord::Replaced { len })?;
        self.forgotten_at = self.len;
        self.file.sync_data()
    }

    /// Writes that all tasks are finished.
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

    /// Appends by one write. If the write fails, the file is unchanged.
    fn append_frames(&mut self, framed: &[u8]) -> io::Result<()> {
        if let Err(cause) = self.file.write_all(framed) {
            // A full disk may have stored a part. The next open would truncate it anyway.
            let _ = self.file.set_len(self.len);
            let _ = self.file.seek(SeekFrom::Start(self.len));
            return Err(cause);
        }
        self.len += framed.len() as u64;
        self.dirty = true;
        Ok(())
    }
}

/// Iterates over the discoveries of a journal.
pub(super) struct DiscoveriesReader {
    reader: BufReader<File>,
    left: u64,
    len: u64,
    path: PathBuf,
}

impl DiscoveriesReader {
    /// Reads the first `len` bytes of the journal at `path`.
    fn open(path: &Path, len: u64) -> Result<Self> {
        let broken = |cause| checkpoint_error(path, "read", cause);
        let mut file = File::open(path).map_err(broken)?;
        let offset = MAGIC.len() as u64;
        file.seek(SeekFrom::Start(offset)).map_err(broken)?;
        let reader = BufReader::with_capacity(1 << 16, file);
        Ok(Self { reader, left: len - offset, len, path: path.to_owned() })
    }

    /// Returns a reader that begins at the start.
    pub(super) fn reopen(&self) -> Result<Self> {
        Self::open(&self.path, self.len)
    }
}

impl Iterator for DiscoveriesReader {
    type Item = Result<Discoveries>;

    fn next(&mut self) -> Option<Result<Discoveries>> {
        loop {
            let payload = match format::read_frame(&mut self.reader, self.left) {
                Ok(FrameRead::Complete(payload)) => payload,
                Ok(_) => return None,
                Err(cause) => return Some(Err(checkpoint_error(&self.path, "read", cause))),
            };
            self.left -= (format::HEADER_BYTES + payload.len()) as u64;
            if let Some(JournalRecord::Discoveries(discoveries)) = JournalRecord::decode(&payload) {
                return Some(Ok(discoveries));
            }
        }
    }
}

/// The extent of a replay.
struct ReadExtent {
    end: u64,
    /// The offset after the header frame.
    header_end: u64,
}

impl Recovery {
    /// Reads frames from the beginning, up to `until` or to the first incomplete frame.
    fn replay(
        &mut self,
        file: &mut File,
        path: &Path,
        header: &JournalHeader,
        until: Option<u64>,
    ) -> Result<ReadExtent> {
        let broken = |cause| checkpoint_error(path, "read", cause);
        let size = file.metadata().map_err(broken)?.len();
        let mut offset = MAGIC.len() as u64;
        let mut header_end = offset;
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
                    header_end = offset;
                    other.check(header, path)?;
                }
                JournalRecord::Session { boot } => last_boot = Some(boot.clone()),
                _ => {}
            }
            self.state.apply(&frame, offset);
        }
        self.rebooted = last_boot.is_some_and(|last| last != boot_id()) && !self.state.finished;
        Ok(ReadExtent { end: offset, header_end })
    }
}

impl JournalHeader {
    fn check(&self, now: &Self, path: &Path) -> Result<()> {
        if self == now {
            return Ok(());
        }
        let other = [
            ("input", &self.input, &now.input),
            ("output", &self.output, &now.output),
            ("format", &self.format, &now.format),
        ];
        let differences: Vec<String> = other
            .into_iter()
            .filter(|(_, then, now)| then != now)
            .map(|(word, then, now)| format!("{word} {then}, not {now}"))
            .collect();
        let message =
            format!("the checkpoint {} is for another batch: {}", path.display(), differences.join("; "));
        Err(Error::new(ErrorKind::Config, message)
            .with_hint("run the same command again to resume, or pass another --checkpoint"))
    }
}

enum FileStart {
    Valid,
    /// The file is empty, or ends within the magic line.
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
    let message = format!("the checkpoint {} is corrupt at byte {offset}", path.display());
    Error::new(ErrorKind::Io, message)
        .with_hint("to start over, move the checkpoint and its output away, or pass other files")
}

/// An I/O error; `action` is a verb, such as "read".
pub(super) fn checkpoint_error(path: &Path, action: &str, cause: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("could not {action} the checkpoint {}", path.display()))
        .with_source(cause)
}

/// The boot ID of the machine. Empty if the system does not report one.
fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// Creates the entry of a finished task.
pub(super) fn new_entry(key: TaskKey, outcome: TaskOutcome, len: u64) -> CommitEntry {
    CommitEntry { key, outcome, len: u32::try_from(len).unwrap_or(u32::MAX) }
}

const MAGIC: &[u8] = b"rungs checkpoint 1\n";

#[cfg(test)]
mod tests;
