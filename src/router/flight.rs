//! One browser visit for all fetches of a host that wait for its clearance.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// Which identity, and which host.
type Key = (u64, String);

/// Who is at the browser for whom.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<Key, Arc<Flight>>>);

#[derive(Default)]
struct Flight {
    turn: Arc<tokio::sync::Mutex<()>>,
    /// How many clearances were earned so far.
    earned: Mutex<u64>,
}

/// A fetch's turn at the browser. Others of the same host wait until it is dropped.
pub(crate) struct Turn {
    flight: Arc<Flight>,
    _turn: OwnedMutexGuard<()>,
}

impl Flights {
    /// How many clearances this identity has earned at this host.
    pub(crate) fn earned(&self, identity: u64, host: &str) -> u64 {
        self.flight(identity, host).count()
    }

    /// Waits for the turn of one more fetch.
    pub(crate) async fn turn(&self, identity: u64, host: &str) -> Turn {
        let flight = self.flight(identity, host);
        let turn = Arc::clone(&flight.turn).lock_owned().await;
        Turn { flight, _turn: turn }
    }

    fn flight(&self, identity: u64, host: &str) -> Arc<Flight> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if flights.len() >= MAX_FLIGHTS {
            flights.retain(|_, flight| Arc::strong_count(flight) > 1);
        }
        Arc::clone(flights.entry((identity, host.to_owned())).or_default())
    }
}

impl Flight {
    fn count(&self) -> u64 {
        *self.earned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Whether somebody earned a clearance since `before`.
    pub(crate) fn is_late(&self, before: u64) -> bool {
        self.flight.count() > before
    }

    /// The browser got the page: its clearance is in the identity now.
    pub(crate) fn earned(&self) {
        *self.flight.earned.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }
}

const MAX_FLIGHTS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waited_learns_that_the_clearance_was_earned_meanwhile() {
        let flights = Arc::new(Flights::default());
        let before = flights.earned(1, "a.example");
        let first = flights.turn(1, "a.example").await;
        assert!(!first.is_late(before));
        let waiting = tokio::spawn({
            let flights = Arc::clone(&flights);
            async move { flights.turn(1, "a.example").await.is_late(before) }
        });
        first.earned();
        drop(first);
        assert!(waiting.await.unwrap());
        assert!(!flights.turn(2, "a.example").await.is_late(0), "another identity earned nothing");
    }
}
