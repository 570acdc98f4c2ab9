//! Resources used by this process. `None` when the system does not report them.

use std::fs;

/// Returns the number of open file descriptors.
pub(super) fn open_descriptors() -> Option<u64> {
    // One of them is the directory that is being read.
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(open).ok()?.checked_sub(1)
}

/// Returns the resident memory in bytes.
pub(super) fn resident_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_reports_memory_and_descriptors() {
        assert!(open_descriptors().unwrap() > 2);
        assert!(resident_memory().unwrap() > 1 << 20);
    }
}
