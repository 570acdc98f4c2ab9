//! The dedup filter: keys in memory up to a cap, and further keys in sorted runs on disk.
//!
//! A run is an unnamed file of sorted keys, 16 bytes each. The first key of every 256 is also kept in memory, so
//! that a lookup needs one read of 4 KiB. Eight runs are merged into one. For ten million keys, the keys in memory
//! take 18 MB and the index of the runs takes 0.6 MB.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::task::TaskKey;

/// A set of keys that only grows.
pub(super) struct DedupSet {
    in_memory: HashSet<u128>,
    cap: usize,
    runs: Vec<SortedRun>,
    folder: PathBuf,
}

struct SortedRun {
    file: File,
    keys: u64,
    /// The first key of each block.
    index: Vec<u128>,
}

impl DedupSet {
    /// Creates an empty set that spills into `folder`.
    pub(super) fn new(folder: &Path) -> Self {
        Self::with_cap(folder, MEMORY_CAP)
    }

    fn with_cap(folder: &Path, cap: usize) -> Self {
        Self { in_memory: HashSet::new(), cap, runs: Vec::new(), folder: folder.to_owned() }
    }

    /// Adds a key. Returns whether it was new.
    ///
    /// # Errors
    /// When the keys could not be written to disk or read from it.
    pub(super) fn insert(&mut self, key: TaskKey) -> io::Result<bool> {
        if self.contains(key)? {
            return Ok(false);
        }
        if self.in_memory.len() >= self.cap {
            self.spill()?;
        }
        self.in_memory.insert(key.0);
        Ok(true)
    }

    /// Whether the key was added.
    ///
    /// # Errors
    /// When the keys could not be read from disk.
    pub(super) fn contains(&self, key: TaskKey) -> io::Result<bool> {
        if self.in_memory.contains(&key.0) {
            return Ok(true);
        }
        for run in &self.runs {
            if run.contains(key.0)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn spill(&mut self) -> io::Result<()> {
        let mut keys: Vec<u128> = self.in_memory.drain().collect();
        keys.sort_unstable();
        self.runs.push(SortedRun::write(&self.folder, keys.into_iter().map(Ok))?);
        if self.runs.len() >= MERGE_RUNS {
            let merged = SortedRun::write(&self.folder, MergeIter::new(&self.runs)?)?;
            self.runs = vec![merged];
        }
        Ok(())
    }
}

impl SortedRun {
    fn write(folder: &Path, keys: impl Iterator<Item = io::Result<u128>>) -> io::Result<Self> {
        let mut out = BufWriter::new(tempfile::tempfile_in(folder)?);
        let (mut index, mut count) = (Vec::new(), 0_u64);
        for key in keys {
            let key = key?;
            if count.is_multiple_of(BLOCK_KEYS as u64) {
                index.push(key);
            }
            out.write_all(&key.to_be_bytes())?;
            count += 1;
        }
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Self { file, keys: count, index })
    }

    fn contains(&self, key: u128) -> io::Result<bool> {
        let Some(block) = self.index.partition_point(|first| *first <= key).checked_sub(1) else {
            return Ok(false);
        };
        let begins = (block * BLOCK_KEYS) as u64;
        let keys = usize::try_from(self.keys - begins).unwrap_or(usize::MAX).min(BLOCK_KEYS);
        let mut bytes = [0; BLOCK_KEYS * KEY_BYTES];
        let bytes = &mut bytes[..keys * KEY_BYTES];
        self.file.read_exact_at(bytes, begins * KEY_BYTES as u64)?;
        let wanted = key.to_be_bytes();
        let (mut low, mut high) = (0, keys);
        while low < high {
            let middle = usize::midpoint(low, high);
            match bytes[middle * KEY_BYTES..(middle + 1) * KEY_BYTES].cmp(&wanted[..]) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(true),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(false)
    }
}

/// Iterates over the keys of several runs, in order.
struct MergeIter {
    sources: Vec<(Option<u128>, BufReader<File>)>,
}

impl MergeIter {
    fn new(runs: &[SortedRun]) -> io::Result<Self> {
        let mut sources = Vec::new();
        for run in runs {
            let mut file = run.file.try_clone()?;
            file.seek(SeekFrom::Start(0))?;
            let mut reader = BufReader::new(file);
            sources.push((read_key(&mut reader)?, reader));
        }
        Ok(Self { sources })
    }
}

impl Iterator for MergeIter {
    type Item = io::Result<u128>;

    fn next(&mut self) -> Option<Self::Item> {
        let (at, key) = self
            .sources
            .iter()
            .enumerate()
            .filter_map(|(at, (head, _))| head.map(|head| (at, head)))
            .min_by_key(|(_, key)| *key)?;
        match read_key(&mut self.sources[at].1) {
            Ok(following) => self.sources[at].0 = following,
            Err(cause) => return Some(Err(cause)),
        }
        Some(Ok(key))
    }
}

fn read_key(reader: &mut BufReader<File>) -> io::Result<Option<u128>> {
    let mut bytes = [0; KEY_BYTES];
    match reader.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(u128::from_be_bytes(bytes))),
        Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// The maximum number of keys in memory. It fills a hash table of 2^20 buckets, 18 MB.
const MEMORY_CAP: usize = (1 << 20) / 8 * 7;
/// Keys per block.
const BLOCK_KEYS: usize = 256;
/// Bytes per key.
const KEY_BYTES: usize = 16;
/// The number of runs that are merged into one.
const MERGE_RUNS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> TaskKey {
        // Distributed like hashes.
        TaskKey(u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
    }

    #[test]
    fn a_key_is_new_once_in_memory_in_runs_and_after_merges() {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = DedupSet::with_cap(folder.path(), 1000);
        for n in 0..20_500 {
            assert!(seen.insert(key(n)).unwrap(), "{n}");
        }
        assert!(
            seen.runs.len() < MERGE_RUNS && seen.runs.iter().any(|run| run.keys > 7000),
            "the runs were merged"
        );
        assert!(seen.in_memory.len() <= 1000);
        for n in 0..20_500 {
            assert!(!seen.insert(key(n)).unwrap(), "{n}");
        }
        assert!(seen.insert(key(20_500)).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the runs have no names");
    }
}
