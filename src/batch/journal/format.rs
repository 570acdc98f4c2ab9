//! Frames: how the journal's entries are bytes.

use std::io::{self, Read as _};

use super::JournalHeader;
use crate::batch::record::RecordStatus;
use crate::batch::task::{Task, TaskKey};
use crate::tier::Tier;

/// A frame's payload: its kind, then what it says.
pub(super) type Payload = Vec<u8>;

/// What the journal says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum JournalRecord {
    /// What the journal is for.
    Header(JournalHeader),
    /// A run began, on this start of the machine.
    Session { boot: String },
    /// Tasks are finished, and the output is so long.
    Commit { position: u64, entries: Vec<CommitEntry> },
    /// What is before is on the disk for good.
    Synced { position: u64 },
    /// The output is about to become one of this length.
    Replacing { len: u64 },
    /// It is.
    Replaced { len: u64 },
    /// The run came to its end.
    Finished,
    /// What pages led to: written with the commit of these pages, before it.
    Discoveries(Discoveries),
}

/// What pages led to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::batch) struct Discoveries {
    pub(in crate::batch) tasks: Vec<Task>,
    /// URLs that these pages answered for.
    pub(in crate::batch) aliases: Vec<TaskKey>,
}

/// A finished task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::batch) struct CommitEntry {
    pub(in crate::batch) key: TaskKey,
    pub(in crate::batch) outcome: TaskOutcome,
    /// How long its record is in the output, in the output's unit.
    pub(in crate::batch) len: u32,
}

/// What became of a task, as far as the sums and a second pass need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::batch) struct TaskOutcome {
    pub(in crate::batch) status: RecordStatus,
    pub(in crate::batch) tier: Option<Tier>,
    /// It failed in a way that may pass.
    pub(in crate::batch) is_retryable: bool,
}

/// What is next in a file.
pub(super) enum FrameRead {
    Complete(Payload),
    End,
    /// The file ends within it.
    Torn,
    /// It is there and it is wrong.
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
            Self::Discoveries(finds) => finds.to_payload(),
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
    /// The payloads of frames that hold these tasks and aliases, none of them too long.
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
        let mut finds = Self::default();
        for _ in 0..take_u64(rest)? {
            let (key, left) = rest.split_first_chunk::<16>()?;
            *rest = left;
            finds.aliases.push(TaskKey(u128::from_le_bytes(*key)));
        }
        while !rest.is_empty() {
            finds.tasks.push(serde_json::from_str(&take_string(rest)?).ok()?);
        }
        Some(finds)
    }
}

/// The beginning of a frame of findings.
fn start_discoveries(aliases: &[TaskKey]) -> Payload {
    let mut bytes = vec![8];
    bytes.extend_from_slice(&(aliases.len() as u64).to_le_bytes());
    for key in aliases {
        bytes.extend_from_slice(&key.0.to_le_bytes());
    }
    bytes
}

fn append_task(bytes: &mut Payload, task: &Task) {
    let json = serde_json::to_vec(task).expect("a task has string keys and nothing that JSON does not know");
    bytes.extend_from_slice(&(json.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&json);
}

/// The payload of a commit.
pub(super) fn commit_payload(position: u64, entries: &[CommitEntry]) -> Payload {
    let mut bytes = Vec::with_capacity(9 + entries.len() * ENTRY_BYTES);
    bytes.push(3);
    bytes.extend_from_slice(&position.to_le_bytes());
    for entry in entries {
        entry.encode(&mut bytes);
    }
    bytes
}

/// A payload with length and CRC before it.
pub(super) fn encode_frame(payload: &[u8]) -> Payload {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    let len = u32::try_from(payload.len()).expect("a commit is of at most some thousand tasks");
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Reads the next frame of a file that has `left` bytes more.
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
        // The last one: its pages did not all reach the disk.
        FrameRead::Torn
    } else {
        FrameRead::Corrupt
    })
}

impl CommitEntry {
    fn encode(&self, bytes: &mut Payload) {
        bytes.extend_from_slice(&self.key.0.to_le_bytes());
        bytes.extend_from_slice(&self.len.to_le_bytes());
        let ending = match self.outcome.status {
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
        bytes.push(ending | tier << 2 | u8::from(self.outcome.is_retryable) << 4);
    }

    fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let (mut key, mut len) = ([0; 16], [0; 4]);
        key.copy_from_slice(&bytes[..16]);
        len.copy_from_slice(&bytes[16..20]);
        let flags = bytes[20];
        let ending = match flags & 3 {
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
        let outcome = TaskOutcome { status: ending, tier, is_retryable: flags & 16 != 0 };
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

/// Length and CRC.
pub(super) const HEADER_BYTES: usize = 8;
/// Bytes of a finished task.
const ENTRY_BYTES: usize = 21;
/// A frame of findings is not much longer.
const TARGET_PAYLOAD_BYTES: usize = 4 << 20;
const MAX_ALIASES: usize = 1 << 16;
/// No payload is longer.
const MAX_PAYLOAD_BYTES: u32 = 64 << 20;
