//! What is left of the machine: memory and file descriptors. `None` where the system does not say.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// The part of memory that is left, from 0 to 1: the machine's, or the control group's where that is less.
pub(super) fn free_memory() -> Option<f64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let of = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        Some(of("MemAvailable:")? / of("MemTotal:")?)
    });
    let group = || {
        let read = |name: &str| fs::read_to_string(format!("/sys/fs/cgroup/memory.{name}")).ok();
        let (most, now) =
            (read("max")?.trim().parse::<f64>().ok()?, read("current")?.trim().parse::<f64>().ok()?);
        // Pages of files count in `current`, and are given back when there is need.
        let stat = read("stat")?;
        let files = stat.lines().find_map(|line| line.strip_prefix("file "))?.trim().parse::<f64>().ok()?;
        Some(1.0 - (now - files) / most)
    };
    match (machine, group()) {
        (Some(machine), Some(group)) => Some(machine.min(group)),
        (machine, group) => machine.or(group),
    }
}

/// The part of file descriptors that is left, from 0 to 1.
#[expect(clippy::cast_precision_loss, reason = "numbers of file descriptors are small")]
pub(super) fn free_descriptors() -> Option<f64> {
    let most = getrlimit(Resource::Nofile).current?;
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    Some(1.0 - open as f64 / most as f64)
}

#[cfg(test)]
mod tests {
    #[test]
    fn parts_are_parts() {
        for part in [super::free_memory(), super::free_descriptors()].into_iter().flatten() {
            assert!((0.0..=1.0).contains(&part), "{part}");
        }
    }
}
