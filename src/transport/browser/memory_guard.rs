//! Ends the process of a page that uses more memory than its limit. A page may allocate hundreds of megabytes a second,
//! so the process is killed by a thread that waits neither for the browser nor for an async runtime.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::targets::BrowserTargets;
use crate::transport::chromium::memory_usage::{self, ProcessMemory};
use crate::transport::chromium::page_memory::{Culprit, MemoryBudget, MemoryExcess};
use crate::transport::chromium::process_table::ProcessStat;

/// The thread that watches one browser. Dropping it ends the thread.
pub(super) struct MemoryGuard {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl MemoryGuard {
    /// Starts the thread for the browser that leads `group`.
    pub(super) fn start(group: Pid, targets: Arc<BrowserTargets>) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let mut watch = Watch::new(group, targets);
        let thread = std::thread::Builder::new().name("rungs-memory".to_owned()).spawn(move || {
            let mut pause = IDLE_TICK;
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                pause = watch.check();
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for MemoryGuard {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended as well.
            let _ = thread.join();
        }
    }
}

/// The processes of one browser as last seen.
struct Watch {
    group: Pid,
    targets: Arc<BrowserTargets>,
    /// The budget while pages were last open. Workers of a closed page may still run.
    budget: Option<MemoryBudget>,
    /// Since when the open pages have a smaller budget.
    smaller_since: Option<Instant>,
    processes: Vec<ProcessMemory>,
    listed: Option<Instant>,
    /// When a page was last ended for a sum that has not been within its limit since.
    ended_for_sum: Option<Instant>,
}

impl Watch {
    fn new(group: Pid, targets: Arc<BrowserTargets>) -> Self {
        Self {
            group,
            targets,
            budget: None,
            smaller_since: None,
            processes: Vec::new(),
            listed: None,
            ended_for_sum: None,
        }
    }

    /// Checks the memory once. Returns the pause before the next check.
    fn check(&mut self) -> Duration {
        let open = self.targets.memory_budget();
        self.budget = self.next_budget(open, Instant::now());
        let Some(budget) = self.budget else { return IDLE_TICK };
        self.refresh();
        let since = self.ended_for_sum.map(|at| at.elapsed());
        match budget.find_excess(&self.processes, since.is_some()) {
            // The memory of an ended page stays in the shared processes for a moment.
            Some(excess) if excess.is_sum() && since.is_some_and(|since| since < FREE_TIME) => {}
            Some(excess) => {
                if excess.is_sum() {
                    self.ended_for_sum = Some(Instant::now());
                }
                self.end(excess);
                self.listed = None;
            }
            None => self.ended_for_sum = None,
        }
        if open.is_some() { TICK } else { IDLE_TICK }
    }

    /// Returns the budget while these pages are `open`. A smaller one counts later, because the processes of closed
    /// pages still exit.
    fn next_budget(&mut self, open: Option<MemoryBudget>, now: Instant) -> Option<MemoryBudget> {
        let (Some(next), Some(last)) = (open, self.budget) else { return open.or(self.budget) };
        if next.all_pages >= last.all_pages && next.page >= last.page {
            self.smaller_since = None;
            return open;
        }
        let since = *self.smaller_since.get_or_insert(now);
        if now.duration_since(since) < SHRINK_DELAY {
            return self.budget;
        }
        self.smaller_since = None;
        open
    }

    /// Reads the memory of the known processes, and from time to time the list of processes.
    fn refresh(&mut self) {
        let now = Instant::now();
        if self.listed.is_none_or(|at| now.duration_since(at) >= LIST_INTERVAL) {
            self.processes = memory_usage::processes(group_number(self.group));
            self.listed = Some(now);
            return;
        }
        self.processes.retain_mut(|process| {
            let bytes = memory_usage::own_memory(process.pid);
            process.bytes = bytes.unwrap_or(0);
            process.cpu_ticks =
                ProcessStat::read(process.pid).map_or(process.cpu_ticks, |stat| stat.cpu_ticks);
            bytes.is_some()
        });
    }

    fn end(&mut self, excess: MemoryExcess) {
        let (used_mb, limit_mb) = (excess.used / 1_000_000, excess.limit / 1_000_000);
        let (leader, culprit) = (group_number(self.group), excess.culprit);
        tracing::warn!(pid = leader, ?culprit, used_mb, limit_mb, "memory limit exceeded, ending pages");
        self.targets.expect_crash(Arc::new(excess));
        let killed = match culprit {
            Culprit::Renderer(pid) | Culprit::LargestRenderer(pid) | Culprit::BusiestRenderer(pid) => {
                kill_member(pid, leader)
            }
            Culprit::SharedProcesses => rustix::process::kill_process_group(self.group, Signal::KILL),
        };
        if let Err(cause) = killed {
            tracing::debug!(%cause, "the process had already exited");
        }
    }
}

/// Kills `pid` if it is in `group`. The process is held meanwhile, so that its number cannot become another's.
#[cfg(target_os = "linux")]
fn kill_member(pid: u32, group: u32) -> rustix::io::Result<()> {
    use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
    let number = Pid::from_raw(pid.cast_signed()).ok_or(rustix::io::Errno::SRCH)?;
    let process = pidfd_open(number, PidfdFlags::empty())?;
    if ProcessStat::read(pid).is_none_or(|stat| stat.group != group) {
        return Err(rustix::io::Errno::SRCH);
    }
    pidfd_send_signal(&process, Signal::KILL)
}

/// Never called: the memory of a process is known on Linux only.
#[cfg(not(target_os = "linux"))]
fn kill_member(_pid: u32, _group: u32) -> rustix::io::Result<()> {
    Err(rustix::io::Errno::NOSYS)
}

fn group_number(group: Pid) -> u32 {
    group.as_raw_nonzero().get().cast_unsigned()
}

/// The pause between two checks while pages are open. A page that allocates 300 MB/s exceeds its limit by 30 MB.
const TICK: Duration = Duration::from_millis(100);
/// The pause while no page is open.
const IDLE_TICK: Duration = Duration::from_millis(500);
/// How long the memory of a page that was ended may stay in the shared processes.
const FREE_TIME: Duration = Duration::from_secs(1);
/// How long the processes of a closed page may take to exit.
const SHRINK_DELAY: Duration = Duration::from_secs(2);
/// How often new processes are looked for. This reads a file of every process of the machine.
const LIST_INTERVAL: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_grows_at_once_and_shrinks_after_a_delay() {
        let mut watch = Watch::new(rustix::process::getpid(), Arc::default());
        let began = Instant::now();
        let of = |pages: u64| Some(MemoryBudget { page: 1 << 30, all_pages: pages << 30 });
        for (open, after, expected) in [
            (None, 0, None),
            (of(2), 0, of(2)),
            (of(6), 100, of(6)),
            (of(3), 200, of(6)),
            (of(6), 300, of(6)),
            (of(1), 400, of(6)),
            (None, 500, of(6)),
            (of(2), 2300, of(6)),
            (of(2), 2400, of(2)),
            (of(3), 2500, of(3)),
        ] {
            watch.budget = watch.next_budget(open, began + Duration::from_millis(after));
            assert_eq!(watch.budget, expected, "{after} ms");
        }
    }
}
