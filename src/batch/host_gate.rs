//! Which hosts may be asked: the work list lends no task of a host that could only wait.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::queue::TaskQueue;
use crate::fetcher::{Fetcher, HostPacing};
use crate::host_limiter::HostReadiness;
use crate::sync::lock_unpoisoned;

/// The hosts with fetches under way.
pub(super) struct HostGate {
    fetcher: Fetcher,
    queue: Arc<dyn TaskQueue>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    in_flight: HashMap<String, u32>,
    /// Hosts that failed too often, and were waited for once.
    waited_for: HashSet<String>,
}

/// What is to be done about a host.
#[derive(Debug, PartialEq, Eq)]
enum HostAction {
    Pause(Option<Duration>),
    Resume,
}

impl HostGate {
    pub(super) fn new(fetcher: Fetcher, queue: Arc<dyn TaskQueue>) -> Self {
        Self { fetcher, queue, inner: Mutex::default() }
    }

    /// A fetch begins. What its end is told with.
    pub(super) fn on_fetch_start(&self, host: &str, url: &str) -> Option<HostPacing> {
        let manner = self.fetcher.host_pacing(url)?;
        let leave = self.fetcher.host_readiness(&manner);
        let mut inner = lock_unpoisoned(&self.inner);
        let count = match inner.in_flight.get_mut(host) {
            Some(count) => {
                *count += 1;
                *count
            }
            None => {
                inner.in_flight.insert(host.to_owned(), 1);
                1
            }
        };
        match action_on_start(&leave, count) {
            HostAction::Pause(time) => self.queue.pause_host(host, time),
            HostAction::Resume => {}
        }
        Some(manner)
    }

    /// A fetch is over.
    pub(super) fn on_fetch_end(&self, host: &str, manner: &HostPacing) {
        let mut leave = self.fetcher.host_readiness(manner);
        let mut inner = lock_unpoisoned(&self.inner);
        let Some(count) = inner.in_flight.get_mut(host) else { return };
        *count -= 1;
        let count = *count;
        if count == 0 {
            inner.in_flight.remove(host);
        }
        if leave.circuit_open_for.is_none() {
            inner.waited_for.remove(host);
        } else if inner.waited_for.contains(host) || inner.waited_for.len() >= MAX_HOSTS {
            // It was waited for, and is no better: what is left of it fails at once.
            leave.circuit_open_for = None;
        } else if count == 0 {
            inner.waited_for.insert(host.to_owned());
        }
        match action_on_end(&leave, count) {
            HostAction::Pause(time) => self.queue.pause_host(host, time),
            HostAction::Resume => self.queue.resume_host(host),
        }
    }
}

/// A fetch of a host began, and so many are under way now.
fn action_on_start(leave: &HostReadiness, count: u32) -> HostAction {
    if count >= leave.concurrency {
        HostAction::Pause(None)
    } else if leave.min_interval.is_zero() {
        HostAction::Resume
    } else {
        // It is about to be asked, whatever its clock says yet.
        HostAction::Pause(Some(leave.min_interval.min(MAX_WAIT)))
    }
}

/// A fetch of a host ended, and so many are under way still.
fn action_on_end(leave: &HostReadiness, count: u32) -> HostAction {
    if count >= leave.concurrency {
        return HostAction::Pause(None);
    }
    let wait = leave.wait.max(leave.circuit_open_for.unwrap_or_default());
    // Who would have to wait longer fails at once, and says for how long.
    if wait.is_zero() || wait > MAX_WAIT { HostAction::Resume } else { HostAction::Pause(Some(wait)) }
}

/// The longest that a host is waited for.
const MAX_WAIT: Duration = Duration::from_secs(60);
const MAX_HOSTS: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn readiness(wait: u64, gap: u64, at_once: u32, shut: Option<u64>) -> HostReadiness {
        let seconds = Duration::from_secs;
        HostReadiness {
            wait: seconds(wait),
            min_interval: seconds(gap),
            concurrency: at_once,
            circuit_open_for: shut.map(seconds),
        }
    }

    #[test]
    fn a_host_is_held_while_it_could_only_wait() {
        let hold = |seconds| HostAction::Pause(Some(Duration::from_secs(seconds)));
        for (leave, count, at_begin, at_end) in [
            (readiness(0, 0, 6, None), 1, HostAction::Resume, HostAction::Resume),
            (readiness(0, 0, 6, None), 6, HostAction::Pause(None), HostAction::Pause(None)),
            (readiness(0, 2, 6, None), 1, hold(2), HostAction::Resume),
            (readiness(1, 2, 6, None), 1, hold(2), hold(1)),
            (readiness(30, 0, 6, None), 0, HostAction::Resume, hold(30)),
            (readiness(3600, 0, 6, None), 0, HostAction::Resume, HostAction::Resume),
            (readiness(0, 0, 6, Some(10)), 0, HostAction::Resume, hold(10)),
            (readiness(0, 3600, 6, None), 1, hold(60), HostAction::Resume),
        ] {
            assert_eq!(
                (action_on_start(&leave, count), action_on_end(&leave, count)),
                (at_begin, at_end),
                "{leave:?} {count}"
            );
        }
    }
}
