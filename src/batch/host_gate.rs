//! Pauses hosts in the request queue while their fetches could only wait.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::queue::TaskQueue;
use crate::fetcher::{Fetcher, HostPacing};
use crate::os::sync::lock_unpoisoned;
use crate::router::host_limiter::HostReadiness;

/// Tracks the running fetches of each host.
pub(super) struct HostGate {
    fetcher: Fetcher,
    queue: Arc<dyn TaskQueue>,
    /// The concurrency of the batch. If it is 1, the tasks of a host are fetched in their order.
    concurrency: u32,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    in_flight: HashMap<String, u32>,
    /// Hosts whose circuit breaker opened and was waited for once.
    waited_for: HashSet<String>,
}

/// The queue action for a host.
#[derive(Debug, PartialEq, Eq)]
enum HostAction {
    Pause(Option<Duration>),
    Resume,
}

impl HostGate {
    pub(super) fn new(fetcher: Fetcher, queue: Arc<dyn TaskQueue>, concurrency: usize) -> Self {
        let concurrency = u32::try_from(concurrency).unwrap_or(u32::MAX);
        Self { fetcher, queue, concurrency, inner: Mutex::default() }
    }

    /// Returns the readiness of a host, whose fetches are not more than those of the batch even if they wait.
    fn readiness(&self, pacing: &HostPacing) -> HostReadiness {
        let readiness = self.fetcher.host_readiness(pacing);
        HostReadiness { concurrency: readiness.concurrency.min(self.concurrency), ..readiness }
    }

    /// Records the start of a fetch. Returns the value to pass to [`on_fetch_end`](Self::on_fetch_end).
    pub(super) fn on_fetch_start(&self, host: &str, url: &str) -> Option<HostPacing> {
        let pacing = self.fetcher.host_pacing(url)?;
        let readiness = self.readiness(&pacing);
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
        match action_on_start(&readiness, count) {
            HostAction::Pause(time) => self.queue.pause_host(host, time),
            HostAction::Resume => {}
        }
        Some(pacing)
    }

    /// Records the end of a fetch.
    pub(super) fn on_fetch_end(&self, host: &str, pacing: &HostPacing) {
        let mut readiness = self.readiness(pacing);
        let mut inner = lock_unpoisoned(&self.inner);
        let Some(count) = inner.in_flight.get_mut(host) else { return };
        *count -= 1;
        let count = *count;
        if count == 0 {
            inner.in_flight.remove(host);
        }
        if readiness.circuit_open_for.is_none() {
            inner.waited_for.remove(host);
        } else if inner.waited_for.contains(host) || inner.waited_for.len() >= MAX_HOSTS {
            // The host still fails after one cooldown: its remaining tasks fail immediately.
            readiness.circuit_open_for = None;
        } else if count == 0 {
            inner.waited_for.insert(host.to_owned());
        }
        match action_on_end(&readiness, count) {
            HostAction::Pause(time) => self.queue.pause_host(host, time),
            HostAction::Resume => self.queue.resume_host(host),
        }
    }
}

/// Returns the action after a fetch started, with `count` running fetches.
fn action_on_start(readiness: &HostReadiness, count: u32) -> HostAction {
    if count >= readiness.concurrency {
        HostAction::Pause(None)
    } else if readiness.min_interval.is_zero() {
        HostAction::Resume
    } else {
        // The request is about to be sent, even if the rate limiter does not count it yet.
        HostAction::Pause(Some(readiness.min_interval.min(MAX_WAIT)))
    }
}

/// Returns the action after a fetch ended, with `count` running fetches.
fn action_on_end(readiness: &HostReadiness, count: u32) -> HostAction {
    if count >= readiness.concurrency {
        return HostAction::Pause(None);
    }
    let wait = readiness.wait.max(readiness.circuit_open_for.unwrap_or_default());
    // With a longer wait, fetches fail immediately and report the wait.
    if wait.is_zero() || wait > MAX_WAIT { HostAction::Resume } else { HostAction::Pause(Some(wait)) }
}

/// The longest pause of a host.
const MAX_WAIT: Duration = Duration::from_secs(60);
const MAX_HOSTS: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn readiness(wait: u64, interval: u64, concurrency: u32, open_for: Option<u64>) -> HostReadiness {
        let seconds = Duration::from_secs;
        HostReadiness {
            wait: seconds(wait),
            min_interval: seconds(interval),
            concurrency,
            circuit_open_for: open_for.map(seconds),
        }
    }

    #[test]
    fn a_host_is_paused_while_its_fetches_could_only_wait() {
        let pause = |seconds| HostAction::Pause(Some(Duration::from_secs(seconds)));
        for (readiness, count, at_begin, at_end) in [
            (readiness(0, 0, 6, None), 1, HostAction::Resume, HostAction::Resume),
            (readiness(0, 0, 6, None), 6, HostAction::Pause(None), HostAction::Pause(None)),
            (readiness(0, 2, 6, None), 1, pause(2), HostAction::Resume),
            (readiness(1, 2, 6, None), 1, pause(2), pause(1)),
            (readiness(30, 0, 6, None), 0, HostAction::Resume, pause(30)),
            (readiness(3600, 0, 6, None), 0, HostAction::Resume, HostAction::Resume),
            (readiness(0, 0, 6, Some(10)), 0, HostAction::Resume, pause(10)),
            (readiness(0, 3600, 6, None), 1, pause(60), HostAction::Resume),
        ] {
            assert_eq!(
                (action_on_start(&readiness, count), action_on_end(&readiness, count)),
                (at_begin, at_end),
                "{readiness:?} {count}"
            );
        }
    }
}
