//! Times resolving the settings for a URL, by the number of targets.

use std::hint::black_box;
use std::path::PathBuf;

use criterion::{BatchSize, BenchmarkId, Criterion};
use pure_bench::Processor;
use rungs::target::Targets;

/// A temporary folder with `count` targets.
struct Folder(PathBuf);

impl Folder {
    fn with_targets(count: usize) -> Self {
        let path = std::env::temp_dir().join(format!("rungs-bench-targets-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the folder can be created");
        for at in 0..count {
            let host = if at % 2 == 0 { "www" } else { "*" };
            let text = format!(
                "schema = 1\n[match]\nhosts = [\"{host}.site{at}.example\"]\npaths = [\"/list/\", \"/item/\"]\n\
                 [pace]\nrate = \"2/s\"\n[expect]\ncss = \"#content\"\n"
            );
            std::fs::write(path.join(format!("site{at}.toml")), text).expect("a file can be written");
        }
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn resolve(criterion: &mut Criterion<Processor>) {
    let mut group = criterion.benchmark_group("target");
    for count in [0, 100, 1_000] {
        let folder = Folder::with_targets(count);
        let targets = Targets::shipped().with_folder(&folder.0).expect("the targets are valid");
        let (last, shipped) = (count.saturating_sub(1), "https://en.wikipedia.org/wiki/Ladder");
        let own = format!("https://www.site{last}.example/list/2");
        let known = rungs::parse_url(if count == 0 { shipped } else { &own }).expect("it is a URL");
        let other = rungs::parse_url("https://www.other.example/list/2").expect("it is a URL");
        let found = |url| targets.resolve(url).expect("no two targets tie").target().map(ToOwned::to_owned);
        assert_eq!((found(&known).is_some(), found(&other)), (true, None));
        let id = |name: &str| BenchmarkId::new(name, format!("{count} of one's own"));
        group.bench_function(id("a URL with a target"), |bencher| {
            bencher.iter(|| targets.resolve(black_box(&known)))
        });
        group.bench_function(id("a URL without"), |bencher| {
            bencher.iter(|| targets.resolve(black_box(&other)))
        });
    }
    let url = rungs::parse_url("https://en.wikipedia.org/wiki/Ladder").expect("it is a URL");
    // Adding a layer clears the cache of resolved settings.
    let fresh = || {
        let rate = "3/s".parse().expect("a rate");
        Targets::shipped()
            .with_flag("--rate", |settings| settings.pace.rate = Some(rate))
            .expect("the value is valid for the key")
    };
    group.bench_function("the layers of a target, the first time", |bencher| {
        bencher.iter_batched(fresh, |targets| targets.resolve(&url), BatchSize::SmallInput);
    });
    let resolved = fresh().resolve(&url).expect("no two targets tie");
    group.bench_function("every value with its layer", |bencher| bencher.iter(|| resolved.list_settings()));
}
