//! `rungs profile capture` and `profile verify` against the machine's own Chromium.

use std::time::Duration;

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
