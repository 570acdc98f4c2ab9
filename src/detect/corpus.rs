//! Every saved answer in `fixtures/` is judged as the `expect.toml` beside it says.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use url::Url;

use super::{Rules, Seen, saved};
use crate::tier::Tier;
use crate::verdict::VerdictKind;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    #[serde(default)]
    answer: Vec<Expected>,
}

/// How one file was got, and what it is. A page that is not named is a genuine one.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    file: String,
    kind: VerdictKind,
    vendor: Option<String>,
    url: Option<String>,
    requested: Option<String>,
    #[serde(default)]
    via_proxy: bool,
    tier: Option<Tier>,
}

fn url(text: Option<&String>) -> Url {
    Url::parse(text.map_or("https://site.example/p/1", String::as_str)).unwrap()
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn sorted(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn expectations(folder: &Path) -> Vec<Expected> {
    let path = folder.join("expect.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    toml::from_str::<Expect>(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())).answer
}

/// Every answer of a folder with what is expected of it.
fn answers(folder: &Path, unnamed: Option<VerdictKind>) -> Vec<(PathBuf, Expected)> {
    let named = expectations(folder);
    let files: Vec<PathBuf> =
        sorted(folder).into_iter().filter(|path| path.extension().is_some_and(|e| e == "http")).collect();
    for expected in &named {
        assert!(
            files.contains(&folder.join(&expected.file)),
            "{} has no {}",
            folder.display(),
            expected.file
        );
    }
    let find = |path: &Path| named.iter().find(|e| path.ends_with(&e.file)).cloned();
    files
        .into_iter()
        .map(|path| {
            let expected = find(&path).unwrap_or_else(|| Expected {
                file: String::new(),
                kind: unnamed.unwrap_or_else(|| panic!("{} is not in its expect.toml", path.display())),
                vendor: None,
                url: None,
                requested: None,
                via_proxy: false,
                tier: None,
            });
            (path, expected)
        })
        .collect()
}

/// What differs, one line a file.
fn mismatches(answers: &[(PathBuf, Expected)]) -> String {
    let rules = Rules::shipped();
    let mut out = String::new();
    for (path, expected) in answers {
        let saved = saved::parse(&std::fs::read(path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let answered = url(expected.url.as_ref());
        let requested = url(expected.requested.as_ref().or(expected.url.as_ref()));
        let verdict = rules.judge(&Seen {
            tier: expected.tier,
            requested: &requested,
            via_proxy: expected.via_proxy,
            ..saved.seen(&answered)
        });
        if (verdict.kind, &verdict.vendor) != (expected.kind, &expected.vendor) {
            let wanted = (expected.kind, expected.vendor.as_deref());
            let _ = writeln!(out, "{}: wanted {wanted:?}, got {verdict:?}", path.display());
        }
        // A page is genuine for want of any rule against it, or for a rule that says so.
        let explained = verdict.evidence.first().is_some_and(|first| !first.rule.is_empty());
        if !verdict.is_genuine() && !explained {
            let _ = writeln!(out, "{}: no evidence", path.display());
        }
    }
    out
}

#[test]
fn every_saved_block_is_judged_with_its_kind_and_vendor() {
    let all: Vec<_> =
        sorted(&fixtures().join("blocks")).iter().flat_map(|folder| answers(folder, None)).collect();
    assert!(all.len() >= 60, "only {} blocks were found", all.len());
    let wrong = mismatches(&all);
    assert!(wrong.is_empty(), "of {} blocks:\n{wrong}", all.len());
}

#[test]
fn no_saved_page_is_called_a_block() {
    let all = answers(&fixtures().join("pages"), Some(VerdictKind::Genuine));
    assert!(all.len() >= 80, "only {} pages were found", all.len());
    let wrong = mismatches(&all);
    assert!(wrong.is_empty(), "of {} pages:\n{wrong}", all.len());
}

#[test]
fn every_vendor_with_rules_has_a_saved_block() {
    let folders = sorted(&fixtures().join("blocks"));
    for rule in Rules::shipped().list() {
        let file = rule.id.split('/').next().unwrap_or_default();
        assert!(folders.iter().any(|folder| folder.ends_with(file)), "no fixtures/blocks/{file}/");
    }
}

#[test]
fn cut_and_garbled_answers_are_judged_without_a_panic() {
    let rules = Rules::shipped();
    let url = url(None);
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        // xorshift: the same bytes in every run.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 33).unwrap() % below.max(1)
    };
    for folder in sorted(&fixtures().join("blocks")) {
        for (path, _) in answers(&folder, None) {
            let bytes = std::fs::read(path).unwrap();
            for _ in 0..8 {
                let mut garbled = bytes[..random(bytes.len())].to_vec();
                for _ in 0..random(20) {
                    let at = random(garbled.len());
                    if let Some(byte) = garbled.get_mut(at) {
                        *byte = u8::try_from(random(256)).unwrap();
                    }
                }
                if let Ok(saved) = saved::parse(&garbled) {
                    let verdict = rules.judge(&saved.seen(&url));
                    assert!((0.0..=1.0).contains(&verdict.confidence));
                }
            }
        }
    }
}
