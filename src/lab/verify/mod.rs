//! Compares two recordings layer by layer. Pure.

mod exception;
mod frames;
mod hellos;
mod layer;
mod report;
mod requests;
mod row;

pub use exception::Exception;
pub use layer::FingerprintLayer;
pub use report::{LayerDifference, RecordingCount, VerifyReport};

pub(super) use hellos::{RandomFields, hello_of};

use super::driver::{Recording, scenario_key};
use super::recording::RecordedConnection;
use super::scenario::SCENARIOS;
use crate::fingerprint::profile::WireProtocol;
use row::ScenarioComparison;

/// Compares a browser's recording with one of the impersonate tier. Differences that one of `exceptions`
/// explains are reported separately.
#[must_use]
pub fn verify(browser: &Recording, rungs: &Recording, exceptions: &[Exception]) -> VerifyReport {
    let mut report = VerifyReport {
        browser: browser.client.clone(),
        rungs: rungs.client.clone(),
        browser_count: count_recording(browser),
        rungs_count: count_recording(rungs),
        compared: Vec::new(),
        differences: Vec::new(),
        excepted: Vec::new(),
        exceptions: Vec::new(),
        stale: Vec::new(),
    };
    let mut row = ScenarioComparison::new("hellos".to_owned(), &mut report);
    hellos::compare(&mut row, &browser.hellos, &rungs.hellos, false);
    hellos::compare_random_fields(&mut row, &all_connections(browser), &all_connections(rungs));
    row.finish();
    for scenario in SCENARIOS {
        for over in scenario.protocols {
            let name = scenario_key(scenario, *over);
            let none = Vec::new();
            let theirs = browser.scenarios.get(&name).unwrap_or(&none);
            let ours = rungs.scenarios.get(&name).unwrap_or(&none);
            let mut row = ScenarioComparison::new(name, &mut report);
            if *over != WireProtocol::Cleartext {
                hellos::compare(&mut row, theirs, ours, false);
            }
            if scenario.name == "resumption" {
                hellos::compare(&mut row, theirs, ours, true);
            }
            requests::compare(&mut row, *over, theirs, ours);
            if *over == WireProtocol::Http2 {
                frames::compare(&mut row, scenario, theirs, ours);
            }
            row.finish();
        }
    }
    report.apply_exceptions(exceptions);
    report
}

/// All connections of a recording.
fn all_connections(recording: &Recording) -> Vec<RecordedConnection> {
    recording.hellos.iter().chain(recording.scenarios.values().flatten()).cloned().collect()
}

fn count_recording(recording: &Recording) -> RecordingCount {
    let all = all_connections(recording);
    RecordingCount {
        hellos: all.iter().filter(|connection| !connection.hello_records.is_empty()).count(),
        requests: all.iter().map(|connection| connection.requests.len()).sum(),
    }
}
