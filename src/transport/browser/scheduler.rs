//! Settings of the pool, and the choice of the browser for a page. No I/O.

use std::time::Duration;

/// Limits on the number, age and size of browsers and pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BrowserPoolOptions {
    /// Maximum of open pages, in all browsers together. Default: one per core, at least 2, as far as
    /// memory allows.
    pub pages: Option<usize>,
    /// Maximum of browser processes that accept pages. Default: one per 16 pages; identities that cannot
    /// share a process may have more, up to one per page.
    pub processes: Option<usize>,
    /// Maximum of fetches that wait for a page; one more fails at once. Default: 256.
    pub queue: usize,
    /// How long a fetch waits for a page. Default: 2 min.
    pub queue_timeout: Duration,
    /// Pages after which a browser is replaced. Default: 200.
    pub recycle_pages: usize,
    /// Age at which a browser is replaced. Default: 1 h.
    pub recycle_age: Duration,
    /// Memory at which a browser is replaced, in bytes (PSS of all its processes). Default: 2 GiB, or half of
    /// the memory available at start if that is less, but at least 768 MiB.
    pub recycle_pss: Option<u64>,
    /// How long the open pages of a replaced browser may take to finish. Default: 90 s.
    pub drain_timeout: Duration,
    /// A browser that does not reply for this long is killed. Default: 10 s.
    pub hang_timeout: Duration,
    /// Memory that stays free, in bytes. Pages and browsers that would use it are not started.
    /// Default: 128 MiB.
    pub reserve: u64,
}

impl Default for BrowserPoolOptions {
    fn default() -> Self {
        Self {
            pages: None,
            processes: None,
            queue: 256,
            queue_timeout: Duration::from_secs(120),
            recycle_pages: 200,
            recycle_age: Duration::from_secs(3600),
            recycle_pss: None,
            drain_timeout: Duration::from_secs(90),
            hang_timeout: Duration::from_secs(10),
            reserve: 128 * MIB,
        }
    }
}

/// The pool's limits, resolved for this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PoolLimits {
    /// In all browsers.
    pub pages: usize,
    pub processes: usize,
    /// Including the processes of identities that cannot share one.
    pub total_processes: usize,
    /// In one browser.
    pub pages_per_process: usize,
    pub recycle_pss: u64,
    /// The memory of one page for fetches without a limit of their own, in bytes.
    pub page_memory: u64,
    reserve: u64,
}

impl PoolLimits {
    /// Resolves the defaults. `available` is memory in bytes, where it is known.
    pub(super) fn new(options: &BrowserPoolOptions, cores: usize, available: Option<u64>) -> Self {
        let max_by_memory = |each: u64| match available {
            Some(bytes) => {
                usize::try_from(bytes.saturating_sub(options.reserve) / each).unwrap_or(usize::MAX)
            }
            None => usize::MAX,
        };
        let pages = options.pages.unwrap_or_else(|| cores.max(2).min(max_by_memory(PAGE_MEMORY))).max(1);
        let processes = options
            .processes
            .unwrap_or_else(|| pages.div_ceil(PAGES_PER_PROCESS).min(max_by_memory(PROCESS_MEMORY)))
            .clamp(1, pages);
        let half = available.map_or(u64::MAX, |bytes| bytes / 2);
        let recycle_pss = options.recycle_pss.unwrap_or_else(|| half.clamp(768 * MIB, 2048 * MIB));
        Self {
            pages,
            processes,
            total_processes: options.processes.map_or(pages, |_| processes),
            pages_per_process: pages.div_ceil(processes),
            recycle_pss,
            page_memory: (half / pages as u64).clamp(512 * MIB, 2048 * MIB),
            reserve: options.reserve,
        }
    }
}

/// The properties of a browser that the choice depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct BrowserCandidate {
    pub open: usize,
    /// The identity has a context in this browser.
    pub has_identity: bool,
}

/// The action for the fetch at the head of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// Open a page in the browser of this index.
    Take(usize),
    Launch,
    /// Retire a browser that this fetch's identity cannot use.
    Replace,
    Wait(WaitReason),
}

/// The resource that a fetch waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitReason {
    Pages,
    Memory,
}

/// Chooses among the browsers that accept pages: the candidates, and `others` that this fetch's identity
/// cannot use. `open` counts the pages of all browsers, including those being replaced. `starting` counts
/// the launches in progress.
pub(super) fn choose(
    limits: &PoolLimits,
    candidates: &[BrowserCandidate],
    others: usize,
    open: usize,
    starting: usize,
    available: Option<u64>,
) -> Placement {
    if open >= limits.pages {
        return Placement::Wait(WaitReason::Pages);
    }
    let fits = |need: u64| available.is_none_or(|bytes| bytes >= limits.reserve.saturating_add(need));
    let free = candidates.iter().enumerate().filter(|(_, browser)| browser.open < limits.pages_per_process);
    // The identity's own browser has its cache and storage; otherwise the least busy one.
    let best = free.min_by_key(|(_, browser)| (!browser.has_identity, browser.open)).map(|(index, _)| index);
    match best {
        Some(index) if fits(PAGE_MEMORY) => Placement::Take(index),
        None if candidates.len() + starting >= limits.processes => Placement::Wait(WaitReason::Pages),
        None if others > 0 && candidates.len() + others + starting >= limits.total_processes => {
            Placement::Replace
        }
        None if fits(PROCESS_MEMORY) => Placement::Launch,
        None if others > 0 => Placement::Replace,
        _ => Placement::Wait(WaitReason::Memory),
    }
}

const MIB: u64 = 1024 * 1024;
/// A small page in a separate context uses about 65 MB.
const PAGE_MEMORY: u64 = 128 * MIB;
/// A browser without open pages uses about 400 MB.
const PROCESS_MEMORY: u64 = 512 * MIB;
const PAGES_PER_PROCESS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(pages: usize, processes: usize) -> PoolLimits {
        let options = BrowserPoolOptions {
            pages: Some(pages),
            processes: Some(processes),
            ..BrowserPoolOptions::default()
        };
        PoolLimits::new(&options, 2, None)
    }

    #[test]
    fn sizes_follow_cores_and_memory() {
        let gib = 1024 * MIB;
        for (cores, memory, pages, processes) in [
            (2, Some(8 * gib), 2, 1),
            (1, Some(8 * gib), 2, 1),
            (8, None, 8, 1),
            (64, Some(64 * gib), 64, 4),
            (64, Some(gib), 7, 1),
            (2, Some(0), 1, 1),
        ] {
            let limits = PoolLimits::new(&BrowserPoolOptions::default(), cores, memory);
            assert_eq!((limits.pages, limits.processes), (pages, processes), "{cores} cores, {memory:?}");
        }
        for (pages, memory, mib) in
            [(2, Some(4 * gib), 1024), (2, Some(64 * gib), 2048), (64, Some(64 * gib), 512), (1, None, 2048)]
        {
            let options = BrowserPoolOptions { pages: Some(pages), ..BrowserPoolOptions::default() };
            let limits = PoolLimits::new(&options, 2, memory);
            assert_eq!(limits.page_memory, mib * MIB, "{pages} pages, {memory:?}");
        }
        assert_eq!(limits(5, 2).pages_per_process, 3);
        assert_eq!(limits(0, 9).processes, 1);
    }

    #[test]
    fn the_identity_s_browser_comes_before_the_least_busy_one_and_a_full_pool_waits() {
        let browser = |open, has_identity| BrowserCandidate { open, has_identity };
        let two = limits(4, 2);
        let much = Some(u64::MAX);
        for (candidates, open, starting, available, want) in [
            (&[][..], 0, 0, much, Placement::Launch),
            (&[], 0, 0, None, Placement::Launch),
            (&[], 0, 0, Some(512 * MIB), Placement::Wait(WaitReason::Memory)),
            (&[], 0, 2, much, Placement::Wait(WaitReason::Pages)),
            // The open pages of a browser being replaced count.
            (&[], 4, 0, much, Placement::Wait(WaitReason::Pages)),
            (&[browser(1, false), browser(0, false)], 1, 0, much, Placement::Take(1)),
            (&[browser(1, true), browser(0, false)], 1, 0, much, Placement::Take(0)),
            (&[browser(2, true), browser(0, false)], 2, 0, much, Placement::Take(1)),
            (&[browser(2, true)], 2, 0, much, Placement::Launch),
            (&[browser(2, true)], 2, 1, much, Placement::Wait(WaitReason::Pages)),
            (&[browser(0, true)], 0, 0, Some(200 * MIB), Placement::Wait(WaitReason::Memory)),
        ] {
            let next = choose(&two, candidates, 0, open, starting, available);
            assert_eq!(next, want, "{candidates:?}, {open} open, {starting} starting, {available:?}");
        }
    }

    #[test]
    fn identities_that_cannot_share_a_process_make_room_for_each_other() {
        let much = Some(u64::MAX);
        let free = BrowserCandidate { open: 0, has_identity: false };
        let chosen =
            PoolLimits::new(&BrowserPoolOptions { pages: Some(3), ..BrowserPoolOptions::default() }, 2, None);
        for (limits, candidates, others, available, want) in [
            (chosen, &[][..], 2, much, Placement::Launch),
            (chosen, &[], 3, much, Placement::Replace),
            (chosen, &[free], 3, much, Placement::Take(0)),
            (chosen, &[], 1, Some(200 * MIB), Placement::Replace),
            (limits(3, 1), &[], 1, much, Placement::Replace),
        ] {
            let next = choose(&limits, candidates, others, 0, 0, available);
            assert_eq!(next, want, "{limits:?}, {candidates:?}, {others} others, {available:?}");
        }
    }
}
