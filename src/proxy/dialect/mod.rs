//! Proxy dialects: how one provider writes session and location into credentials, as data.
//! `profiles/proxies/README.md` documents every key.

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
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;

pub use self::request::{CredentialRequest, GeoTarget};
pub use self::schema::GatewayRotation;

/// How one provider writes session and location into credentials.
///
/// ```
/// use rungs::{CredentialRequest, Dialect, Secret};
///
/// let dialect = Dialect::find("smartproxy", None)?;
/// assert_eq!(dialect.name(), "decodo");
/// let id = dialect.generate_session_id(&mut rand::rng());
/// let request = CredentialRequest::new("jane", Secret::new("s3cret")).session(id);
/// assert!(dialect.render(&request)?.credentials().is_some());
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
    /// Returns the dialects that are compiled into this build, sorted by name.
    ///
    /// # Panics
    /// Never: a test parses each of them.
    pub fn shipped() -> impl Iterator<Item = Arc<Self>> {
        SHIPPED_DIALECTS.iter().map(Arc::clone)
    }

    /// Returns the dialect called `name`. If `name` [is a file](Self::is_file), reads that file. Otherwise tries
    /// `NAME.toml` in `folder`, then the names and aliases of the shipped dialects, then the aliases in `folder`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] listing the known names, or naming the file, the line and the key that is wrong.
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

    /// Returns the shipped dialects and those of `folder`, sorted by name. A dialect of the folder replaces the shipped
    /// one of the same name.
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

    /// Whether `name` is a file: it ends in `.toml` or contains a `/`.
    #[must_use]
    pub fn is_file(name: &str) -> bool {
        Path::new(name).extension().is_some_and(|extension| extension == "toml") || name.contains('/')
    }

    /// Parses a dialect from TOML text; errors name `origin`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with all mistakes, each with `origin`, line and key.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self> {
        let mistakes = lint::lint(text, origin);
        if !mistakes.is_empty() {
            return Err(config_error(mistakes.join("\n")));
        }
        let file: DialectFile = toml::from_str(text).map_err(|cause| {
            config_error(crate::settings::toml_file::format_parse_error(text, origin, &cause))
        })?;
        Self::new(file).map_err(|message| config_error(format!("{origin}: {message}")))
    }

    /// Reads a dialect from a file. Its `name` must equal the file name without `.toml`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the file cannot be read or is invalid.
    pub fn from_file(path: &Path) -> Result<Self> {
        let origin = path.display().to_string();
        let dialect = Self::from_toml(&read_file(path)?, &origin)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if dialect.name() != stem {
            let name = dialect.name();
            return Err(config_error(format!(
                "{origin}: the name is `{name}`, but the file is `{stem}.toml`"
            ))
            .with_hint("make them equal: a dialect is found by its file name"));
        }
        Ok(dialect)
    }

    /// Returns the text of the shipped dialect called `name`, or of `template`, with comments.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] listing the known names.
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

    /// Returns all mistakes in a dialect's text, each as one line with `origin`, line and key. Empty if there are none.
    #[must_use]
    pub fn lint(text: &str, origin: &str) -> Vec<String> {
        lint::lint(text, origin)
    }

    /// Returns the JSON Schema of a dialect's file, for editors (taplo, Even Better TOML).
    #[must_use]
    pub fn schema() -> Schema {
        schemars::schema_for!(DialectFile)
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.file.name
    }

    /// The other names.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.file.aliases.iter().map(String::as_str)
    }

    /// The provider's name.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.file.title
    }

    /// When a request without a session gets another exit address.
    #[must_use]
    pub const fn rotation(&self) -> GatewayRotation {
        self.file.rotation
    }

    /// The provider's gateway, without credentials; `None` if each account has its own.
    #[must_use]
    pub fn gateway(&self) -> Option<Proxy> {
        let gateway = self.file.gateway.as_ref()?;
        let host = gateway.host.trim_matches(['[', ']']).to_ascii_lowercase();
        Some(Proxy {
            scheme: gateway.scheme.into(),
            host,
            port: gateway.port,
            credentials: None,
            uses_digest: false,
        })
    }

    /// The supported parameters: `country`, `state`, `city`, `zip`, `asn`, `isp`, `session`, `ttl`.
    pub fn parameters(&self) -> impl Iterator<Item = &'static str> {
        Parameter::ALL.into_iter().filter(|parameter| self.file.supports(*parameter)).map(Parameter::name)
    }

    /// Whether the provider has sessions.
    #[must_use]
    pub const fn has_sessions(&self) -> bool {
        self.session_ids.is_some()
    }

    /// The field that carries the parameters: `user` or `password`.
    #[must_use]
    pub const fn credential_field(&self) -> &'static str {
        match self.file.credentials.place {
            CredentialField::User => "user",
            CredentialField::Password => "password",
        }
    }

    /// The minimum and maximum lifetime of a session, if it can be requested.
    #[must_use]
    pub fn ttl_range(&self) -> Option<(Duration, Duration)> {
        self.file.ttl.as_ref().map(|ttl| (ttl.min.0, ttl.max.0))
    }

    /// The time without a request after which the provider ends a session, if known.
    #[must_use]
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.file.session.as_ref()?.idle.map(|span| span.0)
    }

    /// The source of the dialect, and when it was last checked.
    #[must_use]
    pub fn source(&self) -> (&str, &str) {
        (&self.file.provenance.source, &self.file.provenance.seen)
    }

    /// The keys whose values are not documented by the provider; `*` for all.
    pub fn third_party(&self) -> impl Iterator<Item = &str> {
        self.file.provenance.third_party.iter().map(String::as_str)
    }

    /// A note about the provider.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.file.provenance.note.as_deref()
    }

    /// Generates a session id from the dialect's characters, with 64 random bits or as many as its length allows.
    /// An `rng` with the same seed gives the same id. Empty if the dialect has no sessions.
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

    fn new(file: DialectFile) -> Result<Self, String> {
        let mut encoders = BTreeMap::new();
        let mut prefixes = BTreeMap::new();
        for parameter in Parameter::ALL {
            let Some(part) = file.parameter_format(parameter) else { continue };
            encoders.insert(parameter, ValueEncoder::new(part)?);
            prefixes.insert(parameter, part.prefix.parse()?);
        }
        let session_ids = file.session.as_ref().map(SessionIdFormat::new).transpose()?;
        Ok(Self { file, encoders, prefixes, session_ids })
    }

    fn has_name(&self, name: &str) -> bool {
        self.name() == name || self.aliases().any(|alias| alias == name)
    }

    /// Reads every `*.toml` of a folder, sorted by file name.
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

/// Returns the random bits of an id of this length.
fn entropy_bits(ids: &SessionIdFormat, length: usize) -> f64 {
    let letter = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX)).log2();
    let others = u32::try_from(length.saturating_sub(1)).unwrap_or(u32::MAX);
    letter(ids.first_alphabet.count()) + f64::from(others) * letter(ids.alphabet.count())
}

/// Reads a file of at most [`MAX_FILE`] bytes.
fn read_file(path: &Path) -> Result<String> {
    let unreadable = |cause: std::io::Error| {
        config_error(format!("could not read the proxy dialect {}", path.display())).with_source(cause)
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE {
        return Err(config_error(format!("{}: the file is larger than {MAX_FILE} bytes", path.display())));
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
        .with_hint(format!("use one of {}, or a file name that ends in .toml", names.join(", ")))
}

fn config_error(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}

/// The random bits of a session id if the dialect allows them: enough against guessing and collisions.
const ENOUGH_BITS: f64 = 64.0;
const MAX_FILE: u64 = 256 * 1024;

static SHIPPED_DIALECTS: LazyLock<Vec<Arc<Dialect>>> = LazyLock::new(|| {
    let read = |(name, text): &(&str, &str)| {
        let origin = format!("profiles/proxies/{name}.toml");
        Arc::new(Dialect::from_toml(text, &origin).expect("a test parses every shipped dialect"))
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

/// The template for a user's own dialect.
const TEMPLATE: &str = include_str!("../../../profiles/proxies/template.toml");

#[cfg(test)]
mod tests;
