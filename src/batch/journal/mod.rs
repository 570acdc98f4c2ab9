//! The journal: which tasks are finished, and how much of the output holds their records.
//!
//! A file that only grows: a line that says what it is, then frames with length and CRC. A frame that the
//! program's end left half written is cut off; one that is damaged anywhere else is an error. What is written
//! survives the program at once, and the machine once it is [synced](Journal::synced).

mod frame;
mod state;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::task::{Key, Task};
use crate::error::{Error, Result};
use crate::kind::ErrorKind;

use frame::{Bytes, Frame, Read as FrameRead};

pub(super) use frame::{Entry, Finds, Outcome};
pub(super) use state::{Ranges, State};

/// What a journal is for: a run must go on as it began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Purpose {
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
    forgotten: u64,
}

/// What was found in it.
pub(super) struct Found {
    pub(super) state: State,
    /// Bytes of a half-written frame that were cut off.
    pub(super) torn: u64,
    /// The machine stopped since: only what was synced counts.
    pub(super) rebooted: bool,
}

impl Journal {
    /// Opens the journal at `path`, made when it is not there.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when another process has it, when it is for something else, or no journal at all;
    /// [`ErrorKind::Io`] when it is damaged or the system does not give it.
    pub(super) fn open(path: &Path, purpose: &Purpose) -> Result<(Self, Found)> {
        let broken = |cause| at(path, "could not be used", cause);
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
        let mut found = Found { state: State::default(), torn: 0, rebooted: false };
        let begins = begun(&mut file, size).map_err(broken)?;
        match begins {
            Begun::Whole => {}
            Begun::Not => {
                found.torn = size;
                let mut journal = Self { file, path: path.to_owned(), len: 0, dirty: true, forgotten: 0 };
                journal.file.set_len(0).map_err(broken)?;
                journal.file.seek(SeekFrom::Start(0)).map_err(broken)?;
                journal.file.write_all(MAGIC).map_err(broken)?;
                journal.len = MAGIC.len() as u64;
                journal.append(&Frame::Purpose(purpose.clone())).map_err(broken)?;
                journal.append(&Frame::Session { boot: boot() }).map_err(broken)?;
                return Ok((journal, found));
            }
            Begun::Foreign => {
                let message = format!("{} is no checkpoint of this version of rungs", path.display());
                return Err(Error::new(ErrorKind::Config, message).with_hint("name another --checkpoint"));
            }
        }
        let whole = found.read(&mut file, path, purpose, None)?;
        let mut end = whole.ends;
        if found.rebooted {
            // What was written after the last sync may have reached the disk in part, or in another order.
            end = found.state.synced_at.max(whole.purpose_ends);
            found.state = State::default();
            found.read(&mut file, path, purpose, Some(end))?;
            found.rebooted = end < whole.ends;
        }
        found.torn = size - whole.ends;
        file.set_len(end).map_err(broken)?;
        file.seek(SeekFrom::Start(end)).map_err(broken)?;
        let forgotten = found.state.forgotten_at;
        let mut journal = Self { file, path: path.to_owned(), len: end, dirty: true, forgotten };
        journal.append(&Frame::Session { boot: boot() }).map_err(broken)?;
        Ok((journal, found))
    }

    /// Tells `entry` of every finished task, but not of those that are to be tried again.
    pub(super) fn each(&mut self, mut entry: impl FnMut(&Entry) -> io::Result<()>) -> io::Result<()> {
        let forgotten = self.forgotten;
        let mut offset = MAGIC.len() as u64;
        self.file.seek(SeekFrom::Start(offset))?;
        let mut reader = BufReader::with_capacity(1 << 16, &self.file);
        while let FrameRead::Whole(payload) = frame::read(&mut reader, self.len - offset)? {
            offset += (frame::HEAD + payload.len()) as u64;
            let Some(Frame::Commit { entries, .. }) = Frame::read(&payload) else { continue };
            for done in entries.iter().filter(|done| !done.outcome.may_pass || offset > forgotten) {
                entry(done)?;
            }
        }
        self.file.seek(SeekFrom::Start(self.len))?;
        Ok(())
    }

    /// What pages led to so far, to be read while the journal is written.
    pub(super) fn finds(&self) -> Result<FindsReader> {
        let broken = |cause| at(&self.path, "could not be read", cause);
        let mut file = File::open(&self.path).map_err(broken)?;
        let offset = MAGIC.len() as u64;
        file.seek(SeekFrom::Start(offset)).map_err(broken)?;
        let reader = BufReader::with_capacity(1 << 16, file);
        Ok(FindsReader { reader, left: self.len - offset, path: self.path.clone() })
    }

    /// Writes down finished tasks, whose records end the output's first `position` bytes or rows.
    pub(super) fn commit(&mut self, position: u64, entries: &[Entry]) -> io::Result<()> {
        self.commit_found(position, entries, [].iter(), &[])
    }

    /// The same, and what these tasks led to: both or neither.
    pub(super) fn commit_found<'a>(
        &mut self,
        position: u64,
        entries: &[Entry],
        tasks: impl Iterator<Item = &'a Task>,
        aliases: &[Key],
    ) -> io::Result<()> {
        let mut framed = Bytes::new();
        for payload in Finds::payloads(tasks, aliases) {
            framed.extend_from_slice(&frame::framed(&payload));
        }
        // Behind what they led to: who finds this one finds the others.
        framed.extend_from_slice(&frame::framed(&frame::commit(position, entries)));
        self.append_framed(&framed)
    }

    /// All that was written before, output and journal, is on the disk for good.
    pub(super) fn synced(&mut self, position: u64) -> io::Result<()> {
        if !self.dirty {
            return Ok(());
        }
        self.append(&Frame::Synced { position })?;
        self.file.sync_data()?;
        self.dirty = false;
        Ok(())
    }

    /// The output is about to be replaced by one of `len` bytes, without the records that may be better now.
    pub(super) fn replacing(&mut self, len: u64) -> io::Result<()> {
        self.append(&Frame::Replacing { len })?;
        self.file.sync_data()
    }

    /// It was, and what may be better now is forgotten.
    pub(super) fn replaced(&mut self, len: u64) -> io::Result<()> {
        self.append(&Frame::Replaced { len })?;
        self.forgotten = self.len;
        self.file.sync_data()
    }

    /// The run is over: nothing is left to do.
    pub(super) fn finished(&mut self) -> io::Result<()> {
        self.append(&Frame::Finished)?;
        self.file.sync_data()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn append(&mut self, frame: &Frame) -> io::Result<()> {
        self.append_framed(&frame::framed(&frame.payload()))
    }

    /// By one write. When that fails, the file is as it was.
    fn append_framed(&mut self, framed: &[u8]) -> io::Result<()> {
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
pub(super) struct FindsReader {
    reader: BufReader<File>,
    left: u64,
    path: PathBuf,
}

impl Iterator for FindsReader {
    type Item = Result<Finds>;

    fn next(&mut self) -> Option<Result<Finds>> {
        loop {
            let payload = match frame::read(&mut self.reader, self.left) {
                Ok(FrameRead::Whole(payload)) => payload,
                Ok(_) => return None,
                Err(cause) => return Some(Err(at(&self.path, "could not be read", cause))),
            };
            self.left -= (frame::HEAD + payload.len()) as u64;
            if let Some(Frame::Found(finds)) = Frame::read(&payload) {
                return Some(Ok(finds));
            }
        }
    }
}

/// How far a reading went.
struct Whole {
    ends: u64,
    /// Behind the frame that says what the journal is for.
    purpose_ends: u64,
}

impl Found {
    /// Reads frames from the beginning, up to `until` or as far as they are whole.
    fn read(&mut self, file: &mut File, path: &Path, purpose: &Purpose, until: Option<u64>) -> Result<Whole> {
        let broken = |cause| at(path, "could not be read", cause);
        let size = file.metadata().map_err(broken)?.len();
        let mut offset = MAGIC.len() as u64;
        let mut purpose_ends = offset;
        file.seek(SeekFrom::Start(offset)).map_err(broken)?;
        let mut reader = BufReader::with_capacity(1 << 16, &*file);
        let mut last_boot = None;
        while until.is_none_or(|until| offset < until) {
            let payload = match frame::read(&mut reader, size - offset).map_err(broken)? {
                FrameRead::Whole(payload) => payload,
                FrameRead::End | FrameRead::Torn => break,
                FrameRead::Damaged if last_boot.as_ref() != Some(&boot()) => break,
                FrameRead::Damaged => return Err(damaged(path, offset)),
            };
            let frame = Frame::read(&payload).ok_or_else(|| damaged(path, offset))?;
            offset += frame::HEAD as u64 + payload.len() as u64;
            match &frame {
                Frame::Purpose(other) => {
                    purpose_ends = offset;
                    other.check(purpose, path)?;
                }
                Frame::Session { boot } => last_boot = Some(boot.clone()),
                _ => {}
            }
            self.state.apply(&frame, offset);
        }
        self.rebooted = last_boot.is_some_and(|last| last != boot()) && !self.state.finished;
        Ok(Whole { ends: offset, purpose_ends })
    }
}

impl Purpose {
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

enum Begun {
    Whole,
    /// New, or ended before its first line was whole.
    Not,
    Foreign,
}

fn begun(file: &mut File, size: u64) -> io::Result<Begun> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(MAGIC.len() as u64).read_to_end(&mut head)?;
    Ok(if head == MAGIC && size > MAGIC.len() as u64 {
        Begun::Whole
    } else if MAGIC.starts_with(&head) {
        Begun::Not
    } else {
        Begun::Foreign
    })
}

fn damaged(path: &Path, offset: u64) -> Error {
    let message = format!("the checkpoint {} is damaged at byte {offset}", path.display());
    Error::new(ErrorKind::Io, message).with_hint("begin anew: move it and its output away, or name others")
}

pub(super) fn at(path: &Path, what: &str, cause: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("the checkpoint {} {what}", path.display())).with_source(cause)
}

/// Which start of the machine this is; empty where nobody says.
fn boot() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// What stands for a task that is finished.
pub(super) fn entry(key: Key, outcome: Outcome, len: u64) -> Entry {
    Entry { key, outcome, len: u32::try_from(len).unwrap_or(u32::MAX) }
}

const MAGIC: &[u8] = b"rungs checkpoint 1\n";

#[cfg(test)]
mod tests;
