//! `rungs profile capture` and `profile verify` against the machine's own Chromium.

use std::time::Duration;

use rungs::lab::{Exception, FingerprintLayer, Recording, verify};
use serde_json::Value;

use crate::support::{FinishedRun, Program, capture_profile, captured_profile_file};

/// Each run drives a browser through all scenarios, some more than once.
fn profile<const N: usize>(arguments: [&str; N]) -> FinishedRun {
    let program = Program::new().limit(Duration::from_secs(600));
    program.run(["profile"].into_iter().chain(arguments))
}

/// A profile captured in this run is compared with a recording made in this run, so that a newer Chromium changes
/// nothing here.
#[test]
fn a_profile_captured_here_is_the_installed_browser_in_every_scenario_and_layer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let captured = captured_profile_file();
    let text = std::fs::read_to_string(captured).expect("the profile was written");
    let captured = captured.to_str().expect("a plain path");
    let saved = folder.path().join("browser.json");
    let saved = saved.to_str().expect("a plain path");
    let run = profile(["verify", captured, "-q", "--save", saved]);
    assert_eq!(run.code, 0, "{run}");
    assert!(run.text().contains("exception: cors-preflight/h2 requests: a browser sends"), "{run}");

    // A profile that differs in one place fails, and the layer is named.
    let tampered = folder.path().join("tampered.toml");
    let other_window = text.replacen("[4, 6291456]", "[4, 6291457]", 1);
    assert_ne!(other_window, text, "the profile has Chrome's initial window");
    std::fs::write(&tampered, other_window).expect("the profile is written");
    let tampered = tampered.to_str().expect("a plain path");
    let run = profile(["verify", tampered, "-q", "--against", saved]);
    assert_eq!(run.code, 1, "{run}");
    assert!(run.text().contains("opening: connection 0"), "{run}");
    assert!(run.text().contains("6291457"), "{run}");

    let saved = std::fs::read_to_string(saved).expect("the recording was saved");
    let saved = serde_json::from_str(&saved).expect("a recording is JSON");
    every_layer_can_differ(&saved);
    exceptions_explain_a_difference_or_are_stale(&saved);
}

type Change = Box<dyn Fn(&mut Value)>;

/// A recording changed in one place differs from the original in that layer and in no other.
fn every_layer_can_differ(saved: &Value) {
    let recording = |value: &Value| serde_json::from_value::<Recording>(value.clone()).expect("a recording");
    let theirs = recording(saved);
    assert!(verify(&theirs, &theirs, &[]).is_equal());
    let connections = |all: &mut Value, scenario: &str, change: &dyn Fn(&mut Value)| {
        let connections = all["scenarios"][scenario].as_array_mut().expect("the scenario was driven");
        connections.iter_mut().for_each(change);
    };
    let post = |change: fn(&mut Value)| {
        move |all: &mut Value| {
            let connections = all["scenarios"]["form/h2"].as_array_mut().expect("the scenario was driven");
            let mut requests =
                connections.iter_mut().flat_map(|c| c["requests"].as_array_mut().expect("a list"));
            change(requests.find(|request| request["method"] == "POST").expect("a form was sent"));
        }
    };
    let changes: [(FingerprintLayer, Change); 17] = [
        (
            FingerprintLayer::Hello,
            Box::new(|all| all["hellos"].as_array_mut().expect("a list").iter_mut().for_each(weaker)),
        ),
        (
            FingerprintLayer::Resumption,
            Box::new(|all| {
                let connections = all["scenarios"]["resumption/h2"].as_array_mut().expect("it was driven");
                connections.iter_mut().filter(|c| c["resumed"] == true).for_each(weaker);
            }),
        ),
        (
            FingerprintLayer::Opening,
            Box::new(|all| {
                for connection in all["scenarios"]["form/h2"].as_array_mut().expect("it was driven") {
                    connection["opening"]["window_update"] = 1.into();
                }
            }),
        ),
        (
            FingerprintLayer::Opening,
            Box::new(move |all| {
                let priority =
                    serde_json::json!([[3, { "weight": 200, "depends_on": 0, "exclusive": false }]]);
                connections(all, "form/h2", &|connection| {
                    connection["opening"]["priorities"] = priority.clone();
                });
            }),
        ),
        (
            FingerprintLayer::Hello,
            Box::new(|all| all["hellos"].as_array_mut().expect("a list").iter_mut().for_each(grease_moved)),
        ),
        (FingerprintLayer::Requests, Box::new(post(|request| request["path"] = "/elsewhere".into()))),
        (
            FingerprintLayer::Windows,
            Box::new(move |all| {
                connections(all, "download/h2", &|connection| {
                    let control = connection["control"].as_array_mut().expect("a list");
                    control.retain(|frame| frame["frame"] != "window_update" || frame["stream"] == 0);
                });
            }),
        ),
        (
            FingerprintLayer::Control,
            Box::new(move |all| {
                connections(all, "idle/h2", &|connection| {
                    let control = connection["control"].as_array_mut().expect("a list");
                    control.retain(|frame| frame["frame"] != "ping");
                });
            }),
        ),
        (
            FingerprintLayer::Control,
            Box::new(move |all| {
                connections(all, "pinged/h2", &|connection| {
                    let control = connection["control"].as_array_mut().expect("a list");
                    control.retain(|frame| frame["frame"] != "ping");
                });
            }),
        ),
        (
            FingerprintLayer::Pseudo,
            Box::new(post(|request| request["pseudo"].as_array_mut().expect("a list").swap(1, 3))),
        ),
        (
            FingerprintLayer::Names,
            Box::new(post(|request| request["headers"].as_array_mut().expect("a list").swap(0, 1))),
        ),
        (FingerprintLayer::Values, Box::new(post(|request| request["headers"][1][1] = "no-cache".into()))),
        (
            FingerprintLayer::Values,
            Box::new(move |all| {
                connections(all, "cookies/h1", &|connection| {
                    for request in connection["requests"].as_array_mut().expect("a list") {
                        for header in request["headers"].as_array_mut().expect("a list") {
                            if header[0] == "Cookie" {
                                header[1] = "second=two; first=1".into();
                            }
                        }
                    }
                });
            }),
        ),
        (
            FingerprintLayer::Values,
            Box::new(post(|request| {
                let headers = request["headers"].as_array_mut().expect("a list");
                let (one, other) = (headers[2][1].take(), headers[3][1].take());
                (headers[2][1], headers[3][1]) = (other, one);
            })),
        ),
        (FingerprintLayer::Priority, Box::new(post(|request| request["priority"]["weight"] = 219.into()))),
        (
            FingerprintLayer::Hpack,
            Box::new(post(|request| request["hpack"][0]["form"] = "incremental".into())),
        ),
        (
            FingerprintLayer::Data,
            Box::new(post(|request| request["data"] = serde_json::json!([[4, false], [5, true]]))),
        ),
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

/// Moves the last GREASE extension, empty or of one byte, before the one that stands before it.
fn grease_moved(connection: &mut Value) {
    let records = bytes(connection["hello_records"].as_str().expect("hex"));
    let message = &records[9..];
    let mut at = 2 + 32;
    at += 1 + usize::from(message[at]);
    at += 2 + usize::from(u16::from_be_bytes([message[at], message[at + 1]]));
    at += 1 + usize::from(message[at]) + 2;
    let begin = at;
    let mut places = Vec::new();
    while at < message.len() {
        let len = 4 + usize::from(u16::from_be_bytes([message[at + 2], message[at + 3]]));
        places.push(at..at + len);
        at += len;
    }
    let last = places.len() - 1;
    places.swap(last - 1, last);
    let mut changed = records[..9 + begin].to_vec();
    for place in places {
        changed.extend(&message[place]);
    }
    let hex: Vec<String> = changed.iter().map(|byte| format!("{byte:02x}")).collect();
    connection["hello_records"] = hex.concat().into();
}

fn bytes(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).expect("ASCII"), 16).expect("hex")).collect()
}

/// A difference that an exception names is accepted. An exception without a difference is an error.
fn exceptions_explain_a_difference_or_are_stale(saved: &Value) {
    let recording = |value: &Value| serde_json::from_value::<Recording>(value.clone()).expect("a recording");
    let mut other = saved.clone();
    for connection in other["scenarios"]["form/h2"].as_array_mut().expect("it was driven") {
        connection["opening"]["window_update"] = 1.into();
    }
    let exception = |scenario: &str| Exception {
        scenario: scenario.to_owned(),
        layer: FingerprintLayer::Opening,
        reason: "it is a test".to_owned(),
    };
    let exceptions = [exception("form/h2"), exception("link/h2")];
    let report = verify(&recording(saved), &recording(&other), &exceptions[..1]);
    assert!(report.is_equal(), "{report}");
    assert!(report.to_string().contains("exception: form/h2 opening: it is a test"), "{report}");
    let json = serde_json::to_value(&report).expect("a report is JSON");
    assert_eq!(json["exceptions"][0]["reason"], "it is a test");
    let report = verify(&recording(saved), &recording(&other), &exceptions);
    assert!(!report.is_equal(), "{report}");
    let stale = "stale exception: link/h2 opening does not differ any more";
    assert!(report.to_string().contains(stale), "{report}");
}

/// Replaces one cipher suite: 0xc023 for 0xc02b.
fn weaker(connection: &mut Value) {
    let records = connection["hello_records"].as_str().expect("hex");
    let changed = records.replace("c02bc02f", "c023c02f");
    assert_ne!(changed, records);
    connection["hello_records"] = changed.into();
}

/// The lines of a profile that do not tell when it was captured.
fn undated(text: &str) -> Vec<String> {
    text.lines().filter(|line| !line.starts_with("captured = ")).map(str::to_owned).collect()
}

/// The shipped profile is held to the installed browser where both have one version. Where the browser is another, two
/// captures are held to each other, and the age of the shipped profile is a warning of `rungs doctor`.
#[test]
fn a_capture_is_reproducible_and_equals_the_shipped_profile_of_the_same_version() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("chrome-156-linux.toml");
    let version = |text: &str| text.lines().find(|line| line.starts_with("version = ")).map(str::to_owned);
    let shipped = rungs::fingerprint::Profile::shipped_text("chrome-156-linux").expect("it is shipped");
    let first = std::fs::read_to_string(captured_profile_file()).expect("the profile was written");
    let (expected, tries) =
        if version(&first) == version(shipped) { (vec![undated(shipped)], 3) } else { (Vec::new(), 4) };
    // A browser opens connections in parallel: on a busy machine one recording may lack what another has.
    let mut captures = vec![undated(&first)];
    loop {
        let last = captures.last().expect("one capture was made");
        let others = if expected.is_empty() { &captures[..captures.len() - 1] } else { &expected[..] };
        if others.contains(last) {
            return;
        }
        assert!(captures.len() < tries, "no capture is as expected: {last:#?}\n{:#?}", others.first());
        captures.push(undated(&capture_profile(&file)));
    }
}
