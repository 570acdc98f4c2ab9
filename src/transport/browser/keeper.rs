//! The thread that looks after the browsers of a pool: replaces those past their bounds, ends those
//! that no longer answer, buries the dead. No runtime is needed for it, and none waits for it.

use std::io;
use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::chromium::{CLOSE_LIMIT, Chromium, Stage};
use super::gauge;
use super::pool::Shared;

/// Starts the thread. It ends with the pool, or when no browser is left.
pub(super) fn start(pool: Weak<Shared>) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("rungs-keeper".to_owned());
    thread.spawn(move || keep(&pool)).map(drop)
}

fn keep(pool: &Weak<Shared>) {
    let mut sampled: Option<Instant> = None;
    loop {
        let Some(pool) = pool.upgrade() else { return };
        let now = Instant::now();
        let due = sampled.is_none_or(|at| now.duration_since(at) >= SAMPLE);
        if due {
            sampled = Some(now);
        }
        for browser in pool.browsers() {
            if due {
                sample(&browser);
            }
            look(&pool, &browser, Instant::now());
        }
        if pool.unkeep() {
            return;
        }
        drop(pool);
        std::thread::sleep(TICK);
    }
}

/// What a browser takes now. Its contexts that nobody uses are let go of, too.
fn sample(browser: &Chromium) {
    if let Some(bytes) = gauge::pss(browser.pid) {
        browser.load.pss.store(bytes, Ordering::Relaxed);
    }
    if browser.takes_pages() {
        browser.tidy();
    }
}

fn look(pool: &Shared, browser: &Chromium, now: Instant) {
    let options = &pool.options.pool;
    let stage = browser.stage();
    if !browser.connection.is_alive() {
        if browser.process.is_over() {
            if matches!(stage, Stage::Serving | Stage::Draining(_)) {
                let said = browser.process.last_words();
                tracing::warn!(pid = browser.pid, reason = "it ended by itself", said, "a browser crashed");
            }
            pool.remove(browser.pid);
        }
        return;
    }
    match stage {
        Stage::Serving => {
            if let Some(reason) = overdue(pool, browser, now) {
                browser.retire(reason);
                pool.changed();
            }
        }
        Stage::Draining(since) if browser.load.open.load(Ordering::Relaxed) == 0 => {
            let took = now.saturating_duration_since(since);
            tracing::debug!(pid = browser.pid, ?took, "a browser has drained");
            browser.set_stage(Stage::Closing(now));
            browser.ask_to_close();
            return;
        }
        Stage::Draining(since) if now.saturating_duration_since(since) > options.drain => {
            return kill(browser, "its pages did not end in time");
        }
        Stage::Closing(since) if now.saturating_duration_since(since) > CLOSE_LIMIT => {
            return kill(browser, "it did not end when asked to");
        }
        Stage::Draining(_) | Stage::Closing(_) | Stage::Killed => {}
    }
    if matches!(stage, Stage::Serving | Stage::Draining(_)) && browser.is_hung(now, options.hang) {
        kill(browser, "it does not answer");
    }
}

fn overdue(pool: &Shared, browser: &Chromium, now: Instant) -> Option<&'static str> {
    if now.saturating_duration_since(browser.born) > pool.options.pool.recycle_age {
        return Some("age");
    }
    (browser.load.pss.load(Ordering::Relaxed) > pool.limits.recycle_pss).then_some("memory")
}

/// Its pages learn of it at once, by the end of the pipe.
fn kill(browser: &Chromium, reason: &str) {
    tracing::warn!(pid = browser.pid, reason, "killing a browser");
    browser.set_stage(Stage::Killed);
    browser.process.kill();
}

const TICK: Duration = Duration::from_millis(250);
/// How often memory is looked at: the kernel walks every mapping for it.
const SAMPLE: Duration = Duration::from_secs(3);
