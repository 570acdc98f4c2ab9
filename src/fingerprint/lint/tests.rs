use std::path::PathBuf;

use super::*;

/// The date for which the fixtures were written, with the browser installed then.
fn test_policy() -> AgePolicy {
    let today = Date::parse("2026-11-21").unwrap();
    AgePolicy { today, installed_major: Some(156), max_weeks: AgePolicy::DEFAULT_MAX_WEEKS }
}

fn fixtures() -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/profiles");
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    all.sort();
    all
}

/// The diagnostics of a profile, in the form in which a fixture lists them.
fn lint_lines(name: &str, text: &str) -> Vec<String> {
    match Profile::from_toml(text, name) {
        Ok(profile) => lint(&profile, &test_policy()).iter().map(|c| format!("# expect: {c}")).collect(),
        Err(error) => vec![format!("# error: {}", error.chain())],
    }
}

#[test]
fn each_invalid_profile_has_the_diagnostics_listed_in_its_first_lines() {
    let mut ids = std::collections::BTreeSet::new();
    for (name, text) in fixtures() {
        let expected: Vec<&str> = text.lines().take_while(|line| line.starts_with("# ")).collect();
        let actual = lint_lines(&name, &text);
        let actual = if actual.is_empty() { vec!["# expect: nothing".to_owned()] } else { actual };
        // An error of the parser may go on to list the allowed values.
        let same = actual.iter().zip(&expected).all(|(actual, expected)| {
            actual == expected || (actual.starts_with("# error: ") && actual.starts_with(expected))
        });
        assert!(same && actual.len() == expected.len(), "{name}: {actual:#?} is not {expected:#?}");
        ids.extend(actual.iter().filter_map(|line| line.split(' ').nth(3).map(str::to_owned)));
    }
    assert!(ids.len() > 25, "the fixtures cover too few rules: {ids:?}");
}

#[test]
fn the_shipped_profiles_are_clean() {
    for profile in Profile::shipped() {
        assert_eq!(lint(&profile, &test_policy()), [], "{}", profile.name);
    }
}

#[test]
fn a_profile_ages_by_browser_version_and_by_weeks() {
    let profile = Profile::named("chrome-156-linux").unwrap();
    let ids = |installed, today: &str, weeks| -> Vec<&str> {
        let today = Date::parse(today).unwrap();
        lint(&profile, &AgePolicy { today, installed_major: installed, max_weeks: weeks })
            .iter()
            .map(|c| c.id)
            .collect()
    };
    assert!(ids(None, "2026-11-21", 26).is_empty());
    assert!(ids(Some(158), "2026-11-21", 26).is_empty());
    assert_eq!(ids(Some(159), "2026-11-21", 26), ["expired"]);
    assert!(ids(Some(156), "2027-05-22", 26).is_empty());
    assert_eq!(ids(Some(156), "2027-05-29", 26), ["expired"]);
    assert_eq!(ids(Some(200), "2026-12-12", 2), ["expired", "expired"]);
}

#[test]
fn a_client_that_is_not_a_browser_does_not_age() {
    let plain = Profile::named("plain").unwrap();
    let today = Date::parse("2036-11-21").unwrap();
    assert_eq!(lint(&plain, &AgePolicy { today, installed_major: Some(300), max_weeks: 1 }), []);
}

#[test]
fn errors_come_before_warnings() {
    let mut profile = Profile::clone(&Profile::named("chrome-156-linux").unwrap());
    profile.tls.permute_extensions = false;
    let policy = AgePolicy { installed_major: Some(170), ..test_policy() };
    let severities: Vec<_> = lint(&profile, &policy).iter().map(|c| c.severity).collect();
    assert_eq!(severities, [Severity::Error, Severity::Warning]);
}
