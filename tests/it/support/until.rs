//! Waiting for a condition, instead of sleeping for a guessed time.

use std::time::{Duration, Instant};

use super::daemon::until_some;

/// Waits until `condition` holds. `what` names the awaited condition.
///
/// # Panics
/// With `what`, when the condition does not hold within 60 s.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    until_some(what, || condition().then_some(()));
}

/// Like [`until`], for tests on an async runtime: other tasks of the thread go on.
pub(crate) async fn until_async(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "timed out after 60 s waiting for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
