//! The thread that looks after the browsers of a pool: replaces those past their bounds, ends those
//! that no longer answer, buries the dead. No runtime is needed for it, and none waits for it.

use std::io;
use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::chromium::{CLOSE_LIMIT, Chromium, Lifecycle};
use super::memory_usage;
use super::pool::PoolInner;

/// Starts the thread. It ends with the pool, or when no browser is left.
pub(super) fn start(pool: Weak<PoolInner>) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("rungs-keeper".to_owned());
    thread.spawn(move || supervise(&pool)).map(drop)
}

fn supervise(pool: &Weak<PoolInner>) {
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
            check(&pool, &browser, Instant::now());
        }
        if pool.stop_supervision() {
            return;
        }
        drop(pool);
        std::thread::sleep(TICK);
    }
}

/// What a browser takes now. Its contexts that nobody uses are let go of, too.
fn sample(browser: &Chromium) {
    if let Some(bytes) = memory_usage::pss(browser.pid) {
        browser.usage.pss.store(bytes, Ordering::Relaxed);
    }
    if browser.is_serving() {
        browser.dispose_idle();
    }
}

fn check(pool: &PoolInner, browser: &Chromium, now: Instant) {
    let options = &pool.options.pool;
    let stage = browser.lifecycle();
    if !browser.connection.is_alive() {
        if browser.process.has_exited() {
            if matches!(stage, Lifecycle::Serving | Lifecycle::Draining(_)) {
                let said = browser.process.stderr_tail();
                tracing::warn!(pid = browser.pid, reason = "it ended by itself", said, "a browser crashed");
            }
            pool.remove(browser.pid);
        }
        return;
    }
    match stage {
        Lifecycle::Serving => {
            if let Some(reason) = recycle_reason(pool, browser, now) {
                browser.retire(reason);
                pool.notify();
            }
        }
        Lifecycle::Draining(since) if browser.usage.open.load(Ordering::Relaxed) == 0 => {
            let took = now.saturating_duration_since(since);
            tracing::debug!(pid = browser.pid, ?took, "a browser has drained");
            browser.set_lifecycle(Lifecycle::Closing(now));
            browser.request_close();
            return;
        }
        Lifecycle::Draining(since) if now.saturating_duration_since(since) > options.drain_timeout => {
            return kill(browser, "its pages did not end in time");
        }
        Lifecycle::Closing(since) if now.saturating_duration_since(since) > CLOSE_LIMIT => {
            return kill(browser, "it did not end when asked to");
        }
        Lifecycle::Draining(_) | Lifecycle::Closing(_) | Lifecycle::Killed => {}
    }
    if matches!(stage, Lifecycle::Serving | Lifecycle::Draining(_))
        && browser.is_hung(now, options.hang_timeout)
    {
        kill(browser, "it does not answer");
    }
}

fn recycle_reason(pool: &PoolInner, browser: &Chromium, now: Instant) -> Option<&'static str> {
    if now.saturating_duration_since(browser.started_at) > pool.options.pool.recycle_age {
        return Some("age");
    }
    (browser.usage.pss.load(Ordering::Relaxed) > pool.limits.recycle_pss).then_some("memory")
}

/// Its pages learn of it at once, by the end of the pipe.
fn kill(browser: &Chromium, reason: &str) {
    tracing::warn!(pid = browser.pid, reason, "killing a browser");
    browser.set_lifecycle(Lifecycle::Killed);
    browser.process.kill();
}

const TICK: Duration = Duration::from_millis(250);
/// How often memory is looked at: the kernel walks every mapping for it.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(3);
