//! The memory limits of the open pages, and the decision which process exceeds them. No I/O.
//!
//! The DevTools protocol does not say which process runs a page. So the limit of a page applies to each renderer
//! process, and the sum of the limits to the browser. When a process is ended, the browser reports the targets that it
//! ran. V8's own limit (`--max-old-space-size`) is not a substitute: it leaves out typed arrays, canvases and the DOM,
//! and a page can read it.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::memory_usage::ProcessMemory;
use crate::settings::limits::MIN_PAGE_MEMORY;

/// The limits of the pages that are open in one browser, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryBudget {
    /// The largest limit of one page.
    pub page: u64,
    /// The sum of the limits of all open pages.
    pub all_pages: u64,
}

/// The part of a browser that used too much memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Culprit {
    /// One renderer process.
    Renderer(u32),
    /// All processes together. This renderer process is the largest.
    LargestRenderer(u32),
    /// The processes that all pages share. This renderer process used the most processor time.
    BusiestRenderer(u32),
    /// The processes that all pages share, for graphics, network and storage.
    SharedProcesses,
}

/// A limit that was exceeded, and the pages that ended for it.
#[derive(Debug)]
pub(crate) struct MemoryExcess {
    pub culprit: Culprit,
    pub used: u64,
    pub limit: u64,
    pages: AtomicUsize,
}

impl MemoryBudget {
    /// Returns the budget of open pages with these limits. `None` without a page.
    pub(crate) fn of_pages(limits: impl Iterator<Item = u64>) -> Option<Self> {
        limits.fold(None, |budget: Option<Self>, limit| {
            let limit = limit.max(MIN_PAGE_MEMORY);
            let budget = budget.unwrap_or(Self { page: 0, all_pages: 0 });
            Some(Self { page: budget.page.max(limit), all_pages: budget.all_pages.saturating_add(limit) })
        })
    }

    /// Returns the excess of these processes, if there is one. A process of its own comes before the sums, because its
    /// page is known to be the cause. `persists`: the sums are still exceeded after a page was ended for them.
    pub(crate) fn find_excess(&self, processes: &[ProcessMemory], persists: bool) -> Option<MemoryExcess> {
        let renderers = || processes.iter().filter(|process| process.is_renderer);
        let largest = renderers().max_by_key(|process| process.bytes);
        if let Some(largest) = largest.filter(|largest| largest.bytes > self.page) {
            return Some(MemoryExcess::new(Culprit::Renderer(largest.pid), largest.bytes, self.page));
        }
        let all: u64 = processes.iter().map(|process| process.bytes).sum();
        let shared = all - renderers().map(|process| process.bytes).sum::<u64>();
        let (max_all, max_shared) = (self.all_pages.saturating_add(OVERHEAD), self.page.max(MIN_SHARED));
        let (used, limit) = if shared > max_shared {
            (shared, max_shared)
        } else if all > max_all {
            (all, max_all)
        } else {
            return None;
        };
        let culprit = if shared <= SUSPECT_SHARED {
            Culprit::LargestRenderer(largest?.pid)
        } else if persists {
            Culprit::SharedProcesses
        } else {
            // Canvases, databases and blobs are in the shared processes. A page that fills them is busy.
            renderers()
                .max_by_key(|process| process.cpu_ticks)
                .map_or(Culprit::SharedProcesses, |busiest| Culprit::BusiestRenderer(busiest.pid))
        };
        Some(MemoryExcess::new(culprit, used, limit))
    }
}

impl MemoryExcess {
    pub(crate) fn new(culprit: Culprit, used: u64, limit: u64) -> Self {
        Self { culprit, used, limit, pages: AtomicUsize::new(0) }
    }

    /// Counts one more page that ended.
    pub(crate) fn add_page(&self) {
        self.pages.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the memory of several processes exceeded the limit.
    pub(crate) fn is_sum(&self) -> bool {
        !matches!(self.culprit, Culprit::Renderer(_))
    }

    /// Whether the memory is in the shared processes, and may stay there after the page has ended.
    pub(crate) fn stays_in_browser(&self) -> bool {
        matches!(self.culprit, Culprit::BusiestRenderer(_) | Culprit::SharedProcesses)
    }

    /// Whether another page than the one that ended may be the cause.
    pub(crate) fn is_ambiguous(&self) -> bool {
        self.is_sum() || self.pages.load(Ordering::Relaxed) > 1
    }
}

impl fmt::Display for MemoryExcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (used, limit) = (self.used / MIB, self.limit / MIB);
        match (self.culprit, self.pages.load(Ordering::Relaxed)) {
            (Culprit::Renderer(_), pages @ 2..) => {
                write!(f, "a renderer process that {pages} pages share used {used} MiB (limit: {limit} MiB)")
            }
            (Culprit::Renderer(_), _) => {
                write!(f, "a renderer process of the page used {used} MiB (limit: {limit} MiB)")
            }
            (Culprit::LargestRenderer(_), _) => write!(
                f,
                "the browser's pages together used {used} MiB (limit: {limit} MiB), a process of this page most"
            ),
            (Culprit::BusiestRenderer(_), _) => write!(
                f,
                "the processes that all pages share used {used} MiB (limit: {limit} MiB), and this page was the busiest"
            ),
            (Culprit::SharedProcesses, _) => write!(
                f,
                "the processes that all pages share used {used} MiB (limit: {limit} MiB), so all open pages ended"
            ),
        }
    }
}

const MIB: u64 = 1024 * 1024;
/// The least limit of the processes that all pages share. They use about 200 MB before a page opens.
const MIN_SHARED: u64 = 1024 * MIB;
/// Above this size, the shared processes are the likely cause of a sum that is exceeded.
const SUSPECT_SHARED: u64 = 512 * MIB;
/// Memory of a browser beside its pages: shared processes, spare renderers, idle contexts.
const OVERHEAD: u64 = 768 * MIB;

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, is_renderer: bool, mib: u64) -> ProcessMemory {
        // The smallest number was the busiest.
        ProcessMemory { pid, is_renderer, bytes: mib * MIB, cpu_ticks: 100 - u64::from(pid) }
    }

    #[test]
    fn the_largest_limit_applies_to_a_process_and_the_sum_to_the_browser() {
        assert_eq!(MemoryBudget::of_pages(std::iter::empty()), None);
        let budget = MemoryBudget::of_pages([200 * MIB, 300 * MIB, 1].into_iter());
        assert_eq!(budget, Some(MemoryBudget { page: 300 * MIB, all_pages: 628 * MIB }));
    }

    #[test]
    fn a_process_comes_before_the_sums_and_a_page_before_the_whole_browser() {
        let budget = MemoryBudget { page: 500 * MIB, all_pages: 1000 * MIB };
        let browser = |mib| process(1, false, mib);
        let two = |second, third| [process(2, true, second), process(3, true, third)];
        let with = |first: u64, rest: [ProcessMemory; 2]| [browser(first), rest[0], rest[1]];
        for (processes, persists, expected) in [
            (with(200, two(500, 0)), false, None),
            (with(200, two(501, 0)), false, Some((Culprit::Renderer(2), 501, 500))),
            (with(1100, two(400, 501)), true, Some((Culprit::Renderer(3), 501, 500))),
            (with(1025, two(10, 20)), false, Some((Culprit::BusiestRenderer(2), 1025, 1024))),
            (with(1025, two(10, 20)), true, Some((Culprit::SharedProcesses, 1025, 1024))),
            (with(1024, two(10, 20)), true, None),
            (with(900, two(400, 469)), false, Some((Culprit::BusiestRenderer(2), 1769, 1768))),
            (with(900, two(400, 468)), true, None),
        ] {
            let found = budget.find_excess(&processes, persists);
            let found = found.map(|excess| (excess.culprit, excess.used / MIB, excess.limit / MIB));
            assert_eq!(found, expected, "{processes:?}");
        }
        let many: Vec<_> =
            (2..8).map(|pid| process(pid, true, 240 + u64::from(pid))).chain([browser(400)]).collect();
        let found = budget.find_excess(&many, true).map(|excess| excess.culprit);
        assert_eq!(found, Some(Culprit::LargestRenderer(7)));
        let found = budget.find_excess(&[browser(1025)], false).map(|excess| excess.culprit);
        assert_eq!((found, budget.find_excess(&[], false).is_none()), (Some(Culprit::SharedProcesses), true));
    }

    #[test]
    fn the_message_names_the_limit_and_whether_other_pages_ended() {
        for (culprit, pages, is_ambiguous, words) in [
            (Culprit::Renderer(1), 1, false, "a renderer process of the page used 3 MiB (limit: 2 MiB)"),
            (Culprit::Renderer(1), 3, true, "that 3 pages share used 3 MiB (limit: 2 MiB)"),
            (Culprit::LargestRenderer(1), 1, true, "together used 3 MiB (limit: 2 MiB)"),
            (Culprit::BusiestRenderer(1), 1, true, "this page was the busiest"),
            (Culprit::SharedProcesses, 1, true, "all open pages ended"),
        ] {
            let excess = MemoryExcess::new(culprit, 3 * MIB, 2 * MIB);
            (0..pages).for_each(|_| excess.add_page());
            assert!(excess.to_string().contains(words), "{excess}");
            assert_eq!(excess.is_ambiguous(), is_ambiguous, "{excess}");
            assert_eq!(excess.stays_in_browser(), words.contains("busiest") || words.contains("all open"));
        }
    }
}
