//! `rungs profile capture` with programs that are not browsers: its errors, and that no file is left.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{FinishedRun, Program};

/// Captures `browser`, which must fail with this code and message, and leave no file.
fn fails(browser: &Path, code: i32, message: &str) -> FinishedRun {
    let program = Program::new().limit(Duration::from_secs(180));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("captured.toml");
    let arguments =
        ["profile", "capture", "-q", "--browser", plain(browser), "-o", plain(&file)].map(str::to_owned);
    let run = program.run(arguments);
    assert_eq!(run.code, code, "{run}");
    assert!(run.stderr.contains(message), "{message} is not in {run}");
    let left: Vec<_> = fs::read_dir(folder.path()).expect("the folder is there").collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(program.leftover_files(), Vec::<PathBuf>::new());
    run
}

fn plain(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A shell script, in its own folder, that is started as a browser would be.
fn script(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("browser");
    fs::write(&file, format!("#!/bin/sh\n{text}\n")).expect("the script is written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it can be made executable");
    (folder, file)
}

const VERSION: &str = r#"[ "$1" = --version ] && { echo "Chromium 156.0.1.2"; exit 0; }"#;

#[test]
fn a_missing_browser_is_a_usage_error() {
    fails(Path::new("/nowhere/chromium"), 2, "--browser: `/nowhere/chromium` was not found");
    fails(Path::new("no-such-browser"), 2, "--browser: `no-such-browser` was not found");
}

#[test]
fn a_file_that_cannot_be_run_is_named() {
    let (_folder, file) = script("exit 0");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("it can be made a plain file");
    let run = fails(&file, 1, &format!("the browser {} could not be run", file.display()));
    assert!(run.stderr.contains("hint: name an executable file"), "{run}");
}

#[test]
fn a_program_that_is_not_a_browser_is_reported() {
    let (_folder, file) = script("exit 0");
    fails(&file, 1, "does not print its version with --version");
    let run = fails(Path::new("/bin/ls"), 1, "the browser /bin/ls ended as soon as it was started");
    assert!(run.stderr.contains("hint: name a Chromium"), "{run}");
}

#[test]
fn a_browser_that_exits_at_once_is_reported_with_its_status() {
    let (_folder, file) = script(&format!("{VERSION}\nexit 7"));
    fails(&file, 1, "ended as soon as it was started (exit status: 7)");
}

#[test]
fn a_hanging_browser_is_abandoned() {
    let (_folder, file) = script("exec sleep 1000");
    fails(&file, 1, "did not print its version within 30s");
}

#[test]
fn a_browser_that_never_gets_ready_is_abandoned() {
    let (_folder, file) = script(&format!("{VERSION}\nexec sleep 1000"));
    fails(&file, 1, "did not open its first page within 60s");
}

#[test]
fn a_scenario_that_does_not_happen_is_named() {
    let real = rungs::lab::Chromium::find().expect("a Chromium is installed");
    // With a proxy that does not exist, no request reaches the recorder.
    let (_folder, file) = script(&format!(
        r#"exec {} "$@" --proxy-server=http://127.0.0.1:9 "--proxy-bypass-list=<-loopback>""#,
        real.display()
    ));
    fails(
        &file,
        1,
        "scenario `hellos` failed: timed out after 30s waiting for a request to hello-0.test/page",
    );
}

#[test]
fn a_missing_folder_is_reported_before_the_browser_starts() {
    let program = Program::new();
    let run = program.run(["profile", "capture", "-o", "nowhere/captured.toml"]);
    assert_eq!(run.code, 2, "{run}");
    assert!(run.stderr.contains("-o/--output: folder nowhere does not exist"), "{run}");
    assert!(!run.stderr.contains("browser: hellos"), "{run}");
}
