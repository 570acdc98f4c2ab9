//! Circuits that processes share through the memory file.

use std::collections::HashMap;
use std::sync::Mutex;

use super::super::file::MemoryFile;
use super::super::{HostMemory, make_room};
use super::Circuit;
use super::table::{CircuitTable, CircuitUpdate, load_open};
use crate::exchange::error::Result;
use crate::exchange::tier::Tier;
use crate::os::sync::lock_unpoisoned;

/// What this process knows of the circuits in the file.
#[derive(Default)]
pub(in crate::memory) struct CircuitCache {
    /// When the circuits of a host were last read from the file.
    checked: Mutex<HashMap<String, i64>>,
    /// End of the cooldown of each circuit that was already reported.
    reported: Mutex<HashMap<(String, Tier), i64>>,
}

impl HostMemory {
    /// Whether it is time to read the circuits of `host` from the file again.
    pub(crate) fn should_check_circuits(&self, host: &str) -> bool {
        let now = self.now();
        self.store.is_some()
            && lock_unpoisoned(&self.circuits.checked)
                .get(host)
                .is_none_or(|last| now.saturating_sub(*last) >= CHECK_INTERVAL)
    }

    /// Returns the circuits of `host` that other processes opened and that were not reported yet. Reads the file
    /// at most every five seconds per host.
    pub(crate) async fn new_circuits(&self, host: &str) -> Vec<Circuit> {
        let Some(store) = &self.store else { return Vec::new() };
        let now = self.now();
        {
            let mut checked = lock_unpoisoned(&self.circuits.checked);
            let last = make_room(&mut checked).entry(host.to_owned()).or_insert(i64::MIN);
            if now.saturating_sub(*last) < CHECK_INTERVAL {
                return Vec::new();
            }
            *last = now;
        }
        let name = host.to_owned();
        let mut circuits = store.read(move |connection| load_open(connection, Some(&name), now)).await;
        let mut reported = lock_unpoisoned(&self.circuits.reported);
        circuits.retain(|circuit: &Circuit| {
            let key = (circuit.host.clone(), circuit.tier);
            make_room(&mut reported).insert(key, circuit.until).is_none_or(|until| until < circuit.until)
        });
        circuits
    }

    /// Records that a circuit opened, for other processes.
    pub(crate) fn record_open_circuit(&self, circuit: Circuit) {
        let Some(store) = &self.store else { return };
        make_room(&mut lock_unpoisoned(&self.circuits.reported))
            .insert((circuit.host.clone(), circuit.tier), circuit.until);
        store.change(|table: &mut CircuitTable| table.add(CircuitUpdate::Open(circuit)));
    }

    /// Records that a circuit closed.
    pub(crate) fn record_closed_circuit(&self, host: &str, tier: Tier) {
        if let Some(store) = &self.store {
            let update = CircuitUpdate::Closed { host: host.to_owned(), tier };
            store.change(|table: &mut CircuitTable| table.add(update));
        }
    }
}

impl MemoryFile {
    /// Returns the open circuits of the hosts of `host`'s site, or of all sites.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn circuits(&self, host: Option<&str>) -> Result<Vec<Circuit>> {
        self.read(host, |connection, matches, now| {
            let mut circuits = load_open(connection, None, now)?;
            circuits.retain(|circuit| matches(&circuit.host));
            Ok(circuits)
        })
    }
}

/// Interval at which the circuits of a host are read from the file, in seconds.
const CHECK_INTERVAL: i64 = 5;
