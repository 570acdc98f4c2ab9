//! The thread that supervises the browsers of a pool. It recycles browsers that exceed a limit, kills those
//! that do not reply, and removes those that exited. It needs no async runtime.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::chromium::{CLOSE_LIMIT, Chromium, Lifecycle};
use crate::transport::chromium::memory_usage;

/// A pool whose browsers are supervised.
pub(super) trait SupervisedPool: Send + Sync + 'static {
    /// The limits of its browsers.
    fn supervision_limits(&self) -> SupervisionLimits;

    /// Returns its browsers.
    fn browsers(&self) -> Vec<Arc<Chromium>>;

    /// Removes a browser that has exited.
    fn remove(&self, pid: u32);

    /// Makes the fetch at the head of the queue check again.
    fn notify(&self);

    /// Whether the supervisor may exit because no browser is left. The next launch starts a new one.
    fn stop_supervision(&self) -> bool;
}

/// Limits of each browser of a pool.
#[derive(Clone, Copy)]
pub(super) struct SupervisionLimits {
    pub drain_timeout: Duration,
    pub hang_timeout: Duration,
    pub recycle_age: Duration,
    /// Memory in bytes.
    pub recycle_pss: u64,
}

/// Starts the thread. It ends with the pool, or when no browser is left.
pub(super) fn start<P: SupervisedPool>(pool: Weak<P>) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("rungs-supervise".to_owned());
    thread.spawn(move || supervise(&pool)).map(drop)
}

fn supervise(pool: &Weak<impl SupervisedPool>) {
    let mut sampled: Option<Instant> = None;
    loop {
        let Some(pool) = pool.upgrade() else { return };
        let now = Instant::now();
        let due = sampled.is_none_or(|at| now.duration_since(at) >= SAMPLE_INTERVAL);
        if due {
            sampled = Some(now);
        }
        for browser in pool.browsers() {
            if due {
                sample(&browser);
            }
            check(&*pool, &browser, Instant::now());
        }
        if pool.stop_supervision() {
            return;
        }
        drop(pool);
        std::thread::sleep(TICK);
    }
}

/// Records the browser's memory and disposes of its idle contexts.
fn sample(browser: &Chromium) {
    if let Some(bytes) = memory_usage::pss(browser.pid) {
        browser.usage.pss.store(bytes, Ordering::Relaxed);
    }
    if browser.is_serving() {
        browser.dispose_idle();
    }
}

fn check(pool: &impl SupervisedPool, browser: &Chromium, now: Instant) {
    let limits = pool.supervision_limits();
    let lifecycle = browser.lifecycle();
    if !browser.connection.is_alive() {
        if browser.process.has_exited() {
            if matches!(lifecycle, Lifecycle::Serving | Lifecycle::Draining(_)) {
                let said = browser.process.stderr_tail();
                tracing::warn!(pid = browser.pid, reason = "unexpected exit", said, "browser crashed");
            }
            pool.remove(browser.pid);
        }
        return;
    }
    let closing = browser.targets.repeat_closing(&browser.connection, now);
    match lifecycle {
        Lifecycle::Serving => {
            if closing.is_some_and(|since| since > CLOSE_PAGE_LIMIT) {
                browser.retire("a page does not close");
                pool.notify();
            }
            if let Some(reason) = recycle_reason(&limits, browser, now) {
                browser.retire(reason);
                pool.notify();
            }
        }
        Lifecycle::Draining(since) if browser.usage.open.load(Ordering::Relaxed) == 0 => {
            let took = now.saturating_duration_since(since);
            tracing::debug!(pid = browser.pid, ?took, "browser drained");
            browser.set_lifecycle(Lifecycle::Closing(now));
            browser.request_close();
            return;
        }
        Lifecycle::Draining(since) if now.saturating_duration_since(since) > limits.drain_timeout => {
            return kill(browser, "drain timeout exceeded");
        }
        Lifecycle::Closing(since) if now.saturating_duration_since(since) > CLOSE_LIMIT => {
            return kill(browser, "close timeout exceeded");
        }
        Lifecycle::Draining(_) | Lifecycle::Closing(_) | Lifecycle::Killed => {}
    }
    if matches!(lifecycle, Lifecycle::Serving | Lifecycle::Draining(_))
        && browser.is_hung(now, limits.hang_timeout)
    {
        kill(browser, "hang timeout exceeded");
    }
}

fn recycle_reason(limits: &SupervisionLimits, browser: &Chromium, now: Instant) -> Option<&'static str> {
    if now.saturating_duration_since(browser.started_at) > limits.recycle_age {
        return Some("age");
    }
    (browser.usage.pss.load(Ordering::Relaxed) > limits.recycle_pss).then_some("memory")
}

/// Kills the browser. Its pages fail at once, because the pipe closes.
fn kill(browser: &Chromium, reason: &str) {
    tracing::warn!(pid = browser.pid, reason, "killing browser");
    browser.set_lifecycle(Lifecycle::Killed);
    browser.process.kill();
}

/// A browser that cannot close a page for this long is replaced.
const CLOSE_PAGE_LIMIT: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_millis(250);
/// How often memory is sampled: for each sample, the kernel walks every mapping.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(3);
