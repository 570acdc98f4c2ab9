//! One browser visit for all fetches of a host that wait for its clearance.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use crate::error_kind::ErrorKind;
use crate::sync::lock_unpoisoned;
use crate::verdict::{Verdict, VerdictKind};

/// Which identity, and which host.
type ClearanceKey = (u64, String);

/// Who is at the browser for whom.
#[derive(Default)]
pub(crate) struct ClearanceGate(Mutex<HashMap<ClearanceKey, Arc<HostClearance>>>);

/// The visits of one host by one identity.
pub(crate) struct HostClearance {
    turn_lock: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<GateState>,
    page_slots: Arc<Semaphore>,
}

#[derive(Default)]
struct GateState {
    /// How many clearances were earned so far.
    clearances: u64,
    /// How many visits in a row brought no answer.
    failures: u32,
    last_failure: Option<FailedVisit>,
    /// When the next visit of a host that the browser keeps may begin.
    next_page_at: Option<Instant>,
}

/// How the last visit ended, when it earned nothing.
struct FailedVisit {
    /// What had sent it to the browser.
    why: VerdictKind,
    failure: VisitFailure,
    at: Instant,
}

/// What a visit that earned nothing came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum VisitFailure {
    Refused { verdict: Verdict, hint: Option<String> },
    Failed(ErrorKind),
}

impl VisitFailure {
    /// Whether the site had no part in it.
    pub(crate) fn is_proxy_fault(&self) -> bool {
        match self {
            Self::Refused { verdict, .. } => verdict.kind == VerdictKind::ProxyFault,
            Self::Failed(kind) => *kind == ErrorKind::Proxy,
        }
    }
}

/// A fetch's leave to be at the browser.
pub(crate) enum BrowserPass {
    /// For a clearance: others of the same host wait until it is dropped.
    Exclusive(ClearanceTurn),
    /// For a page of a host that the browser keeps.
    BrowserBound { _permit: Option<OwnedSemaphorePermit> },
}

/// A fetch's turn. Dropped without a word, it goes to the next as it is.
pub(crate) struct ClearanceTurn {
    host: Arc<HostClearance>,
    _guard: OwnedMutexGuard<()>,
}

impl ClearanceGate {
    /// The visits of `host` by the identity.
    pub(crate) fn for_host(&self, identity: u64, host: &str) -> Arc<HostClearance> {
        let mut flights = lock_unpoisoned(&self.0);
        if flights.len() >= MAX_HOSTS {
            flights.retain(|_, flight| Arc::strong_count(flight) > 1);
        }
        Arc::clone(flights.entry((identity, host.to_owned())).or_default())
    }
}

impl Default for HostClearance {
    fn default() -> Self {
        let room = Arc::new(Semaphore::new(BROWSER_BOUND_PAGES));
        Self { turn_lock: Arc::default(), state: Mutex::default(), page_slots: room }
    }
}

impl HostClearance {
    /// How many clearances were earned so far.
    pub(crate) fn clearances(&self) -> u64 {
        self.state().clearances
    }

    /// Whether somebody is at the browser for this host.
    pub(crate) fn is_busy(&self) -> bool {
        self.turn_lock.try_lock().is_err()
    }

    /// Waits until nobody is, no longer than `limit`.
    pub(crate) async fn wait_idle(&self, limit: Duration) {
        let _ = timeout(limit, self.turn_lock.lock()).await;
    }

    /// Waits for the turn of one more fetch.
    pub(crate) async fn acquire(self: &Arc<Self>) -> ClearanceTurn {
        let turn = Arc::clone(&self.turn_lock).lock_owned().await;
        ClearanceTurn { host: Arc::clone(self), _guard: turn }
    }

    /// Waits until one more page of a host that the browser keeps may be asked for.
    pub(crate) async fn acquire_browser_bound(&self) -> BrowserPass {
        let room = Arc::clone(&self.page_slots).acquire_owned().await.ok();
        let at = {
            let mut state = self.state();
            let at = state.next_page_at.unwrap_or_else(Instant::now).max(Instant::now());
            state.next_page_at = Some(at + BROWSER_BOUND_SPACING);
            at
        };
        sleep_until(at).await;
        BrowserPass::BrowserBound { _permit: room }
    }

    fn state(&self) -> MutexGuard<'_, GateState> {
        lock_unpoisoned(&self.state)
    }
}

impl ClearanceTurn {
    /// Whether somebody earned a clearance since `before`.
    pub(crate) fn is_superseded(&self, before: u64) -> bool {
        self.host.clearances() > before
    }

    /// What a visit just now came to, when it would be no other for the next: sent there by the same
    /// `why`, or refused below already as the browser was.
    pub(crate) fn recent_failure(&self, why: VerdictKind) -> Option<VisitFailure> {
        let state = self.host.state();
        let lost = state.last_failure.as_ref().filter(|lost| lost.at.elapsed() < FAILURE_TTL)?;
        let as_refused =
            matches!(&lost.failure, VisitFailure::Refused { verdict, .. } if verdict.kind == why);
        if lost.why != why && !as_refused {
            return None;
        }
        let sure =
            matches!(lost.failure, VisitFailure::Refused { .. }) || state.failures >= HOST_FAILURE_THRESHOLD;
        sure.then(|| lost.failure.clone())
    }

    /// The browser got the page: its clearance is in the identity now.
    pub(crate) fn mark_success(&self) {
        let mut state = self.host.state();
        state.clearances += 1;
        state.failures = 0;
        state.last_failure = None;
    }

    /// The browser, sent there by `why`, did not get the page.
    pub(crate) fn mark_failure(&self, why: VerdictKind, end: VisitFailure) {
        let mut state = self.host.state();
        state.failures = if matches!(end, VisitFailure::Failed(_)) { state.failures + 1 } else { 0 };
        state.last_failure = Some(FailedVisit { why, failure: end, at: Instant::now() });
    }
}

const MAX_HOSTS: usize = 10_000;
/// How long a visit that was refused speaks for the other fetches of its host.
const FAILURE_TTL: Duration = Duration::from_secs(30);
/// One visit may fail by its page alone; so many in a row speak for the host.
const HOST_FAILURE_THRESHOLD: u32 = 2;
/// The most pages at once of a host that the browser keeps.
const BROWSER_BOUND_PAGES: usize = 2;
/// From one page of such a host to the next.
const BROWSER_BOUND_SPACING: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: VerdictKind) -> VisitFailure {
        let verdict = Verdict { kind, vendor: None, confidence: 1.0, evidence: Vec::new() };
        VisitFailure::Refused { verdict, hint: None }
    }

    #[tokio::test]
    async fn who_waited_learns_that_the_clearance_was_earned_meanwhile() {
        let flights = ClearanceGate::default();
        let flight = flights.for_host(1, "a.example");
        let before = flight.clearances();
        let first = flight.acquire().await;
        assert!(!first.is_superseded(before));
        let waiting = tokio::spawn({
            let flight = Arc::clone(&flight);
            async move { flight.acquire().await.is_superseded(before) }
        });
        first.mark_success();
        drop(first);
        assert!(waiting.await.unwrap());
        for (identity, host) in [(2, "a.example"), (1, "b.example")] {
            assert!(!flights.for_host(identity, host).acquire().await.is_superseded(0), "{identity} {host}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_of_one_host_or_identity_holds_up_no_other_and_a_dropped_one_goes_on() {
        let flights = ClearanceGate::default();
        let flight = flights.for_host(1, "a.example");
        assert!(!flight.is_busy());
        let held = flight.acquire().await;
        assert!(!flights.for_host(2, "a.example").is_busy());
        assert!(!flights.for_host(1, "b.example").is_busy());
        assert!(flight.is_busy());
        // And no longer than the limit.
        flight.wait_idle(FAILURE_TTL).await;
        drop(held);
        assert_eq!(flight.acquire().await.recent_failure(VerdictKind::Challenge), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_shared_for_a_while_by_who_came_for_the_same_reason() {
        let flight = Arc::new(HostClearance::default());
        let end = refused(VerdictKind::Captcha);
        flight.acquire().await.mark_failure(VerdictKind::Challenge, end.clone());
        assert_eq!(flight.acquire().await.recent_failure(VerdictKind::Challenge), Some(end.clone()));
        assert_eq!(
            flight.acquire().await.recent_failure(VerdictKind::Captcha),
            Some(end),
            "refused as the browser was"
        );
        assert_eq!(flight.acquire().await.recent_failure(VerdictKind::Block), None);
        tokio::time::advance(FAILURE_TTL).await;
        assert_eq!(flight.acquire().await.recent_failure(VerdictKind::Challenge), None);
    }

    #[tokio::test]
    async fn one_failure_is_the_pages_and_two_in_a_row_are_the_hosts() {
        let flight = Arc::new(HostClearance::default());
        let turn = flight.acquire().await;
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
    async fn a_kept_hosts_pages_are_spaced_and_few_at_once() {
        let flight = HostClearance::default();
        let began = Instant::now();
        let first = flight.acquire_browser_bound().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        let second = flight.acquire_browser_bound().await;
        assert_eq!(began.elapsed(), BROWSER_BOUND_SPACING);
        assert!(timeout(FAILURE_TTL, flight.acquire_browser_bound()).await.is_err(), "two are there already");
        drop((first, second));
        flight.acquire_browser_bound().await;
    }
}
