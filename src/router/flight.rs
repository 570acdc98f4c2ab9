//! One browser visit for all fetches of a host that wait for its clearance.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use crate::kind::ErrorKind;
use crate::lock::lock;
use crate::verdict::{Verdict, VerdictKind};

/// Which identity, and which host.
type Key = (u64, String);

/// Who is at the browser for whom.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<Key, Arc<Flight>>>);

/// The visits of one host by one identity.
pub(crate) struct Flight {
    turn: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    /// How many clearances were earned so far.
    earned: u64,
    /// How many visits in a row brought no answer.
    failures: u32,
    lost: Option<Lost>,
    /// When the next visit of a host that the browser keeps may begin.
    next: Option<Instant>,
}

/// How the last visit ended, when it earned nothing.
struct Lost {
    /// What had sent it to the browser.
    why: VerdictKind,
    end: End,
    at: Instant,
}

/// What a visit that earned nothing came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    Refused { verdict: Verdict, hint: Option<String> },
    Failed(ErrorKind),
}

impl End {
    /// Whether the site had no part in it.
    pub(crate) fn is_the_proxys(&self) -> bool {
        match self {
            Self::Refused { verdict, .. } => verdict.kind == VerdictKind::ProxyFault,
            Self::Failed(kind) => *kind == ErrorKind::Proxy,
        }
    }
}

/// A fetch's leave to be at the browser.
pub(crate) enum Leave {
    /// For a clearance: others of the same host wait until it is dropped.
    Turn(Turn),
    /// For a page of a host that the browser keeps.
    Kept { _room: Option<OwnedSemaphorePermit> },
}

/// A fetch's turn. Dropped without a word, it goes to the next as it is.
pub(crate) struct Turn {
    flight: Arc<Flight>,
    _turn: OwnedMutexGuard<()>,
}

impl Flights {
    /// The visits of `host` by the identity.
    pub(crate) fn of(&self, identity: u64, host: &str) -> Arc<Flight> {
        let mut flights = lock(&self.0);
        if flights.len() >= MAX_FLIGHTS {
            flights.retain(|_, flight| Arc::strong_count(flight) > 1);
        }
        Arc::clone(flights.entry((identity, host.to_owned())).or_default())
    }
}

impl Default for Flight {
    fn default() -> Self {
        let room = Arc::new(Semaphore::new(KEPT_AT_ONCE));
        Self { turn: Arc::default(), state: Mutex::default(), room }
    }
}

impl Flight {
    /// How many clearances were earned so far.
    pub(crate) fn earned(&self) -> u64 {
        self.state().earned
    }

    /// Whether somebody is at the browser for this host.
    pub(crate) fn is_busy(&self) -> bool {
        self.turn.try_lock().is_err()
    }

    /// Waits until nobody is, no longer than `limit`.
    pub(crate) async fn landed(&self, limit: Duration) {
        let _ = timeout(limit, self.turn.lock()).await;
    }

    /// Waits for the turn of one more fetch.
    pub(crate) async fn turn(self: &Arc<Self>) -> Turn {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        Turn { flight: Arc::clone(self), _turn: turn }
    }

    /// Waits until one more page of a host that the browser keeps may be asked for.
    pub(crate) async fn kept(&self) -> Leave {
        let room = Arc::clone(&self.room).acquire_owned().await.ok();
        let at = {
            let mut state = self.state();
            let at = state.next.unwrap_or_else(Instant::now).max(Instant::now());
            state.next = Some(at + KEPT_SPACING);
            at
        };
        sleep_until(at).await;
        Leave::Kept { _room: room }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Turn {
    /// Whether somebody earned a clearance since `before`.
    pub(crate) fn is_late(&self, before: u64) -> bool {
        self.flight.earned() > before
    }

    /// What a visit just now came to, when it would be no other for the next: sent there by the same
    /// `why`, or refused below already as the browser was.
    pub(crate) fn foreseen(&self, why: VerdictKind) -> Option<End> {
        let state = self.flight.state();
        let lost = state.lost.as_ref().filter(|lost| lost.at.elapsed() < SHARED_FOR)?;
        let as_refused = matches!(&lost.end, End::Refused { verdict, .. } if verdict.kind == why);
        if lost.why != why && !as_refused {
            return None;
        }
        let sure = matches!(lost.end, End::Refused { .. }) || state.failures >= FAILURES;
        sure.then(|| lost.end.clone())
    }

    /// The browser got the page: its clearance is in the identity now.
    pub(crate) fn earned(&self) {
        let mut state = self.flight.state();
        state.earned += 1;
        state.failures = 0;
        state.lost = None;
    }

    /// The browser, sent there by `why`, did not get the page.
    pub(crate) fn lost(&self, why: VerdictKind, end: End) {
        let mut state = self.flight.state();
        state.failures = if matches!(end, End::Failed(_)) { state.failures + 1 } else { 0 };
        state.lost = Some(Lost { why, end, at: Instant::now() });
    }
}

const MAX_FLIGHTS: usize = 10_000;
/// How long a visit that was refused speaks for the other fetches of its host.
const SHARED_FOR: Duration = Duration::from_secs(30);
/// One visit may fail by its page alone; so many in a row speak for the host.
const FAILURES: u32 = 2;
/// The most pages at once of a host that the browser keeps.
const KEPT_AT_ONCE: usize = 2;
/// From one page of such a host to the next.
const KEPT_SPACING: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: VerdictKind) -> End {
        let verdict = Verdict { kind, vendor: None, confidence: 1.0, evidence: Vec::new() };
        End::Refused { verdict, hint: None }
    }

    #[tokio::test]
    async fn who_waited_learns_that_the_clearance_was_earned_meanwhile() {
        let flights = Flights::default();
        let flight = flights.of(1, "a.example");
        let before = flight.earned();
        let first = flight.turn().await;
        assert!(!first.is_late(before));
        let waiting = tokio::spawn({
            let flight = Arc::clone(&flight);
            async move { flight.turn().await.is_late(before) }
        });
        first.earned();
        drop(first);
        assert!(waiting.await.unwrap());
        for (identity, host) in [(2, "a.example"), (1, "b.example")] {
            assert!(!flights.of(identity, host).turn().await.is_late(0), "{identity} {host}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_of_one_host_or_identity_holds_up_no_other_and_a_dropped_one_goes_on() {
        let flights = Flights::default();
        let flight = flights.of(1, "a.example");
        assert!(!flight.is_busy());
        let held = flight.turn().await;
        assert!(!flights.of(2, "a.example").is_busy());
        assert!(!flights.of(1, "b.example").is_busy());
        assert!(flight.is_busy());
        // And no longer than the limit.
        flight.landed(SHARED_FOR).await;
        drop(held);
        assert_eq!(flight.turn().await.foreseen(VerdictKind::Challenge), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_shared_for_a_while_by_who_came_for_the_same_reason() {
        let flight = Arc::new(Flight::default());
        let end = refused(VerdictKind::Captcha);
        flight.turn().await.lost(VerdictKind::Challenge, end.clone());
        assert_eq!(flight.turn().await.foreseen(VerdictKind::Challenge), Some(end.clone()));
        assert_eq!(
            flight.turn().await.foreseen(VerdictKind::Captcha),
            Some(end),
            "refused as the browser was"
        );
        assert_eq!(flight.turn().await.foreseen(VerdictKind::Block), None);
        tokio::time::advance(SHARED_FOR).await;
        assert_eq!(flight.turn().await.foreseen(VerdictKind::Challenge), None);
    }

    #[tokio::test]
    async fn one_failure_is_the_pages_and_two_in_a_row_are_the_hosts() {
        let flight = Arc::new(Flight::default());
        let turn = flight.turn().await;
        let failed = || turn.lost(VerdictKind::Challenge, End::Failed(ErrorKind::Timeout));
        failed();
        assert_eq!(turn.foreseen(VerdictKind::Challenge), None);
        turn.earned();
        failed();
        assert_eq!(turn.foreseen(VerdictKind::Challenge), None);
        failed();
        assert_eq!(turn.foreseen(VerdictKind::Challenge), Some(End::Failed(ErrorKind::Timeout)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_kept_hosts_pages_are_spaced_and_few_at_once() {
        let flight = Flight::default();
        let began = Instant::now();
        let first = flight.kept().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        let second = flight.kept().await;
        assert_eq!(began.elapsed(), KEPT_SPACING);
        assert!(timeout(SHARED_FOR, flight.kept()).await.is_err(), "two are there already");
        drop((first, second));
        flight.kept().await;
    }
}
