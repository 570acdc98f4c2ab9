//! `rungs profile capture` and `profile verify` against the machine's own Chromium.

use std::time::Duration;

use rungs::lab::{Layer, Recording, verify};
use serde_json::Value;

use crate::support::{Finished, Program};

/// Each run drives a browser through all scenarios, some more than once.
fn profile<const N: usize>(arguments: [&str; N]) -> Finished {
    let program = Program::new().limit(Duration::from_secs(300));
    program.run(["profile"].into_iter().chain(arguments))
}

#[test]
fn the_shipped_profile_is_the_installed_browser_in_every_scenario_and_layer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let saved = folder.path().join("browser.json");
    let saved = saved.to_str().expect("a plain path");
    let run = profile(["verify", "chrome-156-linux", "-q", "--save", saved]);
    assert_eq!(run.code, 0, "{run}");

    // A profile that differs in one place fails, and the layer is named.
    let text = rungs::fingerprint::Profile::shipped_text("chrome-156-linux").expect("it is shipped");
    let tampered = folder.path().join("tampered.toml");
    std::fs::write(&tampered, text.replace("[4, 6291456]", "[4, 6291457]")).expect("the profile is written");
    let tampered = tampered.to_str().expect("a plain path");
    let run = profile(["verify", tampered, "-q", "--against", saved]);
    assert_eq!(run.code, 1, "{run}");
    assert!(run.text().contains("opening: opening"), "{run}");
    assert!(run.text().contains("6291457"), "{run}");

    let saved = std::fs::read_to_string(saved).expect("the recording was saved");
    every_layer_can_differ(&serde_json::from_str(&saved).expect("a recording is JSON"));
}

type Change = Box<dyn Fn(&mut Value)>;

/// A recording that differs from itself in one place differs in that layer and in no other.
fn every_layer_can_differ(saved: &Value) {
    let recording = |value: &Value| serde_json::from_value::<Recording>(value.clone()).expect("a recording");
    let theirs = recording(saved);
    assert!(verify(&theirs, &theirs, &[]).is_equal());
    let post = |change: fn(&mut Value)| {
        move |all: &mut Value| {
            let connections = all["scenarios"]["form/h2"].as_array_mut().expect("the scenario was driven");
            let mut requests =
                connections.iter_mut().flat_map(|c| c["requests"].as_array_mut().expect("a list"));
            change(requests.find(|request| request["method"] == "POST").expect("a form was sent"));
        }
    };
    let changes: [(Layer, Change); 9] = [
        (
            Layer::Hello,
            Box::new(|all| all["hellos"].as_array_mut().expect("a list").iter_mut().for_each(weaker)),
        ),
        (
            Layer::Resumption,
            Box::new(|all| {
                let connections = all["scenarios"]["resumption/h2"].as_array_mut().expect("it was driven");
                connections.iter_mut().filter(|c| c["resumed"] == true).for_each(weaker);
            }),
        ),
        (
            Layer::Opening,
            Box::new(|all| {
                for connection in all["scenarios"]["form/h2"].as_array_mut().expect("it was driven") {
                    connection["opening"]["window_update"] = 1.into();
                }
            }),
        ),
        (
            Layer::Pseudo,
            Box::new(post(|request| request["pseudo"].as_array_mut().expect("a list").swap(1, 3))),
        ),
        (
            Layer::Names,
            Box::new(post(|request| request["headers"].as_array_mut().expect("a list").swap(0, 1))),
        ),
        (Layer::Values, Box::new(post(|request| request["headers"][1][1] = "no-cache".into()))),
        (Layer::Priority, Box::new(post(|request| request["priority"]["weight"] = 219.into()))),
        (Layer::Hpack, Box::new(post(|request| request["hpack"][0]["form"] = "incremental".into()))),
        (Layer::Data, Box::new(post(|request| request["data"] = serde_json::json!([[4, false], [5, true]])))),
    ];
    for (layer, change) in changes {
        let mut other = saved.clone();
        change(&mut other);
        let report = verify(&theirs, &recording(&other), &[]);
        assert!(!report.is_equal(), "{layer:?} was changed");
        for difference in report.differences {
            assert_eq!(difference.layer, layer, "{difference:?}");
        }
    }
}

/// Offers another cipher suite in the place of one: 0xc023 for 0xc02b.
fn weaker(connection: &mut Value) {
    let records = connection["hello_records"].as_str().expect("hex");
    let changed = records.replace("c02bc02f", "c023c02f");
    assert_ne!(changed, records);
    connection["hello_records"] = changed.into();
}

#[test]
fn what_is_captured_here_is_the_shipped_profile_of_the_same_version() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("chrome-156-linux.toml");
    let file = file.to_str().expect("a plain path");
    let shipped = rungs::fingerprint::Profile::shipped_text("chrome-156-linux").expect("it is shipped");
    let undated = |text: &str| {
        text.lines().filter(|line| !line.starts_with("captured = ")).map(str::to_owned).collect::<Vec<_>>()
    };
    // A browser races its connections: on a busy machine one recording may lack what the next has.
    let mut last = None;
    for _ in 0..3 {
        let run = profile(["capture", "-q", "-o", file]);
        let captured = std::fs::read_to_string(file).unwrap_or_default();
        if run.code == 0 && undated(&captured) == undated(shipped) {
            return;
        }
        last = Some((run, captured));
    }
    let (run, captured) = last.expect("it was tried");
    assert_eq!(run.code, 0, "{run}");
    let again = "the installed browser is another: capture it, and ship what comes out";
    assert_eq!(undated(&captured), undated(shipped), "{again}");
}
