//! The recorded responses in fixtures/ with their expected verdicts. Used by `make corpus` and by the tests.

use std::path::{Path, PathBuf};

use rungs::detect::{ResponseView, Rules, recorded};
use rungs::{Tier, Verdict, VerdictKind};
use serde::Deserialize;
use url::Url;

/// One recorded response and its expected verdict.
pub(crate) struct Sample {
    pub(crate) path: PathBuf,
    pub(crate) answer: recorded::RecordedResponse,
    pub(crate) kind: VerdictKind,
    pub(crate) vendor: Option<String>,
    pub(crate) url: Url,
    requested: Url,
    via_proxy: bool,
    tier: Option<Tier>,
}

impl Sample {
    pub(crate) fn view(&self) -> ResponseView<'_> {
        ResponseView {
            tier: self.tier,
            requested: &self.requested,
            via_proxy: self.via_proxy,
            ..self.answer.view(&self.url)
        }
    }

    pub(crate) fn classify(&self, rules: &Rules) -> Verdict {
        rules.classify(&self.view())
    }

    pub(crate) fn is_block(&self) -> bool {
        self.kind != VerdictKind::Genuine
    }
}

/// Every `*.http` in `fixtures/blocks/*/` and in `fixtures/pages/`, sorted by name.
pub(crate) fn samples(fixtures: &Path) -> Vec<Sample> {
    let mut all: Vec<Sample> =
        sorted(&fixtures.join("blocks")).iter().flat_map(|folder| folder_samples(folder, None)).collect();
    all.extend(folder_samples(&fixtures.join("pages"), Some(VerdictKind::Genuine)));
    all
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    #[serde(default)]
    answer: Vec<Expected>,
}

/// How one file was requested, and its expected verdict. A page that is not listed is genuine.
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

/// Every `*.http` in a folder. `unnamed` is the kind of those that its `expect.toml` does not name; it must name all
/// without.
pub(crate) fn folder_samples(folder: &Path, unnamed: Option<VerdictKind>) -> Vec<Sample> {
    let path = folder.join("expect.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let named =
        toml::from_str::<Expect>(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())).answer;
    let files: Vec<PathBuf> =
        sorted(folder).into_iter().filter(|path| path.extension().is_some_and(|e| e == "http")).collect();
    for expected in &named {
        let (folder, file) = (folder.display(), &expected.file);
        assert!(files.iter().any(|path| path.ends_with(file)), "{folder} has no {file}");
    }
    files.into_iter().map(|path| sample(path, &named, unnamed)).collect()
}

fn sample(path: PathBuf, named: &[Expected], unnamed: Option<VerdictKind>) -> Sample {
    let name = path.display();
    let expected = named.iter().find(|expected| path.ends_with(&expected.file));
    let kind = expected.map(|e| e.kind).or(unnamed).unwrap_or_else(|| panic!("{name} is not in expect.toml"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let answer = recorded::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    let answered = expected.and_then(|e| e.url.as_deref()).unwrap_or("https://site.example/p/1");
    let requested = expected.and_then(|e| e.requested.as_deref()).unwrap_or(answered);
    let url = |text: &str| Url::parse(text).unwrap_or_else(|error| panic!("{name}: {text}: {error}"));
    Sample {
        answer,
        kind,
        vendor: expected.and_then(|e| e.vendor.clone()),
        url: url(answered),
        requested: url(requested),
        via_proxy: expected.is_some_and(|e| e.via_proxy),
        tier: expected.and_then(|e| e.tier),
        path,
    }
}

fn sorted(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap_or_else(|error| panic!("{error}")).path()).collect();
    paths.sort();
    paths
}
