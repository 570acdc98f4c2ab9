use std::fs;
use std::time::Duration;

use super::*;
use crate::exchange::tier::Tier;
use crate::settings::budget::Budget;
use crate::settings::retry::RetryPolicy;

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn every_shipped_target_parses_and_matches_its_site() {
    for (name, text) in SHIPPED {
        assert_eq!(lint(text, name), Vec::<String>::new());
    }
    let targets = Targets::shipped();
    for target in targets.list() {
        let host = target.matches.hosts[0].replace("*.", "en.");
        let path = target.matches.paths.first().map_or("/", String::as_str);
        let found = targets.resolve(&url(&format!("https://{host}{path}"))).unwrap();
        assert_eq!(found.target(), Some(target.name()));
    }
    let other = targets.resolve(&url("https://other.example/")).unwrap();
    assert_eq!(other.target(), None);
    assert_eq!(other.settings().tiers.min, Some(Tier::Plain));
}

#[test]
fn shipped_targets_are_the_files_of_the_folder() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/targets");
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".toml").map(str::to_owned))
        .collect();
    names.sort();
    assert_eq!(names, SHIPPED.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
}

#[test]
fn a_later_layer_wins_and_every_value_records_its_layer() {
    let own = folder(&[
        (
            "shop.toml",
            "schema = 1\n[match]\nhosts = [\"shop.example\"]\n[tiers]\nmin = \"impersonate\"\n\
             [request.headers]\nX-Own = \"1\"\naccept-language = \"de\"\n[pace]\nrate = \"1/s\"\n",
        ),
        ("wide.toml", "schema = 1\n[match]\nhosts = [\"*\"]\n[retry]\ntimes = 9\n"),
    ]);
    let config = own.path().join("config");
    fs::write(
        &config,
        "schema = 1\n[retry]\ntimes = 5\n[request.headers]\naccept-language = \"fr\"\nx-all = \"2\"\n",
    )
    .unwrap();
    let targets = Targets::shipped()
        .with_config(&config)
        .unwrap()
        .with_folder(own.path())
        .unwrap()
        .with_environment(|name| match name {
            environment::RATE => Some("5/s".to_owned()),
            environment::MAX_TIER => Some("browser".to_owned()),
            _ => None,
        })
        .unwrap()
        .with_flag("--max-tier", |settings| settings.tiers.max = Some(Tier::Impersonate))
        .unwrap();
    let found = targets.resolve(&url("https://shop.example/p/1")).unwrap();
    assert_eq!(found.target(), Some("shop"));
    let settings = found.settings();
    assert_eq!(settings.pace.rate.unwrap().to_string(), "5/s");
    assert_eq!(settings.retry.times, Some(5));
    let headers: Vec<_> = settings.request.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(headers, [("accept-language", "de"), ("x-all", "2"), ("x-own", "1")]);
    let shown: HashMap<_, _> = found
        .list_settings()
        .into_iter()
        .map(|shown| (shown.key, (shown.value, shown.origin.to_string())))
        .collect();
    let own_file = format!("target {}", own.path().join("shop.toml").display());
    let config = format!("config file {}", config.display());
    for (key, value, origin) in [
        ("tiers.max", "\"impersonate\"", "flag --max-tier"),
        ("tiers.min", "\"impersonate\"", own_file.as_str()),
        ("pace.rate", "\"5/s\"", "environment RUNGS_RATE"),
        ("retry.times", "5", config.as_str()),
        ("timeouts.tls", "\"5s\"", "default"),
        ("request.headers.x-all", "\"***\"", config.as_str()),
    ] {
        assert_eq!(shown[key], (value.to_owned(), origin.to_owned()), "{key}");
    }
    let other = targets.resolve(&url("https://other.example/")).unwrap();
    assert_eq!((other.target(), other.settings().retry.times), (Some("wide"), Some(9)));
}

#[test]
fn retry_policy_and_budget_come_from_the_layers_or_the_defaults() {
    let text = "schema = 1\n[match]\nhosts = [\"a.example\"]\n[retry]\nbackoff = \"1s\"\nmax_wait = \"2m\"\n\
        [budget]\nattempts = 3\nbytes = \"5M\"\n";
    let own = folder(&[("a.toml", text)]);
    let targets = Targets::without_targets().with_file(&own.path().join("a.toml")).unwrap();
    let settings = |at: &str| targets.resolve(&url(at)).unwrap().settings().clone();
    let (set, unset) = (settings("https://a.example/"), settings("https://b.example/"));
    let (backoff, max_wait) = (Duration::from_secs(1), Duration::from_secs(120));
    assert_eq!(set.retry_policy(), RetryPolicy { backoff, max_wait, ..RetryPolicy::default() });
    assert_eq!(set.budget(), Budget { attempts: 3, bytes: Some(5 << 20), ..Budget::default() });
    assert_eq!((unset.retry_policy(), unset.budget()), (RetryPolicy::default(), Budget::default()));
    assert_eq!(Settings::default().budget(), Budget::default());
}

#[test]
fn two_targets_that_tie_are_an_error_that_names_both() {
    let text = "schema = 1\n[match]\nhosts = [\"a.example\"]\n";
    let own = folder(&[("one.toml", text), ("two.toml", text)]);
    let targets = Targets::shipped().with_folder(own.path()).unwrap();
    let error = targets.resolve(&url("https://user:pass@a.example/")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let message = error.to_string();
    assert!(
        message.contains("one.toml") && message.contains("two.toml") && !message.contains("pass"),
        "{message}"
    );
    assert!(targets.resolve(&url("https://b.example/")).is_ok());
}

#[test]
fn layers_that_contradict_each_other_are_an_error_that_names_both() {
    let targets = Targets::without_targets()
        .with_flag("--max-tier", |settings| settings.tiers.max = Some(Tier::Plain))
        .unwrap()
        .with_environment(|name| (name == environment::MIN_TIER).then(|| "browser".to_owned()))
        .unwrap();
    let message = targets.resolve(&url("https://a.example/")).unwrap_err().to_string();
    assert!(message.contains("RUNGS_MIN_TIER") && message.contains("--max-tier"), "{message}");
}

#[test]
fn secrets_are_never_shown() {
    let text = "schema = 1\n[match]\nhosts = [\"a.example\"]\n[request.cookies]\nsid = \"hunter2\"\n\
        [request.headers]\nAuthorization = \"hunter2\"\n[proxy]\nurl = \"http://u:hunter2@gate.example:1\"\n";
    let own = folder(&[("a.toml", text)]);
    let targets = Targets::without_targets().with_file(&own.path().join("a.toml")).unwrap();
    let found = targets.resolve(&url("https://a.example/")).unwrap();
    assert_eq!(found.settings().request.cookies["sid"], "hunter2");
    let printed = format!("{targets:?} {found:?} {:?} {:?}", found.settings(), found.list_settings());
    assert!(!printed.contains("hunter2"), "{printed}");
}

#[test]
fn the_old_name_of_no_proxy_is_an_alias() {
    let text = |keys: &str| {
        format!(
            "schema = 1\n[match]\nhosts = [\"a.example\"]\n[proxy]\nurl = \"http://gate.example:1\"\n{keys}"
        )
    };
    let no_proxy = |targets: &Targets| {
        let resolved = targets.resolve(&url("https://a.example/")).unwrap();
        let shown = resolved.list_settings().into_iter().map(|setting| setting.key);
        let keys: Vec<_> = shown.filter(|key| key.starts_with("proxy.") && key != "proxy.url").collect();
        assert_eq!(keys, ["proxy.no_proxy"]);
        resolved.settings().proxy.no_proxy.clone()
    };
    for key in ["around", "no_proxy"] {
        let below = text(&format!("{key} = \"one.example\"\n"));
        assert_eq!(lint(&below, "FILE"), Vec::<String>::new(), "{key}");
        let own = folder(&[("a.toml", below.as_str())]);
        let targets = Targets::without_targets().with_file(&own.path().join("a.toml")).unwrap();
        assert_eq!(no_proxy(&targets).as_deref(), Some("one.example"), "{key}");
        // A higher layer overrides it, whichever name each of them uses.
        let set = |settings: &mut Settings| settings.proxy.no_proxy = Some("two.example".to_owned());
        let flagged = targets.clone().with_flag("--noproxy", set).unwrap();
        assert_eq!(no_proxy(&flagged).as_deref(), Some("two.example"), "{key}");
        for upper in ["around", "no_proxy"] {
            let above = text(&format!("{upper} = \"two.example\"\n"));
            let own = folder(&[("b.toml", above.as_str())]);
            let targets = targets.clone().with_file(&own.path().join("b.toml")).unwrap();
            assert_eq!(no_proxy(&targets).as_deref(), Some("two.example"), "{key} {upper}");
        }
    }
    let both = lint(&text("around = \"a\"\nno_proxy = \"b\"\n"), "FILE");
    assert!(both.len() == 1 && both[0].contains("duplicate field `no_proxy`"), "{both:?}");
}

/// Each file begins with its expected messages as comments.
#[test]
fn every_invalid_target_gives_the_message_written_in_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/targets");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let expected: Vec<_> = text.lines().map_while(|line| line.strip_prefix("# says: ")).collect();
        assert!(!expected.is_empty(), "{} has no expected message", path.display());
        assert_eq!(lint(&text, "FILE"), expected, "{}", path.display());
        count += 1;
    }
    assert!(count >= 12, "only {count} files");
}

#[test]
fn the_published_schema_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/target.schema.json");
    let published = fs::read_to_string(&path).unwrap();
    let current = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    assert!(published == current, "run: rungs generate target-schema > profiles/target.schema.json");
}
