//! Runtime, signals and shutdown of commands that fetch.

use std::time::Duration;

use rungs::Fetcher;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::exit::Failure;
use super::terminal;

/// Starts the runtime of a command.
pub(crate) fn start() -> Result<Runtime, Failure> {
    Runtime::new().map_err(|cause| Failure::Io("could not start the async runtime".to_owned(), cause))
}

/// Ends the runtime. Waits a moment for threads that create files: when a fetch is interrupted, they remove theirs.
pub(crate) fn end(runtime: Runtime) {
    runtime.shutdown_timeout(FILE_GRACE);
}

/// Closes `fetcher`. An interruption ends the wait; remaining browser processes are then killed at exit.
pub(crate) async fn close(fetcher: &Fetcher) {
    tokio::select! {
        () = fetcher.close() => {}
        () = wait_for_interrupt() => {}
    }
}

/// Waits for SIGINT (Ctrl-C), SIGTERM, or SIGHUP from a closed terminal.
pub(crate) async fn wait_for_interrupt() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    let hangup = async {
        // Under nohup the program outlives its terminal.
        match (!ignores_hangup()).then(|| signal(SignalKind::hangup())) {
            Some(Ok(mut hangup)) => hangup.recv().await,
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => if interrupt.is_err() { std::future::pending().await },
        _ = terminate.recv() => {}
        _ = hangup => {}
    }
    // The terminal may be closed, so an error is ignored.
    terminal::print_message("interrupted");
}

const FILE_GRACE: Duration = Duration::from_secs(1);

/// Whether the parent process set SIGHUP to be ignored, as nohup does.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
