//! `rungs profile capture` and `profile verify` against the machine's own Chromium.

use crate::support::rungs;

#[test]
fn the_shipped_profile_is_the_installed_browser_in_every_scenario_and_layer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let saved = folder.path().join("browser.json");
    let saved = saved.to_str().expect("a plain path");
    let run = rungs(["profile", "verify", "chrome-156-linux", "-q", "--save", saved]);
    assert_eq!(run.code, 0, "{run}");

    // A profile that differs in one place fails, and the layer is named.
    let text = rungs::fingerprint::Profile::shipped_text("chrome-156-linux").expect("it is shipped");
    let tampered = folder.path().join("tampered.toml");
    std::fs::write(&tampered, text.replace("[4, 6291456]", "[4, 6291457]")).expect("the profile is written");
    let tampered = tampered.to_str().expect("a plain path");
    let run = rungs(["profile", "verify", tampered, "-q", "--against", saved]);
    assert_eq!(run.code, 1, "{run}");
    assert!(run.text().contains("opening: opening"), "{run}");
    assert!(run.text().contains("6291457"), "{run}");
}

#[test]
fn what_is_captured_here_is_the_shipped_profile_of_the_same_version() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("chrome-156-linux.toml");
    let file = file.to_str().expect("a plain path");
    let run = rungs(["profile", "capture", "-q", "-o", file]);
    assert_eq!(run.code, 0, "{run}");
    let captured = std::fs::read_to_string(file).expect("it was written");
    let shipped = rungs::fingerprint::Profile::shipped_text("chrome-156-linux").expect("it is shipped");
    let version = |text: &str| text.lines().find(|line| line.starts_with("version = \"")).map(str::to_owned);
    if version(&captured) != version(shipped) {
        return;
    }
    let undated = |text: &str| {
        text.lines().filter(|line| !line.starts_with("captured = ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(undated(&captured), undated(shipped));
}
