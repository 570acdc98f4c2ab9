//! Available memory and the memory of a browser, read from Linux's /proc and control groups. On other systems
//! both are unknown, and nothing is limited by them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::transport::chromium::process_table::{ProcessStat, process_tree};

/// Returns the available memory in bytes: the machine's, or less where a control group allows less. `None`
/// where it is unknown.
pub(crate) fn available() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| kib_field(&text, "MemAvailable:"));
    let group = fs::read_to_string("/proc/self/cgroup").ok();
    let group = group.and_then(|text| available_in_cgroups(Path::new("/sys/fs/cgroup"), &text));
    machine.into_iter().chain(group).min()
}

/// Returns the proportional set size (PSS) of `leader`, its descendants and its process group, in bytes.
/// Shared memory counts once. `None` when none of them exists.
pub(crate) fn pss(leader: u32) -> Option<u64> {
    let sizes: Vec<u64> = process_tree(leader).into_iter().filter_map(process_pss).collect();
    (!sizes.is_empty()).then(|| sizes.iter().sum())
}

/// Returns the processes of the browser that `leader` leads, with their memory.
pub(crate) fn processes(leader: u32) -> Vec<ProcessMemory> {
    let one = |pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let is_renderer = line.windows(RENDERER.len()).any(|part| part == RENDERER);
        let cpu_ticks = ProcessStat::read(pid).map_or(0, |stat| stat.cpu_ticks);
        Some(ProcessMemory { pid, is_renderer, bytes: own_memory(pid)?, cpu_ticks })
    };
    process_tree(leader).into_iter().filter_map(one).collect()
}

/// Returns the memory of a process in bytes, without the pages of its program. Needs no walk over its mappings.
pub(crate) fn own_memory(pid: u32) -> Option<u64> {
    own_memory_in(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// Reads `/proc/PID/status`. Memory in swap counts. Shared memory in a file counts where it exceeds the size that the
/// mapped program can have.
fn own_memory_in(status: &str) -> Option<u64> {
    let field = |name| kib_field(status, name);
    let files = field("RssFile:").unwrap_or(0).saturating_sub(MAX_PROGRAM);
    let more = field("RssShmem:").unwrap_or(0) + field("VmSwap:").unwrap_or(0) + files;
    Some(field("RssAnon:")? + more)
}

fn process_pss(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    rollup.and_then(|text| kib_field(&text, "Pss:")).or_else(|| {
        // Only root can read the map of a sandboxed process: use its unshared memory.
        let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        let mut pages = text.split(' ').skip(1).map_while(|word| word.parse::<u64>().ok());
        let (resident, shared) = (pages.next()?, pages.next()?);
        Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
    })
}

/// Returns the memory left below the tightest limit of the groups in `listing` (`/proc/self/cgroup`).
fn available_in_cgroups(root: &Path, listing: &str) -> Option<u64> {
    let available = listing.lines().filter_map(|line| {
        let (_, line) = line.split_once(':')?;
        let (controllers, path) = line.split_once(':')?;
        let (root, files) = match controllers {
            "" => (root.to_owned(), &CGROUP_V2),
            _ if controllers.split(',').any(|name| name == "memory") => (root.join("memory"), &CGROUP_V1),
            _ => return None,
        };
        // Inside a container the path may be the host's. Folders that do not exist are skipped.
        let mut folder: PathBuf = root.join(path.trim_start_matches('/'));
        let mut least = None;
        loop {
            least = least.into_iter().chain(available_in_cgroup(&folder, files)).min();
            if folder == root || !folder.pop() {
                return least;
            }
        }
    });
    available.min()
}

fn available_in_cgroup(folder: &Path, files: &CgroupFiles) -> Option<u64> {
    let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    // `max` is not a number and means unlimited.
    let (limit, used) = (number(files.limit)?, number(files.used)?);
    let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let mut cached = stat.lines().filter_map(|line| line.strip_prefix(files.cached));
    let cached = cached.next().and_then(|rest| rest.trim().parse().ok()).unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(cached)))
}

/// One process of a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessMemory {
    pub pid: u32,
    /// Whether it runs pages, frames or workers.
    pub is_renderer: bool,
    pub bytes: u64,
    /// The processor time that it has used, in the kernel's unit.
    pub cpu_ticks: u64,
}

/// The switch of a renderer process.
const RENDERER: &[u8] = b"--type=renderer";
/// The browser's program and libraries, as mapped into a process.
const MAX_PROGRAM: u64 = 512 * 1024 * 1024;

/// The file and field names of one version of control groups.
struct CgroupFiles {
    limit: &'static str,
    used: &'static str,
    /// The inactive file cache, which the kernel frees when memory is needed.
    cached: &'static str,
}

const CGROUP_V2: CgroupFiles =
    CgroupFiles { limit: "memory.max", used: "memory.current", cached: "inactive_file " };
const CGROUP_V1: CgroupFiles = CgroupFiles {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cached: "total_inactive_file ",
};

/// Reads a line such as `MemAvailable:   123 kB`, in bytes.
fn kib_field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_limit_of_a_group_and_its_ancestors_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |folder: &str, files: &[(&str, &str)]| {
            let folder = root.path().join(folder);
            fs::create_dir_all(&folder).unwrap();
            for (name, text) in files {
                fs::write(folder.join(name), text).unwrap();
            }
        };
        write("a/b", &[("memory.max", "max\n"), ("memory.current", "70\n")]);
        write(
            "a",
            &[
                ("memory.max", "100\n"),
                ("memory.current", "80\n"),
                ("memory.stat", "anon 1\ninactive_file 30\n"),
            ],
        );
        assert_eq!(available_in_cgroups(root.path(), "0::/a/b\n"), Some(50));
        assert_eq!(available_in_cgroups(root.path(), "0::/elsewhere\n"), None);
        write("memory", &[("memory.limit_in_bytes", "9"), ("memory.usage_in_bytes", "5")]);
        // The path is the host's: only the container's own root exists.
        assert_eq!(available_in_cgroups(root.path(), "3:cpu:/x\n4:memory:/docker/1\n"), Some(4));
    }

    #[test]
    fn kib_fields_are_converted_to_bytes() {
        assert_eq!(kib_field("MemFree: 1 kB\nMemAvailable:    12 kB\n", "MemAvailable:"), Some(12 * 1024));
    }

    #[test]
    fn swap_and_shared_memory_are_a_process_s_own_and_its_program_is_not() {
        let status = "RssAnon:\t 10 kB\nRssFile:\t 524289 kB\nRssShmem:\t 20 kB\nVmSwap:\t 30 kB\n";
        assert_eq!(own_memory_in(status), Some(61 * 1024));
        assert_eq!(own_memory_in("RssAnon:\t 1 kB\nRssFile:\t 300000 kB\n"), Some(1024));
        assert_eq!(own_memory_in("State: Z\n"), None);
        let me = std::process::id();
        let alone = processes(me);
        assert!(alone.iter().any(|process| process.pid == me && !process.is_renderer), "{alone:?}");
    }

    #[test]
    fn this_process_and_its_children_have_a_size() {
        let alone = pss(std::process::id()).unwrap();
        assert!(alone > 1024 * 1024, "{alone}");
        assert_eq!(pss(u32::MAX), None);
        assert!(available().is_some_and(|bytes| bytes > 0));
    }
}
