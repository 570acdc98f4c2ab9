//! What a command that fetches does around it: it starts, hears when it is to end, and leaves nothing behind.

use std::io::Write;

use rungs::Fetcher;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::exit::Failure;

/// The runtime of a command.
pub(crate) fn start() -> Result<Runtime, Failure> {
    Runtime::new().map_err(|cause| Failure::Io("could not start".to_owned(), cause))
}

/// Closes `fetcher`, unless the user will not wait for it: then what is left of the browser is killed on the
/// way out.
pub(crate) async fn close(fetcher: &Fetcher) {
    tokio::select! {
        () = fetcher.close() => {}
        () = wait_for_interrupt() => {}
    }
}

/// Ends when the user presses Ctrl-C, the program is told to end, or its terminal is closed.
pub(crate) async fn wait_for_interrupt() {
    let Ok(mut told) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    let hung_up = async {
        // Under nohup the closed terminal is to be outlived.
        match (!ignores_hangup()).then(|| signal(SignalKind::hangup())) {
            Some(Ok(mut closed)) => closed.recv().await,
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => if pressed.is_err() { std::future::pending().await },
        _ = told.recv() => {}
        _ = hung_up => {}
    }
    // The terminal may be gone: that is no reason to panic.
    let _ = writeln!(std::io::stderr(), "interrupted");
}

/// Whether whoever started us had SIGHUP ignored, as nohup does.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
