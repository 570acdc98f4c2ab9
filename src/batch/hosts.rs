//! Which hosts may be asked: the work list lends no task of a host that could only wait.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::work::WorkList;
use crate::fetcher::{Fetcher, Manner};
use crate::limit::Leave;
use crate::lock::lock;

/// The hosts with fetches under way.
pub(super) struct Hosts {
    fetcher: Fetcher,
    list: Arc<dyn WorkList>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    under_way: HashMap<String, u32>,
    /// Hosts that failed too often, and were waited for once.
    waited_for: HashSet<String>,
}

/// What is to be done about a host.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Hold(Option<Duration>),
    Free,
}

impl Hosts {
    pub(super) fn new(fetcher: Fetcher, list: Arc<dyn WorkList>) -> Self {
        Self { fetcher, list, inner: Mutex::default() }
    }

    /// A fetch begins. What its end is told with.
    pub(super) fn begun(&self, host: &str, url: &str) -> Option<Manner> {
        let manner = self.fetcher.manner(url)?;
        let leave = self.fetcher.leave(&manner);
        let mut inner = lock(&self.inner);
        let count = match inner.under_way.get_mut(host) {
            Some(count) => {
                *count += 1;
                *count
            }
            None => {
                inner.under_way.insert(host.to_owned(), 1);
                1
            }
        };
        match begun(&leave, count) {
            Verdict::Hold(time) => self.list.hold(host, time),
            Verdict::Free => {}
        }
        Some(manner)
    }

    /// A fetch is over.
    pub(super) fn ended(&self, host: &str, manner: &Manner) {
        let mut leave = self.fetcher.leave(manner);
        let mut inner = lock(&self.inner);
        let Some(count) = inner.under_way.get_mut(host) else { return };
        *count -= 1;
        let count = *count;
        if count == 0 {
            inner.under_way.remove(host);
        }
        if leave.shut.is_none() {
            inner.waited_for.remove(host);
        } else if inner.waited_for.contains(host) || inner.waited_for.len() >= MAX_HOSTS {
            // It was waited for, and is no better: what is left of it fails at once.
            leave.shut = None;
        } else if count == 0 {
            inner.waited_for.insert(host.to_owned());
        }
        match ended(&leave, count) {
            Verdict::Hold(time) => self.list.hold(host, time),
            Verdict::Free => self.list.free(host),
        }
    }
}

/// A fetch of a host began, and so many are under way now.
fn begun(leave: &Leave, count: u32) -> Verdict {
    if count >= leave.at_once {
        Verdict::Hold(None)
    } else if leave.gap.is_zero() {
        Verdict::Free
    } else {
        // It is about to be asked, whatever its clock says yet.
        Verdict::Hold(Some(leave.gap.min(LONGEST)))
    }
}

/// A fetch of a host ended, and so many are under way still.
fn ended(leave: &Leave, count: u32) -> Verdict {
    if count >= leave.at_once {
        return Verdict::Hold(None);
    }
    let wait = leave.wait.max(leave.shut.unwrap_or_default());
    // Who would have to wait longer fails at once, and says for how long.
    if wait.is_zero() || wait > LONGEST { Verdict::Free } else { Verdict::Hold(Some(wait)) }
}

/// The longest that a host is waited for.
const LONGEST: Duration = Duration::from_secs(60);
const MAX_HOSTS: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn leave(wait: u64, gap: u64, at_once: u32, shut: Option<u64>) -> Leave {
        let seconds = Duration::from_secs;
        Leave { wait: seconds(wait), gap: seconds(gap), at_once, shut: shut.map(seconds) }
    }

    #[test]
    fn a_host_is_held_while_it_could_only_wait() {
        let hold = |seconds| Verdict::Hold(Some(Duration::from_secs(seconds)));
        for (leave, count, at_begin, at_end) in [
            (leave(0, 0, 6, None), 1, Verdict::Free, Verdict::Free),
            (leave(0, 0, 6, None), 6, Verdict::Hold(None), Verdict::Hold(None)),
            (leave(0, 2, 6, None), 1, hold(2), Verdict::Free),
            (leave(1, 2, 6, None), 1, hold(2), hold(1)),
            (leave(30, 0, 6, None), 0, Verdict::Free, hold(30)),
            (leave(3600, 0, 6, None), 0, Verdict::Free, Verdict::Free),
            (leave(0, 0, 6, Some(10)), 0, Verdict::Free, hold(10)),
            (leave(0, 3600, 6, None), 1, hold(60), Verdict::Free),
        ] {
            assert_eq!((begun(&leave, count), ended(&leave, count)), (at_begin, at_end), "{leave:?} {count}");
        }
    }
}
