//! What the program takes of the machine. `None` where the system does not say.

use std::fs;

/// File descriptors open.
pub(super) fn open_descriptors() -> Option<u64> {
    // One of them is the folder being read.
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(open).ok()?.checked_sub(1)
}

/// Bytes of memory that are resident.
pub(super) fn resident_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_memory_and_descriptors() {
        assert!(open_descriptors().unwrap() > 2);
        assert!(resident_memory().unwrap() > 1 << 20);
    }
}
