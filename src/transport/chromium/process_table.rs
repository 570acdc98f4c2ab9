//! The processes of a browser, read from Linux's /proc. Other systems show no processes there.

use std::collections::HashMap;
use std::fs;

use rustix::process::Pid;

/// What `/proc/PID/stat` says about a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessStat {
    /// Whether it still runs. A zombie does not: only its parent has not yet asked for its exit status.
    pub is_running: bool,
    pub parent: u32,
    pub group: u32,
    /// The processor time that it has used, in the kernel's unit.
    pub cpu_ticks: u64,
}

impl ProcessStat {
    /// Returns `None` for a process that does not exist.
    pub(crate) fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Parses the line. The name in parentheses may contain any character.
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        // The first thread is a zombie as soon as it ends, while others may still run.
        let is_dead = matches!(*fields.first()?, "Z" | "X" | "x") && number(17)? <= 1;
        Some(Self {
            is_running: !is_dead,
            parent: number(1)?.try_into().ok()?,
            group: number(2)?.try_into().ok()?,
            cpu_ticks: number(11)? + number(12)?,
        })
    }
}

/// Returns `leader`, its process group and their descendants.
pub(crate) fn process_tree(leader: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut pids = Vec::new();
    for (pid, stat) in all_processes() {
        if pid == leader || stat.group == leader {
            pids.push(pid);
        }
        children.entry(stat.parent).or_default().push(pid);
    }
    let mut next = 0;
    while next < pids.len() {
        for child in children.remove(&pids[next]).unwrap_or_default() {
            if !pids.contains(&child) {
                pids.push(child);
            }
        }
        next += 1;
    }
    pids
}

/// Whether a process of `group` still runs. Zombies do not count: a container without an init process keeps them for
/// ever, and other systems keep them for seconds.
pub(crate) fn is_group_running(group: Pid) -> bool {
    if rustix::process::test_kill_process_group(group).is_err() {
        return false;
    }
    if ProcessStat::read(std::process::id()).is_none() {
        return true;
    }
    let number = group.as_raw_nonzero().get().cast_unsigned();
    all_processes().any(|(_, stat)| stat.group == number && stat.is_running)
}

fn all_processes() -> impl Iterator<Item = (u32, ProcessStat)> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Some((pid, ProcessStat::read(pid)?))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;
    use std::time::{Duration, Instant};

    use rustix::process::{Signal, WaitId, WaitIdOptions};

    use super::*;

    #[test]
    fn a_line_of_the_kernel_is_read_and_a_zombie_with_threads_still_runs() {
        let line = |state: &str, threads: u8| {
            format!("7 (a) b) {state} 3 5 7 0 -1 64 1 2 3 4 40 2 0 0 20 0 {threads} 0 99")
        };
        let stat = ProcessStat { is_running: true, parent: 3, group: 5, cpu_ticks: 42 };
        assert_eq!(ProcessStat::parse(&line("S", 1)), Some(stat));
        assert_eq!(ProcessStat::parse(&line("Z", 2)), Some(stat));
        assert_eq!(ProcessStat::parse(&line("Z", 1)), Some(ProcessStat { is_running: false, ..stat }));
        assert_eq!(ProcessStat::parse("7 (a)"), None);
        assert_eq!(ProcessStat::read(u32::MAX), None);
    }

    #[test]
    fn a_group_of_zombies_does_not_run() {
        let mut child = Command::new("/bin/sleep").arg("600").process_group(0).spawn().unwrap();
        let pid = Pid::from_child(&child);
        assert!(is_group_running(pid));
        rustix::process::kill_process_group(pid, Signal::KILL).unwrap();
        // Waits for its end and leaves it as a zombie.
        let peek = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::process::waitid(WaitId::Pid(pid), peek).unwrap();
        assert!(rustix::process::test_kill_process_group(pid).is_ok());
        let limit = Instant::now() + Duration::from_secs(60);
        while is_group_running(pid) {
            assert!(Instant::now() < limit);
            std::thread::sleep(Duration::from_millis(5));
        }
        child.wait().unwrap();
        assert!(!is_group_running(pid));
    }
}
