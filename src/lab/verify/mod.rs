//! Whether two recordings are of one browser, layer by layer. Pure.

mod exception;
mod frames;
mod hellos;
mod layer;
mod report;
mod requests;
mod row;

pub use exception::Exception;
pub use layer::Layer;
pub use report::{Count, Difference, Report};

pub(super) use hellos::{Draws, hello_of};

use super::drive::{Recording, key};
use super::record::Connection;
use super::scenario::SCENARIOS;
use crate::fingerprint::profile::Over;
use row::Row;

/// Compares what a browser said with what the impersonate tier said. Differences that one of
/// `exceptions` explains are told apart.
#[must_use]
pub fn verify(browser: &Recording, rungs: &Recording, exceptions: &[Exception]) -> Report {
    let mut report = Report {
        browser: browser.client.clone(),
        rungs: rungs.client.clone(),
        browser_count: count(browser),
        rungs_count: count(rungs),
        compared: Vec::new(),
        differences: Vec::new(),
        excepted: Vec::new(),
        exceptions: Vec::new(),
        stale: Vec::new(),
    };
    let mut row = Row::begin("hellos".to_owned(), &mut report);
    hellos::hold(&mut row, &browser.hellos, &rungs.hellos, false);
    hellos::hold_draws(&mut row, &all(browser), &all(rungs));
    row.end();
    for scenario in SCENARIOS {
        for over in scenario.overs {
            let name = key(scenario, *over);
            let none = Vec::new();
            let theirs = browser.scenarios.get(&name).unwrap_or(&none);
            let ours = rungs.scenarios.get(&name).unwrap_or(&none);
            let mut row = Row::begin(name, &mut report);
            if *over != Over::Cleartext {
                hellos::hold(&mut row, theirs, ours, false);
            }
            if scenario.name == "resumption" {
                hellos::hold(&mut row, theirs, ours, true);
            }
            requests::hold(&mut row, *over, theirs, ours);
            if *over == Over::H2 {
                frames::hold(&mut row, scenario, theirs, ours);
            }
            row.end();
        }
    }
    report.except(exceptions);
    report
}

/// All connections of a recording.
fn all(recording: &Recording) -> Vec<Connection> {
    recording.hellos.iter().chain(recording.scenarios.values().flatten()).cloned().collect()
}

fn count(recording: &Recording) -> Count {
    let all = all(recording);
    Count {
        hellos: all.iter().filter(|connection| !connection.hello_records.is_empty()).count(),
        requests: all.iter().map(|connection| connection.requests.len()).sum(),
    }
}
