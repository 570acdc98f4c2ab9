//! Free resources of the machine: memory and file descriptors. `None` if the system does not report them.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// Returns the free part of memory, from 0 to 1: the machine's, or the control group's if that is smaller.
pub(super) fn free_memory() -> Option<f64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let field = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        Some(field("MemAvailable:")? / field("MemTotal:")?)
    });
    let group = || {
        let read = |name: &str| fs::read_to_string(format!("/sys/fs/cgroup/memory.{name}")).ok();
        let (max, now) =
            (read("max")?.trim().parse::<f64>().ok()?, read("current")?.trim().parse::<f64>().ok()?);
        // `current` includes the page cache, which the kernel reclaims on demand.
        let stat = read("stat")?;
        let files = stat.lines().find_map(|line| line.strip_prefix("file "))?.trim().parse::<f64>().ok()?;
        Some(1.0 - (now - files) / max)
    };
    match (machine, group()) {
        (Some(machine), Some(group)) => Some(machine.min(group)),
        (machine, group) => machine.or(group),
    }
}

/// Returns the free part of file descriptors, from 0 to 1.
#[expect(clippy::cast_precision_loss, reason = "numbers of file descriptors are small")]
pub(super) fn free_descriptors() -> Option<f64> {
    let max = getrlimit(Resource::Nofile).current?;
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    Some(1.0 - open as f64 / max as f64)
}

#[cfg(test)]
mod tests {
    #[test]
    fn free_parts_are_between_0_and_1() {
        for part in [super::free_memory(), super::free_descriptors()].into_iter().flatten() {
            assert!((0.0..=1.0).contains(&part), "{part}");
        }
    }
}
