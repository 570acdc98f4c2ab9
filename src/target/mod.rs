//! Targets: one site's settings as data, merged from layers.
//!
//! Layers, lowest first: defaults, the config file, the shipped targets (`profiles/targets`), the
//! user's own folder, a file named on the command line, the environment (`RUNGS_*`), flags. From each
//! set of targets, the most specific one for the URL is used; a tie is an error. Scalars and lists
//! replace lower values, tables merge by key. Every value records the layer that set it.

mod defaults;
pub mod environment;
mod file;
mod layer;
mod pattern;
mod resolved;
mod schema;
mod settings;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use toml::Table;
use url::Url;

use self::file::{FileRole, TargetFile};
use self::layer::MergedSettings;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::os::sync::lock_unpoisoned;
use crate::text::redact;

pub use self::layer::Origin;
pub use self::pattern::Match;
pub use self::resolved::{ResolvedSetting, ResolvedTarget};
pub use self::schema::schema;
pub use self::settings::{
    BrowserSettings, BudgetSettings, ExpectSettings, LimitSettings, PaceSettings, ProxyFallback,
    ProxySettings, RequestSettings, RetrySettings, RobotsPolicy, SCHEMA, Settings, TierSettings,
    TimeoutSettings,
};
pub use crate::settings::units::{ByteSize, HumanDuration, Rate};

/// All targets, with the layers below and above them. Cheap to share, not to clone.
///
/// ```
/// let targets = rungs::target::Targets::shipped();
/// let found = targets.resolve(&"https://books.toscrape.com/".parse().expect("a URL"))?;
/// assert_eq!(found.target(), Some("books-toscrape"));
/// # Ok::<(), rungs::Error>(())
/// ```
#[derive(Clone)]
pub struct Targets {
    lower_layers: Vec<(Table, Origin)>,
    /// Sets of targets, lowest first. The most specific target of each set is used.
    sets: Vec<Vec<Target>>,
    upper_layers: Vec<(Table, Origin)>,
    /// Earlier results, by the selected targets.
    cache: Arc<Mutex<ResolveCache>>,
}

/// Results by the index of the selected target in each set.
type ResolveCache = HashMap<Vec<Option<usize>>, Arc<ResolvedTarget>>;

/// One target.
#[derive(Clone)]
pub struct Target {
    name: String,
    origin: Origin,
    matches: Match,
    table: Table,
}

impl Target {
    /// The name: the file name without `.toml`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The layer that the target comes from.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The URLs that the target applies to.
    #[must_use]
    pub const fn matches(&self) -> &Match {
        &self.matches
    }
}

impl Targets {
    /// Creates the defaults and the shipped targets.
    ///
    /// # Panics
    /// Never: a test parses every shipped target.
    #[must_use]
    pub fn shipped() -> Self {
        let read = |(name, text): &(&str, &str)| {
            let read = file::parse(text, &format!("profiles/targets/{name}.toml"), FileRole::Target)
                .expect("a test parses every shipped target");
            Target::new((*name).to_owned(), Origin::Shipped((*name).to_owned()), read)
        };
        Self::from_sets(vec![SHIPPED.iter().map(read).collect()])
    }

    /// Creates the defaults without any target.
    #[must_use]
    pub fn without_targets() -> Self {
        Self::from_sets(Vec::new())
    }

    fn from_sets(sets: Vec<Vec<Target>>) -> Self {
        Self {
            lower_layers: vec![(defaults::table(), Origin::Default)],
            sets,
            upper_layers: Vec::new(),
            cache: Arc::default(),
        }
    }

    /// Loads the settings of the program: the shipped targets, the config file and the user's targets if they exist,
    /// and the environment.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the invalid file, line and key, the invalid variable, or the missing file or folder
    /// that a variable names.
    pub fn from_user_config() -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok();
        let user_path = |name: &str, file: &str| match std::env::var_os(name).filter(|path| !path.is_empty())
        {
            Some(path) => Some(PathBuf::from(path)),
            None => config_folder().map(|folder| folder.join(file)).filter(|path| path.exists()),
        };
        let mut targets = Self::shipped();
        if let Some(path) = user_path(environment::CONFIG, "config.toml") {
            targets = targets.with_config(&path)?;
        }
        if let Some(path) = user_path(environment::TARGETS, "targets") {
            targets = targets.with_folder(&path)?;
        }
        targets.with_environment(variable)
    }

    /// Adds a config file below the targets.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the file, the line and the key.
    pub fn with_config(mut self, path: &Path) -> Result<Self> {
        let read = file::load(path, FileRole::Config)?;
        self.lower_layers.push((read.table, Origin::Config(path.to_owned())));
        Ok(self.with_empty_cache())
    }

    /// Adds every `*.toml` of a folder above the current targets.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the folder, or the file, the line and the key.
    pub fn with_folder(mut self, folder: &Path) -> Result<Self> {
        let unreadable = |cause: std::io::Error| {
            let message = format!("could not read the folder of targets {}", folder.display());
            Error::new(ErrorKind::Config, message).with_source(cause)
        };
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                paths.push(path);
            }
        }
        paths.sort();
        let set = paths.iter().map(|path| Target::load(path)).collect::<Result<_>>()?;
        self.sets.push(set);
        Ok(self.with_empty_cache())
    }

    /// Adds the file of one target above the current targets.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the file, the line and the key.
    pub fn with_file(mut self, path: &Path) -> Result<Self> {
        self.sets.push(vec![Target::load(path)?]);
        Ok(self.with_empty_cache())
    }

    /// Adds the environment above the targets, read through `variable`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the invalid variable.
    pub fn with_environment(mut self, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        self.upper_layers.extend(environment::layers(variable)?);
        Ok(self.with_empty_cache())
    }

    /// Adds a layer above all others: `set` sets the keys that the flag `flag` stands for.
    ///
    /// ```
    /// use rungs::target::Targets;
    ///
    /// let targets = Targets::shipped().with_flag("--retry", |settings| settings.retry.times = Some(1))?;
    /// assert_eq!(targets.resolve_default()?.settings().retry.times, Some(1));
    /// # Ok::<(), rungs::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the flag if a value is not valid for its key.
    pub fn with_flag(mut self, flag: &str, set: impl FnOnce(&mut Settings)) -> Result<Self> {
        let mut settings = Settings::default();
        set(&mut settings);
        self.upper_layers.push((environment::to_table(&settings, flag)?, Origin::Flag(flag.to_owned())));
        Ok(self.with_empty_cache())
    }

    /// Returns all targets, those of the highest set last.
    pub fn list(&self) -> impl Iterator<Item = &Target> {
        self.sets.iter().flatten()
    }

    /// Returns the names of the fields that any layer or target extracts, sorted, without duplicates.
    pub(crate) fn field_names(&self) -> Vec<String> {
        let layers = self.lower_layers.iter().chain(&self.upper_layers).map(|(table, _)| table);
        let tables = layers.chain(self.list().map(|target| &target.table));
        let keys = tables.filter_map(|table| table.get("extract")?.as_table()).flat_map(Table::keys);
        let names: BTreeSet<&str> = keys.map(|name| name.trim_end_matches("[]")).collect();
        names.into_iter().map(ToOwned::to_owned).collect()
    }

    /// Returns the settings of a URL that no target matches.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if values of two layers contradict each other.
    pub fn resolve_default(&self) -> Result<Arc<ResolvedTarget>> {
        self.resolve_chosen(vec![None; self.sets.len()])
    }

    /// Returns the settings of `url`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if two targets of one set are equally specific for it, or if values of two layers
    /// contradict each other.
    pub fn resolve(&self, url: &Url) -> Result<Arc<ResolvedTarget>> {
        let mut chosen = Vec::with_capacity(self.sets.len());
        for set in &self.sets {
            let all = set.iter().map(|target| &target.matches).enumerate();
            chosen.push(pattern::most_specific(all, url).map_err(|(a, b)| tie_error(&set[a], &set[b], url))?);
        }
        self.resolve_chosen(chosen)
    }

    /// Returns the settings of the target called `name`, whichever URLs it matches.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if there is no such target, or if values of two layers contradict each other.
    pub fn resolve_named(&self, name: &str) -> Result<Arc<ResolvedTarget>> {
        let at = |set: &Vec<Target>| set.iter().position(|target| target.name == name);
        let chosen: Vec<Option<usize>> = self.sets.iter().map(at).collect();
        if chosen.iter().all(Option::is_none) {
            let message = format!("there is no target called `{}`", name.escape_debug());
            return Err(Error::new(ErrorKind::Config, message)
                .with_hint("run `rungs target list` for the known targets"));
        }
        self.resolve_chosen(chosen)
    }

    fn resolve_chosen(&self, chosen: Vec<Option<usize>>) -> Result<Arc<ResolvedTarget>> {
        let cached = |cache: &ResolveCache| cache.get(&chosen).map(Arc::clone);
        if let Some(resolved) = cached(&lock_unpoisoned(&self.cache)) {
            return Ok(resolved);
        }
        let resolved = Arc::new(self.merge(&chosen)?);
        let mut cache = lock_unpoisoned(&self.cache);
        Ok(Arc::clone(cache.entry(chosen).or_insert(resolved)))
    }

    fn merge(&self, chosen: &[Option<usize>]) -> Result<ResolvedTarget> {
        let mut merged = MergedSettings::default();
        let targets: Vec<&Target> =
            self.sets.iter().zip(chosen).filter_map(|(set, at)| at.map(|at| &set[at])).collect();
        for (table, origin) in &self.lower_layers {
            merged.merge(table, origin);
        }
        for target in &targets {
            merged.merge(&target.table, &target.origin);
        }
        for (table, origin) in &self.upper_layers {
            merged.merge(table, origin);
        }
        ResolvedTarget::new(merged, &targets)
    }

    /// Clears the cache after a layer was added.
    fn with_empty_cache(mut self) -> Self {
        self.cache = Arc::default();
        self
    }
}

impl Target {
    fn new(name: String, origin: Origin, read: TargetFile) -> Self {
        let TargetFile { table, matches } = read;
        Self { name, origin, matches: matches.unwrap_or_default(), table }
    }

    fn load(path: &Path) -> Result<Self> {
        let read = file::load(path, FileRole::Target)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self::new(name, Origin::File(path.to_owned()), read))
    }
}

/// Returns all mistakes in a target's text, each as one line with `origin`, line and key. Empty if there are none.
#[must_use]
pub fn lint(text: &str, origin: &str) -> Vec<String> {
    file::lint(text, origin, FileRole::Target)
}

/// Returns the user's configuration folder: `$XDG_CONFIG_HOME/rungs`, or `~/.config/rungs`.
#[must_use]
pub fn config_folder() -> Option<PathBuf> {
    use etcetera::BaseStrategy;
    Some(etcetera::choose_base_strategy().ok()?.config_dir().join("rungs"))
}

/// Returns the folder of the user's own proxy dialects: `$RUNGS_DIALECTS`, or `proxies` in the
/// [configuration folder](config_folder) if it exists.
#[must_use]
pub fn dialect_folder() -> Option<PathBuf> {
    match std::env::var_os(environment::DIALECTS).filter(|path| !path.is_empty()) {
        Some(path) => Some(PathBuf::from(path)),
        None => config_folder().map(|folder| folder.join("proxies")).filter(|path| path.is_dir()),
    }
}

fn tie_error(first: &Target, second: &Target, url: &Url) -> Error {
    let message = format!(
        "two targets are equally specific for {}: {} and {}",
        redact::url(url),
        first.origin,
        second.origin
    );
    Error::new(ErrorKind::Config, message).with_hint("narrow `match.hosts` or `match.paths` of one of them")
}

impl fmt::Debug for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Targets").field("targets", &self.list().count()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("name", &self.name)
            .field("matches", &self.matches)
            .finish_non_exhaustive()
    }
}

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../profiles/targets/", $name, ".toml")))),*]
    };
}

/// The shipped targets, by name.
const SHIPPED: &[(&str, &str)] = shipped![
    "books-toscrape",
    "httpbin",
    "quotes-toscrape",
    "scrape-this-site",
    "webscraper-test-sites",
    "wikipedia",
];

#[cfg(test)]
mod tests;
