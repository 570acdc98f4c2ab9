//! The set of shipped and user rules.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use super::compiled::{CompiledRules, StructureSwitch};
use super::content_kind::ContentKind;
use super::rule::{self, Rule, RuleInfo, rule_error};
use super::structure::{StructuralDetector, StructureExplanation};
use super::{Expectation, NearRule, ResponseView, classify};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::verdict::{Verdict, VerdictKind};

/// Compiled block rules. Cheap to clone.
#[derive(Clone)]
pub struct Rules(pub(super) Arc<CompiledRules>);

impl Rules {
    /// Returns the rules shipped with this build. They are compiled once.
    #[must_use]
    pub fn shipped() -> Self {
        static COMPILED: LazyLock<Rules> = LazyLock::new(|| {
            let rules = shipped_rules().expect("a test reads every shipped rule");
            Rules::compile(rules, StructureSwitch::default()).expect("a test compiles the shipped rules")
        });
        COMPILED.clone()
    }

    /// Returns the shipped rules and those of a user's folder (every `*.toml` in it).
    ///
    /// A rule id is `file/rule`: the file's `name` and the rule's `id`. A rule with a shipped id replaces the shipped
    /// rule. A rule with a new id is added. `off = ["rule"]` disables shipped rules of the file's `name`. Two files
    /// of the folder must not define the same rule. Subfolders are not read. A file with `name = "structure"` and
    /// `off = ["geo"]` disables verdicts of this kind by the structural detector; `_` in a kind's name is `-` there.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the folder or a file cannot be read. [`ErrorKind::Profile`], naming the file, the line
    /// and the key, if a rule is invalid.
    pub fn with_dir(dir: &Path) -> Result<Self> {
        let mut rules = shipped_rules()?;
        let mut structure = StructureSwitch::default();
        let mut own: Vec<Rule> = Vec::new();
        for path in toml_files(dir)? {
            let text = read_file(&path)?;
            let origin = path.display().to_string();
            let file = rule::parse_file(&text, &origin)?;
            for id in &file.disabled {
                disable_rule(&mut rules, &mut structure, id, &origin)?;
            }
            for rule in file.rules {
                if let Some(first) = own.iter().find(|first| first.info.id == rule.info.id) {
                    let (id, first) = (&rule.info.id, &first.info.origin);
                    return Err(rule_error(format!(
                        "{origin}: the rule `{id}` is already defined in {first}"
                    )));
                }
                own.push(rule);
            }
        }
        merge_rules(own, &mut rules);
        Self::compile(rules, structure)
    }

    /// Returns only the rules of one file's text. `origin` names it in errors.
    ///
    /// # Errors
    /// [`ErrorKind::Profile`], naming the position, if the text is not a valid rule file.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self> {
        let file = rule::parse_file(text, origin)?;
        match file.disabled.first() {
            Some(id) => Err(rule_error(format!("{origin}: `off`: there is no rule `{id}`"))),
            None => Self::compile(file.rules, StructureSwitch::Off),
        }
    }

    /// Returns these rules and those of another file's text. Its rules replace those with the same id, and its `off`
    /// disables rules.
    ///
    /// # Errors
    /// [`ErrorKind::Profile`], naming the position, if the text is not a valid rule file.
    pub fn and_toml(&self, text: &str, origin: &str) -> Result<Self> {
        let file = rule::parse_file(text, origin)?;
        let (mut rules, mut structure) = (self.0.rules.clone(), self.0.structure.clone());
        for id in &file.disabled {
            disable_rule(&mut rules, &mut structure, id, origin)?;
        }
        merge_rules(file.rules, &mut rules);
        Self::compile(rules, structure)
    }

    /// Classifies a response.
    ///
    /// The strongest rule that fires determines kind and vendor. The evidence names every rule that fired, strongest
    /// first. Reads at most [`PREFIX`](super::PREFIX) bytes of the body.
    #[must_use]
    pub fn classify(&self, view: &ResponseView<'_>) -> Verdict {
        classify::classify(&self.0, view)
    }

    /// Classifies a response without parsing HTML. Returns `None` if a remaining rule needs an element, or the
    /// structural detector must read a large page. Then call
    /// [`classify`](Self::classify) outside of async threads.
    #[must_use]
    pub fn classify_cheap(&self, view: &ResponseView<'_>) -> Option<Verdict> {
        classify::classify_cheap(&self.0, view)
    }

    /// Classifies a response, and checks the requirements on its target's pages. A 200 that no rule classifies as a
    /// block, but that misses a requirement, is a [`VerdictKind::Stub`].
    #[must_use]
    pub fn classify_with_expectation(&self, view: &ResponseView<'_>, expectation: &Expectation) -> Verdict {
        let verdict = self.classify(view);
        if verdict.kind != VerdictKind::Genuine {
            return verdict;
        }
        expectation.check(view).unwrap_or(verdict)
    }

    /// Returns the rules of which all conditions hold but one, the most confident first, at most 10. Slow: every rule is
    /// evaluated on the parsed page.
    #[must_use]
    pub fn near_rules(&self, view: &ResponseView<'_>) -> Vec<NearRule> {
        classify::near_rules(&self.0, view)
    }

    /// Returns what the structural detector sees in a response, whatever the rules say.
    #[must_use]
    pub fn explain_structure(&self, view: &ResponseView<'_>) -> StructureExplanation {
        StructuralDetector::shipped().explain(view, ContentKind::from_response(view.headers, view.body))
    }

    /// Returns every rule, in the order of the files.
    pub fn list(&self) -> impl Iterator<Item = &RuleInfo> {
        self.0.rules.iter().map(|rule| &rule.info)
    }

    fn compile(rules: Vec<Rule>, structure: StructureSwitch) -> Result<Self> {
        CompiledRules::new(rules, structure).map(|compiled| Self(Arc::new(compiled)))
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("rules", &self.0.rules.len()).finish_non_exhaustive()
    }
}

fn shipped_rules() -> Result<Vec<Rule>> {
    let mut rules = Vec::new();
    for (name, text) in SHIPPED {
        rules.extend(rule::parse_file(text, name)?.rules);
    }
    Ok(rules)
}

fn toml_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|cause| read_error(dir, cause))? {
        let path = entry.map_err(|cause| read_error(dir, cause))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a file of rules up to a limit that no valid file reaches.
fn read_file(path: &Path) -> Result<String> {
    let file = std::fs::File::open(path).map_err(|cause| read_error(path, cause))?;
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|cause| read_error(path, cause))?;
    if text.len() as u64 > MAX_FILE {
        return Err(rule_error(format!("{}: larger than {MAX_FILE} bytes", path.display())));
    }
    Ok(text)
}

/// Replaces the rules with the same ids as `own`, and appends the others.
fn merge_rules(own: Vec<Rule>, rules: &mut Vec<Rule>) {
    for rule in own {
        match rules.iter_mut().find(|known| known.info.id == rule.info.id) {
            Some(known) => *known = rule,
            None => rules.push(rule),
        }
    }
}

/// Disables a shipped rule, or a kind of the structural detector.
fn disable_rule(
    rules: &mut Vec<Rule>,
    structure: &mut StructureSwitch,
    id: &str,
    origin: &str,
) -> Result<()> {
    if structure.disable(id) {
        return Ok(());
    }
    let Some(at) = rules.iter().position(|rule| rule.info.id == id) else {
        return Err(rule_error(format!("{origin}: `off`: there is no shipped rule `{id}`"))
            .with_hint("list the rules with `rungs detect --rules`"));
    };
    rules.remove(at);
    Ok(())
}

fn read_error(path: &Path, cause: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("could not read the block rules {}", path.display())).with_source(cause)
}

const MAX_FILE: u64 = 1024 * 1024;

macro_rules! shipped {
    ($($file:literal),* $(,)?) => {
        &[$((concat!("profiles/blocks/", $file), include_str!(concat!("../../profiles/blocks/", $file)))),*]
    };
}

const SHIPPED: &[(&str, &str)] = shipped![
    "akamai.toml",
    "alibaba.toml",
    "amazon.toml",
    "anubis.toml",
    "arkose.toml",
    "arvancloud.toml",
    "aws-waf.toml",
    "azure.toml",
    "baidu.toml",
    "barracuda.toml",
    "bilibili.toml",
    "bitninja.toml",
    "bunny.toml",
    "cloudflare.toml",
    "cloudfront.toml",
    "crowdsec.toml",
    "datadome.toml",
    "ddos-guard.toml",
    "douban.toml",
    "duckduckgo.toml",
    "ebay.toml",
    "f5.toml",
    "facebook.toml",
    "fastly.toml",
    "fortinet.toml",
    "friendly-captcha.toml",
    "geetest.toml",
    "generic.toml",
    "go-away.toml",
    "google.toml",
    "haproxy-protection.toml",
    "hcaptcha.toml",
    "huawei.toml",
    "human.toml",
    "imperva.toml",
    "imunify360.toml",
    "instagram.toml",
    "jiasule.toml",
    "kasada.toml",
    "linkedin.toml",
    "meituan.toml",
    "mtcaptcha.toml",
    "naver.toml",
    "netacea.toml",
    "proxy.toml",
    "qianxin.toml",
    "qrator.toml",
    "radware.toml",
    "reblaze.toml",
    "reddit.toml",
    "roblox.toml",
    "ruishu.toml",
    "safedog.toml",
    "safeline.toml",
    "servicepipe.toml",
    "shopify.toml",
    "siteground.toml",
    "sophos.toml",
    "stormwall.toml",
    "sucuri.toml",
    "tencent.toml",
    "tiktok.toml",
    "variti.toml",
    "vercel.toml",
    "weibo.toml",
    "wildberries.toml",
    "wordfence.toml",
    "x.toml",
    "xiaohongshu.toml",
    "yandex.toml",
    "youtube.toml",
    "yundun.toml",
    "zhihu.toml",
];
