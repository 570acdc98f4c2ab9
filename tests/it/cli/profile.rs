//! `rungs profile lint|diff|show|list`, as a user runs them.

use crate::support::rungs;

/// A wrong profile of `fixtures/profiles`.
fn fixture(name: &str) -> String {
    format!("{}/fixtures/profiles/{name}.toml", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn lint_fails_on_errors_and_not_on_warnings() {
    for (name, code, id) in [
        ("user-agent-in-a-template", 3, "error ua-header: headers.navigation/h2.user-agent:"),
        ("hint-missing", 0, "warning hint-missing:"),
        ("sound", 0, ""),
    ] {
        let run = rungs(["profile", "lint", &fixture(name)]);
        assert_eq!(run.code, code, "{run}");
        assert!(run.text().contains(id), "{run}");
    }
}

#[test]
fn lint_takes_names_and_files_together_and_prints_json() {
    let run = rungs(["profile", "lint", "--format", "json", "edge-156-windows", &fixture("no-grease")]);
    assert_eq!(run.code, 3, "{run}");
    let found = run.json();
    let found: Vec<_> =
        found.as_array().expect("an array").iter().filter(|c| c["severity"] == "error").collect();
    assert_eq!(found.len(), 1, "{run}");
    assert_eq!(found[0]["id"], "tls-grease");
    assert_eq!(found[0]["key"], "tls.grease");
    assert_eq!(found[0]["profile"], fixture("no-grease").as_str());
}

#[test]
fn an_unreadable_profile_is_reported_by_line_and_key() {
    let run = rungs(["profile", "lint", &fixture("key-misspelt")]);
    assert_eq!(run.code, 3, "{run}");
    assert!(run.stderr.contains("unknown field `ech_greese`"), "{run}");
    assert_eq!(rungs(["profile", "lint", "missing"]).code, 3);
}

#[test]
fn diff_sets_its_exit_code_by_whether_profiles_are_equal() {
    let equal = rungs(["profile", "diff", "chrome-156-linux", "chrome-156-linux"]);
    assert_eq!((equal.code, equal.text().as_str()), (0, ""), "{equal}");
    let run = rungs(["profile", "diff", "--format", "json", &fixture("sound"), &fixture("http2-window")]);
    assert_eq!(run.code, 1, "{run}");
    let differences = run.json();
    assert_eq!(differences[0]["path"], "http2.window_update");
    assert_eq!(differences[0]["left"], 15_663_105);
    assert_eq!(differences[0]["right"], 12_517_377);
    let run = rungs(["profile", "diff", "plain", "missing"]);
    assert_eq!(run.code, 3, "{run}");
}

#[test]
fn fingerprints_are_shown_without_connecting() {
    let run = rungs(["profile", "show", "google-chrome-156-windows", "--fingerprints"]);
    assert_eq!(run.code, 0, "{run}");
    for line in [
        "ja4          t13d1517h2_8daaf6152771_cb7bf5808d99\n",
        "akamai       1:65536;2:0;4:6291456;6:262144|15663105|0|m,a,s,p\n",
        "akamai_hash  52d84b11737d980aef856699f885ca86\n",
        "ja3          varies by connection",
    ] {
        assert!(run.text().contains(line), "{run}");
    }
    let run = rungs(["profile", "show", "plain", "--fingerprints", "--format", "json"]);
    assert_eq!(run.json()["ja3_varies"], false, "{run}");
}

#[test]
fn a_derived_profile_shown_in_full_is_a_standalone_profile() {
    let program = crate::support::Program::new();
    let run = program.run(["profile", "show", "--whole", "edge-156-windows"]);
    assert_eq!(run.code, 0, "{run}");
    assert!(!run.text().contains("derive_from"), "{run}");
    std::fs::write(program.home().join("edge.toml"), run.stdout).expect("the profile is written");
    let run = program.run(["profile", "diff", "edge-156-windows", "edge.toml"]);
    assert_eq!((run.code, run.text().as_str()), (0, ""), "{run}");
}

#[test]
fn the_list_marks_derived_profiles() {
    let run = rungs(["profile", "list"]);
    for line in run.text().lines() {
        let is_captured = line.starts_with("plain ") || line.starts_with("chrome-");
        assert_eq!(line.ends_with("(derived)"), !is_captured, "{line}");
    }
}
