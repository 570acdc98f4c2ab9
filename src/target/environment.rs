//! The environment variables that rungs reads, and the settings that they set.

use toml::{Table, Value};

use super::file;
use super::layer::Origin;
use super::settings::Settings;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;

/// The config file. Default: `rungs/config.toml` in the user's configuration folder.
pub const CONFIG: &str = "RUNGS_CONFIG";
/// The folder of the user's own targets. Default: `rungs/targets` in the user's configuration folder.
pub const TARGETS: &str = "RUNGS_TARGETS";
/// The folder of the user's own proxy dialects. Default: `rungs/proxies` in the user's configuration folder.
pub const DIALECTS: &str = "RUNGS_DIALECTS";
/// The file of the program's host memory. Default: `rungs/memory.sqlite` in the user's data folder.
pub const MEMORY: &str = "RUNGS_MEMORY";
/// The cheapest tier: `tiers.min`.
pub const MIN_TIER: &str = "RUNGS_MIN_TIER";
/// The most expensive tier: `tiers.max`.
pub const MAX_TIER: &str = "RUNGS_MAX_TIER";
/// The browser profile to use: `browser_profile`.
pub const BROWSER_PROFILE: &str = "RUNGS_BROWSER_PROFILE";
/// Whether to `obey` or `ignore` robots.txt: `robots`.
pub const ROBOTS: &str = "RUNGS_ROBOTS";
/// The maximum request rate per host, for example `2/s`: `pace.rate`.
pub const RATE: &str = "RUNGS_RATE";
/// The maximum number of concurrent requests per host: `pace.concurrency`.
pub const HOST_CONCURRENCY: &str = "RUNGS_HOST_CONCURRENCY";
/// The maximum number of retries on a tier: `retry.times`.
pub const RETRY: &str = "RUNGS_RETRY";
/// The timeout of a whole fetch, for example `30s`: `timeouts.total`.
pub const TIMEOUT: &str = "RUNGS_TIMEOUT";
/// The timeout for TCP and the proxy's response, for example `5s`: `timeouts.connect`.
pub const CONNECT_TIMEOUT: &str = "RUNGS_CONNECT_TIMEOUT";
/// The maximum body size, for example `10M`: `limits.max_body`.
pub const MAX_SIZE: &str = "RUNGS_MAX_SIZE";
/// The URL of the proxy: `proxy.url`.
pub const PROXY: &str = "RUNGS_PROXY";
/// The file that lists proxies: `proxy.pool`.
pub const PROXIES: &str = "RUNGS_PROXIES";
/// The dialect of a proxy provider's account: `proxy.dialect`.
pub const DIALECT: &str = "RUNGS_DIALECT";
/// The user name of the account, or of proxies whose URL has none: `proxy.user`.
pub const PROXY_USER: &str = "RUNGS_PROXY_USER";
/// The password that belongs to the user name: `proxy.password`.
pub const PROXY_PASSWORD: &str = "RUNGS_PROXY_PASSWORD";

/// A variable that sets one key.
struct Variable {
    name: &'static str,
    key: &'static [&'static str],
    is_number: bool,
}

const VARIABLES: [Variable; 15] = [
    text_variable(MIN_TIER, &["tiers", "min"]),
    text_variable(MAX_TIER, &["tiers", "max"]),
    text_variable(BROWSER_PROFILE, &["browser_profile"]),
    text_variable(ROBOTS, &["robots"]),
    text_variable(RATE, &["pace", "rate"]),
    number_variable(HOST_CONCURRENCY, &["pace", "concurrency"]),
    number_variable(RETRY, &["retry", "times"]),
    text_variable(TIMEOUT, &["timeouts", "total"]),
    text_variable(CONNECT_TIMEOUT, &["timeouts", "connect"]),
    text_variable(MAX_SIZE, &["limits", "max_body"]),
    text_variable(PROXY, &["proxy", "url"]),
    text_variable(PROXIES, &["proxy", "pool"]),
    text_variable(DIALECT, &["proxy", "dialect"]),
    text_variable(PROXY_USER, &["proxy", "user"]),
    text_variable(PROXY_PASSWORD, &["proxy", "password"]),
];

const fn text_variable(name: &'static str, key: &'static [&'static str]) -> Variable {
    Variable { name, key, is_number: false }
}

const fn number_variable(name: &'static str, key: &'static [&'static str]) -> Variable {
    Variable { name, key, is_number: true }
}

/// Returns one layer for each variable that is set, read through `variable`. An empty variable counts as not set.
pub(super) fn layers(variable: impl Fn(&str) -> Option<String>) -> Result<Vec<(Table, Origin)>> {
    let mut layers = Vec::new();
    for entry in &VARIABLES {
        let Some(text) = variable(entry.name).filter(|text| !text.is_empty()) else { continue };
        let value = if entry.is_number { text.parse().map(Value::Integer).ok() } else { None };
        let table = nest(entry.key, value.unwrap_or(Value::String(text)));
        check(&table, entry.name)?;
        layers.push((table, Origin::Environment(entry.name)));
    }
    Ok(layers)
}

/// Returns a table that has only `value`, at `key`.
fn nest(key: &[&str], value: Value) -> Table {
    let mut table = Table::new();
    if let Some((first, rest)) = key.split_first() {
        let inner = if rest.is_empty() { value } else { Value::Table(nest(rest, value)) };
        table.insert((*first).to_owned(), inner);
    }
    table
}

/// Checks a layer that the variable `name` sets.
fn check(table: &Table, name: &str) -> Result<()> {
    let settings: Settings =
        table.clone().try_into().map_err(|cause: toml::de::Error| invalid(name, cause.message()))?;
    check_settings(&settings, name)
}

/// Returns the layer that the flag `name` sets, checked.
pub(super) fn to_table(settings: &Settings, name: &str) -> Result<Table> {
    check_settings(settings, name)?;
    Table::try_from(settings).map_err(|cause| invalid(name, &cause.to_string()))
}

fn check_settings(settings: &Settings, name: &str) -> Result<()> {
    file::check_values(settings).first().map_or(Ok(()), |error| Err(invalid(name, &error.message)))
}

fn invalid(name: &str, message: &str) -> Error {
    let message = message.lines().collect::<Vec<_>>().join(" ");
    Error::new(ErrorKind::Config, format!("{name}: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::schema::KEYS;

    #[test]
    fn every_variable_sets_a_known_key() {
        for entry in &VARIABLES {
            let key = entry.key.join(".");
            assert!(KEYS.all().contains(&key), "{} sets `{key}`", entry.name);
        }
    }

    #[test]
    fn a_variable_with_an_invalid_value_is_named_in_the_error() {
        for (name, value) in [(MIN_TIER, "sky"), (RATE, "often"), (RETRY, "twice"), (HOST_CONCURRENCY, "0")] {
            let error = layers(|variable| (variable == name).then(|| value.to_owned())).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Config, "{name}");
            assert!(error.to_string().starts_with(&format!("{name}: ")), "{error}");
        }
        assert!(layers(|variable| (variable == RATE).then(String::new)).unwrap().is_empty());
    }
}
