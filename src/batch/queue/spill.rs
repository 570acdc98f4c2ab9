//! Queues on disk, for tasks beyond the memory cap.
//!
//! One unnamed file contains any number of queues: each entry has the offset of the next entry of its queue.
//! The file is truncated when the last entry is taken.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The file of all queues.
pub(super) struct SpillFile {
    file: File,
    end: u64,
    live: u64,
}

/// One queue of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiskQueue {
    first: u64,
    last: u64,
    pub(super) len: u64,
}

impl SpillFile {
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile_in(folder)?, end: 0, live: 0 })
    }

    /// The size of the file, in bytes.
    pub(super) const fn size(&self) -> u64 {
        self.end
    }

    /// Appends to a queue. The first entry creates it.
    pub(super) fn push(&mut self, queue: &mut Option<DiskQueue>, entry: &[u8]) -> io::Result<()> {
        let at = self.end;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + entry.len());
        bytes.extend_from_slice(&NONE.to_le_bytes());
        bytes.extend_from_slice(&(entry.len() as u64).to_le_bytes());
        bytes.extend_from_slice(entry);
        self.file.write_all_at(&bytes, at)?;
        match queue {
            Some(queue) => {
                self.file.write_all_at(&at.to_le_bytes(), queue.last)?;
                queue.last = at;
                queue.len += 1;
            }
            None => *queue = Some(DiskQueue { first: at, last: at, len: 1 }),
        }
        self.end += bytes.len() as u64;
        self.live += 1;
        Ok(())
    }

    /// Takes the first entry of a queue. Taking the last entry removes the queue.
    pub(super) fn pop(&mut self, queue: &mut Option<DiskQueue>) -> io::Result<Option<Vec<u8>>> {
        let Some(known) = queue else { return Ok(None) };
        let mut head = [0; HEADER_BYTES];
        self.file.read_exact_at(&mut head, known.first)?;
        let (mut next, mut len) = ([0; 8], [0; 8]);
        next.copy_from_slice(&head[..8]);
        len.copy_from_slice(&head[8..]);
        let mut entry = vec![0; usize::try_from(u64::from_le_bytes(len)).unwrap_or(0)];
        self.file.read_exact_at(&mut entry, known.first + HEADER_BYTES as u64)?;
        known.first = u64::from_le_bytes(next);
        known.len -= 1;
        if known.len == 0 {
            *queue = None;
        }
        self.live -= 1;
        if self.live == 0 {
            self.file.set_len(0)?;
            self.end = 0;
        }
        Ok(Some(entry))
    }
}

/// The size of the next entry's offset and this entry's length.
const HEADER_BYTES: usize = 16;
const NONE: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_share_a_file_and_each_keeps_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut spill = SpillFile::new(folder.path()).unwrap();
        let mut queues = [None, None, None];
        for n in 0..300_usize {
            spill.push(&mut queues[n % 3], format!("entry {n}").as_bytes()).unwrap();
        }
        for n in 0..300_usize {
            let entry = spill.pop(&mut queues[n % 3]).unwrap();
            assert_eq!(entry, Some(format!("entry {n}").into_bytes()));
        }
        assert!(queues.iter().all(Option::is_none) && spill.pop(&mut queues[0]).unwrap().is_none());
        assert_eq!((spill.size(), spill.file.metadata().unwrap().len()), (0, 0));
    }
}
