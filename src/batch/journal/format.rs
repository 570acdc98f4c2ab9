//! Encodes and decodes the journal's frames.

use std::io::{self, Read as _};

use super::JournalHeader;
use crate::batch::outcome::TaskOutcome;
use crate::batch::record::RecordStatus;
use crate::batch::task::{Task, TaskKey};
use crate::exchange::tier::Tier;

/// A frame's payload: a byte for its kind, then its content.
pub(super) type Payload = Vec<u8>;

/// One entry of the journal.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum JournalRecord {
    /// The batch that the journal belongs to.
    Header(JournalHeader),
    /// A run started. `boot` is the machine's boot ID.
    Session { boot: String },
    /// Finished tasks, and the output's position after their records.
    Commit { position: u64, entries: Vec<CommitEntry> },
    /// All previous entries are synced to disk.
    Synced { position: u64 },
    /// The output is about to be replaced by one of this length.
    Replacing { len: u64 },
    /// The output was replaced by one of this length.
    Replaced { len: u64 },
    /// The run finished all tasks.
    Finished,
    /// The tasks discovered on pages. They are written together with the commit of these pages, before it.
    Discoveries(Discoveries),
}

/// The tasks and aliases discovered on pages.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::batch) struct Discoveries {
    pub(in crate::batch) tasks: Vec<Task>,
    /// Other URLs of these pages, by redirect or `rel=canonical`.
    pub(in crate::batch) aliases: Vec<TaskKey>,
}

/// A finished task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::batch) struct CommitEntry {
    pub(in crate::batch) key: TaskKey,
    pub(in crate::batch) outcome: TaskOutcome,
    /// The length of its record in the output, in the output's unit.
    pub(in crate::batch) len: u32,
}

/// The result of reading a frame.
pub(super) enum FrameRead {
    Complete(Payload),
    End,
    /// The file ends within the frame.
    Torn,
    /// The length or the CRC is wrong.
    Corrupt,
}

impl JournalRecord {
    pub(super) fn to_payload(&self) -> Payload {
        let numbered = |kind: u8, number: u64| {
            let mut bytes = vec![kind];
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes
        };
        let texts = |kind: u8, texts: &[&str]| {
            let mut bytes = vec![kind];
            for text in texts {
                bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
                bytes.extend_from_slice(text.as_bytes());
            }
            bytes
        };
        match self {
            Self::Header(JournalHeader { input, output, format }) => texts(1, &[input, output, format]),
            Self::Session { boot } => texts(2, &[boot]),
            Self::Commit { position, entries } => commit_payload(*position, entries),
            Self::Synced { position } => numbered(4, *position),
            Self::Replacing { len } => numbered(5, *len),
            Self::Replaced { len } => numbered(6, *len),
            Self::Finished => vec![7],
            Self::Discoveries(discoveries) => discoveries.to_payload(),
        }
    }

    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let (kind, mut rest) = payload.split_first()?;
        let rest = &mut rest;
        let frame = match kind {
            1 => Self::Header(JournalHeader {
                input: take_string(rest)?,
                output: take_string(rest)?,
                format: take_string(rest)?,
            }),
            2 => Self::Session { boot: take_string(rest)? },
            3 => {
                let position = take_u64(rest)?;
                let (entries, left) = rest.as_chunks::<ENTRY_BYTES>();
                *rest = left;
                Self::Commit {
                    position,
                    entries: entries.iter().map(CommitEntry::decode).collect::<Option<_>>()?,
                }
            }
            4 => Self::Synced { position: take_u64(rest)? },
            5 => Self::Replacing { len: take_u64(rest)? },
            6 => Self::Replaced { len: take_u64(rest)? },
            7 => Self::Finished,
            8 => Self::Discoveries(Discoveries::decode(rest)?),
            _ => return None,
        };
        rest.is_empty().then_some(frame)
    }
}

impl Discoveries {
    /// Encodes these tasks and aliases as payloads of bounded length.
    pub(super) fn payloads<'a>(tasks: impl Iterator<Item = &'a Task>, aliases: &[TaskKey]) -> Vec<Payload> {
        let mut payloads = Vec::new();
        for keys in aliases.chunks(MAX_ALIASES) {
            payloads.push(start_discoveries(keys));
        }
        let mut payload = Vec::new();
        for task in tasks {
            if payload.is_empty() {
                payload = start_discoveries(&[]);
            }
            append_task(&mut payload, task);
            if payload.len() > TARGET_PAYLOAD_BYTES {
                payloads.push(std::mem::take(&mut payload));
            }
        }
        if !payload.is_empty() {
            payloads.push(payload);
        }
        payloads
    }

    fn to_payload(&self) -> Payload {
        let mut bytes = start_discoveries(&self.aliases);
        self.tasks.iter().for_each(|task| append_task(&mut bytes, task));
        bytes
    }

    fn decode(rest: &mut &[u8]) -> Option<Self> {
        let mut discoveries = Self::default();
        for _ in 0..take_u64(rest)? {
            let (key, left) = rest.split_first_chunk::<16>()?;
            *rest = left;
            discoveries.aliases.push(TaskKey(u128::from_le_bytes(*key)));
        }
        while !rest.is_empty() {
            discoveries.tasks.push(serde_json::from_str(&take_string(rest)?).ok()?);
        }
        Some(discoveries)
    }
}

/// Starts the payload of a discoveries frame.
fn start_discoveries(aliases: &[TaskKey]) -> Payload {
    let mut bytes = vec![8];
    bytes.extend_from_slice(&(aliases.len() as u64).to_le_bytes());
    for key in aliases {
        bytes.extend_from_slice(&key.0.to_le_bytes());
    }
    bytes
}

fn append_task(bytes: &mut Payload, task: &Task) {
    let json = serde_json::to_vec(task).expect("a task has string keys and serializable values");
    bytes.extend_from_slice(&(json.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&json);
}

/// Encodes the payload of a commit.
pub(super) fn commit_payload(position: u64, entries: &[CommitEntry]) -> Payload {
    let mut bytes = Vec::with_capacity(9 + entries.len() * ENTRY_BYTES);
    bytes.push(3);
    bytes.extend_from_slice(&position.to_le_bytes());
    for entry in entries {
        entry.encode(&mut bytes);
    }
    bytes
}

/// Prefixes a payload with its length and CRC.
pub(super) fn encode_frame(payload: &[u8]) -> Payload {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    let len = u32::try_from(payload.len()).expect("a commit has at most some thousand tasks");
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Reads the next frame of a file with `left` remaining bytes.
pub(super) fn read_frame(reader: &mut impl io::Read, left: u64) -> io::Result<FrameRead> {
    if left == 0 {
        return Ok(FrameRead::End);
    }
    if left < HEADER_BYTES as u64 {
        return Ok(FrameRead::Torn);
    }
    let mut head = [0; HEADER_BYTES];
    reader.read_exact(&mut head)?;
    let (len, crc) = (read_u32(head, 0), read_u32(head, 4));
    let rest = left - HEADER_BYTES as u64;
    if u64::from(len) > rest {
        return Ok(FrameRead::Torn);
    }
    if len == 0 || len > MAX_PAYLOAD_BYTES {
        return Ok(FrameRead::Corrupt);
    }
    let mut payload = Vec::new();
    reader.take(u64::from(len)).read_to_end(&mut payload)?;
    Ok(if crc32fast::hash(&payload) == crc {
        FrameRead::Complete(payload)
    } else if u64::from(len) == rest {
        // The last frame: a crash may have left some of its disk pages unwritten.
        FrameRead::Torn
    } else {
        FrameRead::Corrupt
    })
}

impl CommitEntry {
    fn encode(&self, bytes: &mut Payload) {
        bytes.extend_from_slice(&self.key.0.to_le_bytes());
        bytes.extend_from_slice(&self.len.to_le_bytes());
        let status = match self.outcome.status {
            RecordStatus::Succeeded => 0,
            RecordStatus::Blocked => 1,
            RecordStatus::Failed => 2,
        };
        let tier = match self.outcome.tier {
            None => 0,
            Some(Tier::Plain) => 1,
            Some(Tier::Impersonate) => 2,
            Some(Tier::Browser) => 3,
        };
        bytes.push(status | tier << 2 | u8::from(self.outcome.is_retryable) << 4);
    }

    fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let (mut key, mut len) = ([0; 16], [0; 4]);
        key.copy_from_slice(&bytes[..16]);
        len.copy_from_slice(&bytes[16..20]);
        let flags = bytes[20];
        let status = match flags & 3 {
            0 => RecordStatus::Succeeded,
            1 => RecordStatus::Blocked,
            2 => RecordStatus::Failed,
            _ => return None,
        };
        let tier = match flags >> 2 & 3 {
            0 => None,
            1 => Some(Tier::Plain),
            2 => Some(Tier::Impersonate),
            _ => Some(Tier::Browser),
        };
        let outcome = TaskOutcome { status, tier, is_retryable: flags & 16 != 0 };
        Some(Self { key: TaskKey(u128::from_le_bytes(key)), outcome, len: u32::from_le_bytes(len) })
    }
}

fn read_u32(head: [u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, left) = rest.split_first_chunk::<8>()?;
    *rest = left;
    Some(u64::from_le_bytes(*bytes))
}

fn take_string(rest: &mut &[u8]) -> Option<String> {
    let len = usize::try_from(take_u64(rest)?).ok()?;
    let (bytes, left) = rest.split_at_checked(len)?;
    *rest = left;
    String::from_utf8(bytes.to_vec()).ok()
}

/// The size of length and CRC.
pub(super) const HEADER_BYTES: usize = 8;
/// The size of a commit entry.
const ENTRY_BYTES: usize = 21;
/// A discoveries frame ends after the task that exceeds this size.
const TARGET_PAYLOAD_BYTES: usize = 4 << 20;
const MAX_ALIASES: usize = 1 << 16;
/// The maximum length of a payload.
const MAX_PAYLOAD_BYTES: u32 = 64 << 20;
