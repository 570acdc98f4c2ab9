//! Frames: how the journal's entries are bytes.

use std::io::{self, Read as _};

use super::Purpose;
use crate::batch::record::Ending;
use crate::batch::task::{Key, Task};
use crate::tier::Tier;

/// A frame's payload: its kind, then what it says.
pub(super) type Bytes = Vec<u8>;

/// What the journal says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Frame {
    /// What the journal is for.
    Purpose(Purpose),
    /// A run began, on this start of the machine.
    Session { boot: String },
    /// Tasks are finished, and the output is so long.
    Commit { position: u64, entries: Vec<Entry> },
    /// What is before is on the disk for good.
    Synced { position: u64 },
    /// The output is about to become one of this length.
    Replacing { len: u64 },
    /// It is.
    Replaced { len: u64 },
    /// The run came to its end.
    Finished,
    /// What pages led to: written with the commit of these pages, before it.
    Found(Finds),
}

/// What pages led to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::batch) struct Finds {
    pub(in crate::batch) tasks: Vec<Task>,
    /// URLs that these pages answered for.
    pub(in crate::batch) aliases: Vec<Key>,
}

/// A finished task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::batch) struct Entry {
    pub(in crate::batch) key: Key,
    pub(in crate::batch) outcome: Outcome,
    /// How long its record is in the output, in the output's unit.
    pub(in crate::batch) len: u32,
}

/// What became of a task, as far as the sums and a second pass need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::batch) struct Outcome {
    pub(in crate::batch) ending: Ending,
    pub(in crate::batch) tier: Option<Tier>,
    /// It failed in a way that may pass.
    pub(in crate::batch) may_pass: bool,
}

/// What is next in a file.
pub(super) enum Read {
    Whole(Bytes),
    End,
    /// The file ends within it.
    Torn,
    /// It is there and it is wrong.
    Damaged,
}

impl Frame {
    pub(super) fn payload(&self) -> Bytes {
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
            Self::Purpose(Purpose { input, output, format }) => texts(1, &[input, output, format]),
            Self::Session { boot } => texts(2, &[boot]),
            Self::Commit { position, entries } => commit(*position, entries),
            Self::Synced { position } => numbered(4, *position),
            Self::Replacing { len } => numbered(5, *len),
            Self::Replaced { len } => numbered(6, *len),
            Self::Finished => vec![7],
            Self::Found(finds) => finds.payload(),
        }
    }

    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let (kind, mut rest) = payload.split_first()?;
        let rest = &mut rest;
        let frame = match kind {
            1 => Self::Purpose(Purpose { input: text(rest)?, output: text(rest)?, format: text(rest)? }),
            2 => Self::Session { boot: text(rest)? },
            3 => {
                let position = number(rest)?;
                let (entries, left) = rest.as_chunks::<ENTRY>();
                *rest = left;
                Self::Commit { position, entries: entries.iter().map(Entry::read).collect::<Option<_>>()? }
            }
            4 => Self::Synced { position: number(rest)? },
            5 => Self::Replacing { len: number(rest)? },
            6 => Self::Replaced { len: number(rest)? },
            7 => Self::Finished,
            8 => Self::Found(Finds::read(rest)?),
            _ => return None,
        };
        rest.is_empty().then_some(frame)
    }
}

impl Finds {
    /// The payloads of frames that hold these tasks and aliases, none of them too long.
    pub(super) fn payloads<'a>(tasks: impl Iterator<Item = &'a Task>, aliases: &[Key]) -> Vec<Bytes> {
        let mut payloads = Vec::new();
        for keys in aliases.chunks(MOST_ALIASES) {
            payloads.push(begun(keys));
        }
        let mut payload = Vec::new();
        for task in tasks {
            if payload.is_empty() {
                payload = begun(&[]);
            }
            append(&mut payload, task);
            if payload.len() > FULL {
                payloads.push(std::mem::take(&mut payload));
            }
        }
        if !payload.is_empty() {
            payloads.push(payload);
        }
        payloads
    }

    fn payload(&self) -> Bytes {
        let mut bytes = begun(&self.aliases);
        self.tasks.iter().for_each(|task| append(&mut bytes, task));
        bytes
    }

    fn read(rest: &mut &[u8]) -> Option<Self> {
        let mut finds = Self::default();
        for _ in 0..number(rest)? {
            let (key, left) = rest.split_first_chunk::<16>()?;
            *rest = left;
            finds.aliases.push(Key(u128::from_le_bytes(*key)));
        }
        while !rest.is_empty() {
            finds.tasks.push(serde_json::from_str(&text(rest)?).ok()?);
        }
        Some(finds)
    }
}

/// The beginning of a frame of findings.
fn begun(aliases: &[Key]) -> Bytes {
    let mut bytes = vec![8];
    bytes.extend_from_slice(&(aliases.len() as u64).to_le_bytes());
    for key in aliases {
        bytes.extend_from_slice(&key.0.to_le_bytes());
    }
    bytes
}

fn append(bytes: &mut Bytes, task: &Task) {
    let json = serde_json::to_vec(task).expect("a task has string keys and nothing that JSON does not know");
    bytes.extend_from_slice(&(json.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&json);
}

/// The payload of a commit.
pub(super) fn commit(position: u64, entries: &[Entry]) -> Bytes {
    let mut bytes = Vec::with_capacity(9 + entries.len() * ENTRY);
    bytes.push(3);
    bytes.extend_from_slice(&position.to_le_bytes());
    for entry in entries {
        entry.write(&mut bytes);
    }
    bytes
}

/// A payload with length and CRC before it.
pub(super) fn framed(payload: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(HEAD + payload.len());
    let len = u32::try_from(payload.len()).expect("a commit is of at most some thousand tasks");
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Reads the next frame of a file that has `left` bytes more.
pub(super) fn read(reader: &mut impl io::Read, left: u64) -> io::Result<Read> {
    if left == 0 {
        return Ok(Read::End);
    }
    if left < HEAD as u64 {
        return Ok(Read::Torn);
    }
    let mut head = [0; HEAD];
    reader.read_exact(&mut head)?;
    let (len, crc) = (part(head, 0), part(head, 4));
    let rest = left - HEAD as u64;
    if u64::from(len) > rest {
        return Ok(Read::Torn);
    }
    if len == 0 || len > MAX {
        return Ok(Read::Damaged);
    }
    let mut payload = Vec::new();
    reader.take(u64::from(len)).read_to_end(&mut payload)?;
    Ok(if crc32fast::hash(&payload) == crc {
        Read::Whole(payload)
    } else if u64::from(len) == rest {
        // The last one: its pages did not all reach the disk.
        Read::Torn
    } else {
        Read::Damaged
    })
}

impl Entry {
    fn write(&self, bytes: &mut Bytes) {
        bytes.extend_from_slice(&self.key.0.to_le_bytes());
        bytes.extend_from_slice(&self.len.to_le_bytes());
        let ending = match self.outcome.ending {
            Ending::Succeeded => 0,
            Ending::Blocked => 1,
            Ending::Failed => 2,
        };
        let tier = match self.outcome.tier {
            None => 0,
            Some(Tier::Plain) => 1,
            Some(Tier::Impersonate) => 2,
            Some(Tier::Browser) => 3,
        };
        bytes.push(ending | tier << 2 | u8::from(self.outcome.may_pass) << 4);
    }

    fn read(bytes: &[u8; ENTRY]) -> Option<Self> {
        let (mut key, mut len) = ([0; 16], [0; 4]);
        key.copy_from_slice(&bytes[..16]);
        len.copy_from_slice(&bytes[16..20]);
        let flags = bytes[20];
        let ending = match flags & 3 {
            0 => Ending::Succeeded,
            1 => Ending::Blocked,
            2 => Ending::Failed,
            _ => return None,
        };
        let tier = match flags >> 2 & 3 {
            0 => None,
            1 => Some(Tier::Plain),
            2 => Some(Tier::Impersonate),
            _ => Some(Tier::Browser),
        };
        let outcome = Outcome { ending, tier, may_pass: flags & 16 != 0 };
        Some(Self { key: Key(u128::from_le_bytes(key)), outcome, len: u32::from_le_bytes(len) })
    }
}

fn part(head: [u8; HEAD], at: usize) -> u32 {
    u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, left) = rest.split_first_chunk::<8>()?;
    *rest = left;
    Some(u64::from_le_bytes(*bytes))
}

fn text(rest: &mut &[u8]) -> Option<String> {
    let len = usize::try_from(number(rest)?).ok()?;
    let (bytes, left) = rest.split_at_checked(len)?;
    *rest = left;
    String::from_utf8(bytes.to_vec()).ok()
}

/// Length and CRC.
pub(super) const HEAD: usize = 8;
/// Bytes of a finished task.
const ENTRY: usize = 21;
/// A frame of findings is not much longer.
const FULL: usize = 4 << 20;
const MOST_ALIASES: usize = 1 << 16;
/// No payload is longer.
const MAX: u32 = 64 << 20;
