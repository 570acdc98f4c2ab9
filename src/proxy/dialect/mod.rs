//! Proxy dialects: one provider's way of writing session and place into credentials, as data.
//! `profiles/proxies/README.md` tells every key.

mod alphabet;
mod encode;
mod lint;
mod prefix;
mod render;
mod request;
mod schema;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rand::RngExt;
use schemars::Schema;

use self::encode::{SessionIdFormat, ValueEncoder};
use self::prefix::Prefix;
use self::schema::{CredentialField, DialectFile, Parameter};
use super::Proxy;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;

pub use self::request::{CredentialRequest, GeoTarget};
pub use self::schema::GatewayRotation;

/// One provider's way of writing session and place into credentials.
///
/// ```
/// use rungs::{Ask, Dialect, Secret};
///
/// let dialect = Dialect::find("smartproxy", None)?;
/// assert_eq!(dialect.name(), "decodo");
/// let ask = Ask::new("jane", Secret::new("s3cret")).session(dialect.session(&mut rand::rng()));
/// assert!(dialect.render(&ask)?.credentials().is_some());
/// # Ok::<(), rungs::Error>(())
/// ```
#[derive(Clone)]
pub struct Dialect {
    file: DialectFile,
    encoders: BTreeMap<Parameter, ValueEncoder>,
    prefixes: BTreeMap<Parameter, Prefix>,
    session_ids: Option<SessionIdFormat>,
}

impl Dialect {
    /// The dialects shipped inside this build, by name.
    ///
    /// # Panics
    /// Never: a test reads each of them.
    pub fn shipped() -> impl Iterator<Item = Arc<Self>> {
        SHIPPED_DIALECTS.iter().map(Arc::clone)
    }

    /// The dialect called `name`: the one in the file of that name when it [is a file's](Self::is_file),
    /// else the one of `folder` (`NAME.toml`), else the shipped one, by its name or an alias of it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] listing the names there are, or naming the file, the line and the key that
    /// is wrong.
    pub fn find(name: &str, folder: Option<&Path>) -> Result<Arc<Self>> {
        if Self::is_file(name) {
            return Self::from_file(Path::new(name)).map(Arc::new);
        }
        let own = folder.map(|folder| folder.join(format!("{name}.toml"))).filter(|path| path.is_file());
        if let Some(path) = own {
            return Self::from_file(&path).map(Arc::new);
        }
        if let Some(found) = Self::shipped().find(|dialect| dialect.has_name(name)) {
            return Ok(found);
        }
        let others = folder.map(Self::load_folder).transpose()?.unwrap_or_default();
        let found = others.iter().find(|dialect| dialect.has_name(name)).map(Arc::clone);
        found.ok_or_else(|| unknown_dialect_error(name, &others))
    }

    /// The shipped dialects and those of `folder`, sorted by name; one of the folder takes the place of
    /// the shipped one of its name.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the folder, or the file, the line and the key that is wrong.
    pub fn list(folder: Option<&Path>) -> Result<Vec<Arc<Self>>> {
        let mut all: BTreeMap<String, Arc<Self>> =
            Self::shipped().map(|dialect| (dialect.name().to_owned(), dialect)).collect();
        for own in folder.map(Self::load_folder).transpose()?.unwrap_or_default() {
            all.insert(own.name().to_owned(), own);
        }
        Ok(all.into_values().collect())
    }

    /// Whether `name` is a file's: it ends in `.toml`, or holds a `/`.
    #[must_use]
    pub fn is_file(name: &str) -> bool {
        Path::new(name).extension().is_some_and(|extension| extension == "toml") || name.contains('/')
    }

    /// Reads a dialect from TOML text; `origin` names it in errors.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming `origin`, the line and the key, all that are wrong.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self> {
        let faults = lint::lint(text, origin);
        if !faults.is_empty() {
            return Err(config_error(faults.join("\n")));
        }
        let written: DialectFile = toml::from_str(text)
            .map_err(|cause| config_error(crate::toml_file::format_parse_error(text, origin, &cause)))?;
        Self::new(written).map_err(|what| config_error(format!("{origin}: {what}")))
    }

    /// Reads a dialect from a file. Its `name` is the file's stem.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the file cannot be read or is wrong.
    pub fn from_file(path: &Path) -> Result<Self> {
        let origin = path.display().to_string();
        let dialect = Self::from_toml(&read_file(path)?, &origin)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if dialect.name() != stem {
            let name = dialect.name();
            return Err(config_error(format!("{origin}: the name is `{name}`, and the file's is `{stem}`"))
                .with_hint("a dialect is found by its file's name: make them equal"));
        }
        Ok(dialect)
    }

    /// The text of the shipped dialect called `name`, comments included, or of `template`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] listing the names there are.
    pub fn shipped_text(name: &str) -> Result<&'static str> {
        if name == "template" {
            return Ok(TEMPLATE);
        }
        let known = Self::shipped()
            .find(|dialect| dialect.has_name(name))
            .ok_or_else(|| unknown_dialect_error(name, &[]))?;
        let text = SHIPPED.iter().find(|(other, _)| *other == known.name()).map(|(_, text)| *text);
        text.ok_or_else(|| unknown_dialect_error(name, &[]))
    }

    /// Everything that is wrong with a dialect's text, each in one line that names `origin`, the line and
    /// the key. Nothing when it is good.
    #[must_use]
    pub fn lint(text: &str, origin: &str) -> Vec<String> {
        lint::lint(text, origin)
    }

    /// The JSON Schema of a dialect's file, for editors (taplo, Even Better TOML).
    #[must_use]
    pub fn schema() -> Schema {
        schemars::schema_for!(DialectFile)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.file.name
    }

    /// Its other names.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.file.aliases.iter().map(String::as_str)
    }

    /// The provider's name.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.file.title
    }

    /// When a request without a session gets another exit.
    #[must_use]
    pub const fn rotation(&self) -> GatewayRotation {
        self.file.rotation
    }

    /// The provider's gateway, without credentials; `None` when each account has its own.
    #[must_use]
    pub fn gateway(&self) -> Option<Proxy> {
        let gateway = self.file.gateway.as_ref()?;
        let host = gateway.host.trim_matches(['[', ']']).to_ascii_lowercase();
        Some(Proxy { scheme: gateway.scheme.into(), host, port: gateway.port, credentials: None })
    }

    /// What it can ask for: `country`, `state`, `city`, `zip`, `asn`, `isp`, `session`, `ttl`.
    pub fn parameters(&self) -> impl Iterator<Item = &'static str> {
        Parameter::ALL.into_iter().filter(|wish| self.file.supports(*wish)).map(Parameter::name)
    }

    /// Whether it has sessions.
    #[must_use]
    pub const fn has_sessions(&self) -> bool {
        self.session_ids.is_some()
    }

    /// Which half of the credentials carries the wishes: `user` or `password`.
    #[must_use]
    pub const fn credential_field(&self) -> &'static str {
        match self.file.credentials.place {
            CredentialField::User => "user",
            CredentialField::Password => "password",
        }
    }

    /// The shortest and the longest length of a session, where one can be asked for.
    #[must_use]
    pub fn ttl_range(&self) -> Option<(Duration, Duration)> {
        self.file.ttl.as_ref().map(|ttl| (ttl.min.0, ttl.max.0))
    }

    /// After how long without a request the provider forgets a session, where that is known.
    #[must_use]
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.file.session.as_ref()?.idle.map(|span| span.0)
    }

    /// Where the dialect is known from, and when it was last looked at.
    #[must_use]
    pub fn source(&self) -> (&str, &str) {
        (&self.file.provenance.source, &self.file.provenance.seen)
    }

    /// The keys whose values are not the provider's own word; `*` for all.
    pub fn third_party(&self) -> impl Iterator<Item = &str> {
        self.file.provenance.third_party.iter().map(String::as_str)
    }

    /// What else is worth knowing of the provider.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.file.provenance.note.as_deref()
    }

    /// A new session's id, in the dialect's letters: of 64 random bits, or as many as its length allows.
    /// The same from an `rng` of the same seed. Empty where the dialect has no sessions.
    #[must_use]
    pub fn generate_session_id(&self, rng: &mut impl rand::Rng) -> String {
        let Some(ids) = &self.session_ids else { return String::new() };
        let mut length = ids.min;
        while length < ids.max && entropy_bits(ids, length) < ENOUGH_BITS {
            length += 1;
        }
        (0..length)
            .map(|at| if at == 0 { &ids.first_alphabet } else { &ids.alphabet })
            .map(|letters| letters.nth(rng.random_range(0..letters.count())))
            .collect()
    }

    fn new(written: DialectFile) -> Result<Self, String> {
        let mut spellers = BTreeMap::new();
        let mut prefixes = BTreeMap::new();
        for wish in Parameter::ALL {
            let Some(part) = written.parameter_format(wish) else { continue };
            spellers.insert(wish, ValueEncoder::new(part)?);
            prefixes.insert(wish, part.prefix.parse()?);
        }
        let ids = written.session.as_ref().map(SessionIdFormat::new).transpose()?;
        Ok(Self { file: written, encoders: spellers, prefixes, session_ids: ids })
    }

    fn has_name(&self, name: &str) -> bool {
        self.name() == name || self.aliases().any(|alias| alias == name)
    }

    /// Every `*.toml` of a folder, sorted by file name.
    fn load_folder(folder: &Path) -> Result<Vec<Arc<Self>>> {
        let unreadable = |cause: std::io::Error| {
            config_error(format!("could not read the folder of proxy dialects {}", folder.display()))
                .with_source(cause)
        };
        let mut paths: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                paths.push(path);
            }
        }
        paths.sort();
        paths.iter().map(|path| Self::from_file(path).map(Arc::new)).collect()
    }
}

impl fmt::Debug for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialect").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// The random bits of an id of so many letters, rounded down.
fn entropy_bits(ids: &SessionIdFormat, length: usize) -> f64 {
    let letter = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX)).log2();
    let others = u32::try_from(length.saturating_sub(1)).unwrap_or(u32::MAX);
    letter(ids.first_alphabet.count()) + f64::from(others) * letter(ids.alphabet.count())
}

/// Reads a file, up to a bound no sane one comes near.
fn read_file(path: &Path) -> Result<String> {
    let unreadable = |cause: std::io::Error| {
        config_error(format!("could not read the proxy dialect {}", path.display())).with_source(cause)
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE {
        return Err(config_error(format!("{}: larger than {MAX_FILE} bytes", path.display())));
    }
    Ok(text)
}

fn unknown_dialect_error(name: &str, others: &[Arc<Dialect>]) -> Error {
    let shipped: Vec<Arc<Dialect>> = Dialect::shipped().collect();
    let names: Vec<&str> = shipped.iter().chain(others).map(|dialect| dialect.name()).collect();
    let near = names
        .iter()
        .map(|known| (strsim::damerau_levenshtein(known, name), *known))
        .min()
        .filter(|(distance, _)| *distance <= 1 + name.len() / 4);
    let near = near.map(|(_, known)| format!("; did you mean `{known}`?")).unwrap_or_default();
    config_error(format!("there is no proxy dialect `{}`{near}", name.escape_debug()))
        .with_hint(format!("there are: {}; a file is named with its .toml", names.join(", ")))
}

fn config_error(what: String) -> Error {
    Error::new(ErrorKind::Config, what)
}

/// As many random bits as a session's id has where the dialect allows it: nobody guesses it, and no two meet.
const ENOUGH_BITS: f64 = 64.0;
const MAX_FILE: u64 = 256 * 1024;

static SHIPPED_DIALECTS: LazyLock<Vec<Arc<Dialect>>> = LazyLock::new(|| {
    let read = |(name, text): &(&str, &str)| {
        let origin = format!("profiles/proxies/{name}.toml");
        Arc::new(Dialect::from_toml(text, &origin).expect("a test reads every shipped dialect"))
    };
    SHIPPED.iter().map(read).collect()
});

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../profiles/proxies/", $name, ".toml")))),*]
    };
}

const SHIPPED: &[(&str, &str)] = shipped![
    "brightdata",
    "dataimpulse",
    "decodo",
    "geonode",
    "iproyal",
    "netnut",
    "oxylabs",
    "plain",
    "soax",
    "thordata",
    "webshare",
];

/// What a dialect of one's own starts from.
const TEMPLATE: &str = include_str!("../../../profiles/proxies/template.toml");

#[cfg(test)]
mod tests;
