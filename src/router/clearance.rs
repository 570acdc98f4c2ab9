//! Single flight: one browser visit serves all fetches of a host that wait for its clearance.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use crate::exchange::error_kind::ErrorKind;
use crate::exchange::verdict::{Verdict, VerdictKind};
use crate::os::sync::lock_unpoisoned;

/// The key of an identity, and a host.
type ClearanceKey = (u64, String);

/// The browser visits of all identities and hosts.
#[derive(Default)]
pub(crate) struct ClearanceGate(Mutex<HashMap<ClearanceKey, Arc<HostClearance>>>);

/// The browser visits of one identity to one host.
pub(crate) struct HostClearance {
    turn_lock: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<GateState>,
    page_slots: Arc<Semaphore>,
}

#[derive(Default)]
struct GateState {
    /// The number of clearances earned so far.
    clearances: u64,
    /// The number of consecutive visits without a response.
    failures: u32,
    last_failure: Option<FailedVisit>,
    /// The earliest time of the next visit to a browser-only host.
    next_page_at: Option<Instant>,
}

/// The last visit, if it failed.
struct FailedVisit {
    /// The verdict that sent the fetch to the browser.
    why: VerdictKind,
    failure: VisitFailure,
    at: Instant,
}

/// Why a visit failed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum VisitFailure {
    Refused { verdict: Verdict, hint: Option<String> },
    Failed(ErrorKind),
}

impl VisitFailure {
    /// Whether the proxy caused the failure, not the site.
    pub(crate) fn is_proxy_fault(&self) -> bool {
        match self {
            Self::Refused { verdict, .. } => verdict.kind == VerdictKind::ProxyFault,
            Self::Failed(kind) => *kind == ErrorKind::Proxy,
        }
    }
}

/// A permit for a fetch to use the browser tier.
pub(crate) enum BrowserPass {
    /// To earn a clearance: other fetches of the host wait until it is dropped.
    Exclusive(ClearanceTurn),
    /// For a page of a browser-only host, whose clearance works only in the browser.
    BrowserBound { _permit: Option<OwnedSemaphorePermit> },
}

/// A fetch's exclusive turn. Dropping it without reporting an outcome leaves the state unchanged for the next fetch.
pub(crate) struct ClearanceTurn {
    host: Arc<HostClearance>,
    _guard: OwnedMutexGuard<()>,
}

impl ClearanceGate {
    /// Returns the browser visits of `identity` to `host`.
    pub(crate) fn for_host(&self, identity: u64, host: &str) -> Arc<HostClearance> {
        let mut gate = lock_unpoisoned(&self.0);
        if gate.len() >= MAX_HOSTS {
            gate.retain(|_, clearance| Arc::strong_count(clearance) > 1);
        }
        Arc::clone(gate.entry((identity, host.to_owned())).or_default())
    }
}

impl Default for HostClearance {
    fn default() -> Self {
        let page_slots = Arc::new(Semaphore::new(BROWSER_BOUND_PAGES));
        Self { turn_lock: Arc::default(), state: Mutex::default(), page_slots }
    }
}

impl HostClearance {
    /// Returns the number of clearances earned so far.
    pub(crate) fn clearances(&self) -> u64 {
        self.state().clearances
    }

    /// Whether a fetch holds the turn for this host.
    pub(crate) fn is_busy(&self) -> bool {
        self.turn_lock.try_lock().is_err()
    }

    /// Waits until no fetch holds the turn, at most `limit`.
    pub(crate) async fn wait_idle(&self, limit: Duration) {
        let _ = timeout(limit, self.turn_lock.lock()).await;
    }

    /// Waits for the exclusive turn.
    pub(crate) async fn acquire(self: &Arc<Self>) -> ClearanceTurn {
        let turn = Arc::clone(&self.turn_lock).lock_owned().await;
        ClearanceTurn { host: Arc::clone(self), _guard: turn }
    }

    /// Waits until another page of a browser-only host may be requested.
    pub(crate) async fn acquire_browser_bound(&self) -> BrowserPass {
        let permit = Arc::clone(&self.page_slots).acquire_owned().await.ok();
        let start_at = {
            let mut state = self.state();
            let start_at = state.next_page_at.unwrap_or_else(Instant::now).max(Instant::now());
            state.next_page_at = Some(start_at + BROWSER_BOUND_SPACING);
            start_at
        };
        sleep_until(start_at).await;
        BrowserPass::BrowserBound { _permit: permit }
    }

    fn state(&self) -> MutexGuard<'_, GateState> {
        lock_unpoisoned(&self.state)
    }
}

impl ClearanceTurn {
    /// Whether another fetch earned a clearance since the count was `before`.
    pub(crate) fn is_superseded(&self, before: u64) -> bool {
        self.host.clearances() > before
    }

    /// Returns a recent failure that would repeat for the next visit. It applies if `why` is the same, or if `why` is
    /// the verdict that the browser itself got.
    pub(crate) fn recent_failure(&self, why: VerdictKind) -> Option<VisitFailure> {
        let state = self.host.state();
        let last = state.last_failure.as_ref().filter(|last| last.at.elapsed() < FAILURE_TTL)?;
        let is_browser_verdict =
            matches!(&last.failure, VisitFailure::Refused { verdict, .. } if verdict.kind == why);
        if last.why != why && !is_browser_verdict {
            return None;
        }
        let is_certain =
            matches!(last.failure, VisitFailure::Refused { .. }) || state.failures >= HOST_FAILURE_THRESHOLD;
        is_certain.then(|| last.failure.clone())
    }

    /// Records that the browser got the page. The identity now has the clearance.
    pub(crate) fn mark_success(&self) {
        let mut state = self.host.state();
        state.clearances += 1;
        state.failures = 0;
        state.last_failure = None;
    }

    /// Records that a visit because of `why` did not get the page.
    pub(crate) fn mark_failure(&self, why: VerdictKind, failure: VisitFailure) {
        let mut state = self.host.state();
        state.failures = if matches!(failure, VisitFailure::Failed(_)) { state.failures + 1 } else { 0 };
        state.last_failure = Some(FailedVisit { why, failure, at: Instant::now() });
    }
}

const MAX_HOSTS: usize = 10_000;
/// How long a failed visit also counts for other fetches of the host.
const FAILURE_TTL: Duration = Duration::from_secs(30);
/// The number of consecutive failures that count for the host. A single one may be due to the page.
const HOST_FAILURE_THRESHOLD: u32 = 2;
/// The maximum number of concurrent pages of a browser-only host.
const BROWSER_BOUND_PAGES: usize = 2;
/// The interval between the starts of two pages of such a host.
const BROWSER_BOUND_SPACING: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: VerdictKind) -> VisitFailure {
        let verdict = Verdict { kind, vendor: None, confidence: 1.0, evidence: Vec::new() };
        VisitFailure::Refused { verdict, hint: None }
    }

    #[tokio::test]
    async fn a_waiting_fetch_sees_the_clearance_earned_meanwhile() {
        let gate = ClearanceGate::default();
        let clearance = gate.for_host(1, "a.example");
        let before = clearance.clearances();
        let first = clearance.acquire().await;
        assert!(!first.is_superseded(before));
        let waiting = tokio::spawn({
            let clearance = Arc::clone(&clearance);
            async move { clearance.acquire().await.is_superseded(before) }
        });
        first.mark_success();
        drop(first);
        assert!(waiting.await.unwrap());
        for (identity, host) in [(2, "a.example"), (1, "b.example")] {
            assert!(!gate.for_host(identity, host).acquire().await.is_superseded(0), "{identity} {host}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_blocks_only_its_host_and_identity_and_dropping_it_frees_the_next() {
        let gate = ClearanceGate::default();
        let clearance = gate.for_host(1, "a.example");
        assert!(!clearance.is_busy());
        let turn = clearance.acquire().await;
        assert!(!gate.for_host(2, "a.example").is_busy());
        assert!(!gate.for_host(1, "b.example").is_busy());
        assert!(clearance.is_busy());
        // The wait ends at the limit.
        clearance.wait_idle(FAILURE_TTL).await;
        drop(turn);
        assert_eq!(clearance.acquire().await.recent_failure(VerdictKind::Challenge), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_shared_for_a_while_with_fetches_of_the_same_reason() {
        let clearance = Arc::new(HostClearance::default());
        let failure = refused(VerdictKind::Captcha);
        clearance.acquire().await.mark_failure(VerdictKind::Challenge, failure.clone());
        assert_eq!(clearance.acquire().await.recent_failure(VerdictKind::Challenge), Some(failure.clone()));
        assert_eq!(
            clearance.acquire().await.recent_failure(VerdictKind::Captcha),
            Some(failure),
            "the verdict that the browser got"
        );
        assert_eq!(clearance.acquire().await.recent_failure(VerdictKind::Block), None);
        tokio::time::advance(FAILURE_TTL).await;
        assert_eq!(clearance.acquire().await.recent_failure(VerdictKind::Challenge), None);
    }

    #[tokio::test]
    async fn one_failure_counts_for_the_page_and_two_in_a_row_for_the_host() {
        let clearance = Arc::new(HostClearance::default());
        let turn = clearance.acquire().await;
        let failed = || turn.mark_failure(VerdictKind::Challenge, VisitFailure::Failed(ErrorKind::Timeout));
        failed();
        assert_eq!(turn.recent_failure(VerdictKind::Challenge), None);
        turn.mark_success();
        failed();
        assert_eq!(turn.recent_failure(VerdictKind::Challenge), None);
        failed();
        assert_eq!(
            turn.recent_failure(VerdictKind::Challenge),
            Some(VisitFailure::Failed(ErrorKind::Timeout))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn pages_of_a_browser_only_host_are_spaced_and_limited() {
        let clearance = HostClearance::default();
        let began = Instant::now();
        let first = clearance.acquire_browser_bound().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        let second = clearance.acquire_browser_bound().await;
        assert_eq!(began.elapsed(), BROWSER_BOUND_SPACING);
        assert!(
            timeout(FAILURE_TTL, clearance.acquire_browser_bound()).await.is_err(),
            "two are there already"
        );
        drop((first, second));
        clearance.acquire_browser_bound().await;
    }
}
