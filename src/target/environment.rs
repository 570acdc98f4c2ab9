//! The environment variables rungs reads, each one a constant, and the settings they stand for.

use toml::{Table, Value};

use super::file;
use super::layer::Origin;
use super::settings::Settings;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;

/// The config file. Default: `rungs/config.toml` in the user's folder for configuration.
pub const CONFIG: &str = "RUNGS_CONFIG";
/// The folder of the user's own targets. Default: `rungs/targets` in the user's folder for
/// configuration.
pub const TARGETS: &str = "RUNGS_TARGETS";
/// The folder of the user's own proxy dialects. Default: `rungs/proxies` in the user's folder for
/// configuration.
pub const DIALECTS: &str = "RUNGS_DIALECTS";
/// The file of the program's host memory. Default: `rungs/memory.sqlite` in the user's folder for data.
pub const MEMORY: &str = "RUNGS_MEMORY";
/// The cheapest tier: `tiers.min`.
pub const MIN_TIER: &str = "RUNGS_MIN_TIER";
/// The dearest tier: `tiers.max`.
pub const MAX_TIER: &str = "RUNGS_MAX_TIER";
/// The browser profile to wear: `browser_profile`.
pub const BROWSER_PROFILE: &str = "RUNGS_BROWSER_PROFILE";
/// `obey` or `ignore` robots.txt: `robots`.
pub const ROBOTS: &str = "RUNGS_ROBOTS";
/// The most requests to a host in a time, as in `2/s`: `pace.rate`.
pub const RATE: &str = "RUNGS_RATE";
/// The most requests to a host at once: `pace.concurrency`.
pub const HOST_CONCURRENCY: &str = "RUNGS_HOST_CONCURRENCY";
/// The most repeats on a tier: `retry.times`.
pub const RETRY: &str = "RUNGS_RETRY";
/// The most time for a whole fetch, as in `30s`: `timeouts.total`.
pub const TIMEOUT: &str = "RUNGS_TIMEOUT";
/// The most time for TCP and the proxy's answer, as in `5s`: `timeouts.connect`.
pub const CONNECT_TIMEOUT: &str = "RUNGS_CONNECT_TIMEOUT";
/// The largest body, as in `10M`: `limits.max_body`.
pub const MAX_SIZE: &str = "RUNGS_MAX_SIZE";
/// The proxy's URL: `proxy.url`.
pub const PROXY: &str = "RUNGS_PROXY";
/// The file that lists proxies: `proxy.pool`.
pub const PROXIES: &str = "RUNGS_PROXIES";
/// The dialect of a proxy provider's account: `proxy.dialect`.
pub const DIALECT: &str = "RUNGS_DIALECT";
/// The user of the account, or of proxies whose URL has none: `proxy.user`.
pub const PROXY_USER: &str = "RUNGS_PROXY_USER";
/// The password that goes with it: `proxy.password`.
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

/// The layers that the environment makes, read through `variable`. One that is empty is not set.
pub(super) fn layers(variable: impl Fn(&str) -> Option<String>) -> Result<Vec<(Table, Origin)>> {
    let mut layers = Vec::new();
    for known in &VARIABLES {
        let Some(said) = variable(known.name).filter(|said| !said.is_empty()) else { continue };
        let value = if known.is_number { said.parse().map(Value::Integer).ok() } else { None };
        let table = nest(known.key, value.unwrap_or(Value::String(said)));
        check(&table, known.name)?;
        layers.push((table, Origin::Environment(known.name)));
    }
    Ok(layers)
}

/// `value` under `key`, alone in its tables.
pub(super) fn nest(key: &[&str], value: Value) -> Table {
    let mut table = Table::new();
    if let Some((first, rest)) = key.split_first() {
        let inner = if rest.is_empty() { value } else { Value::Table(nest(rest, value)) };
        table.insert((*first).to_owned(), inner);
    }
    table
}

/// Whether `table`, set by the variable or flag `name`, can be a layer.
pub(super) fn check(table: &Table, name: &str) -> Result<()> {
    let wrong = |message: &str| {
        let message = message.lines().collect::<Vec<_>>().join(" ");
        Error::new(ErrorKind::Config, format!("{name}: {message}"))
    };
    let settings: Settings =
        table.clone().try_into().map_err(|cause: toml::de::Error| wrong(cause.message()))?;
    file::check_values(&settings).first().map_or(Ok(()), |fault| Err(wrong(&fault.message)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::schema::KEYS;

    #[test]
    fn every_variable_sets_a_key_that_there_is() {
        for known in &VARIABLES {
            let key = known.key.join(".");
            assert!(KEYS.all().contains(&key), "{} sets `{key}`", known.name);
        }
    }

    #[test]
    fn a_variable_with_a_wrong_value_is_named() {
        for (name, value) in [(MIN_TIER, "sky"), (RATE, "often"), (RETRY, "twice"), (HOST_CONCURRENCY, "0")] {
            let error = layers(|asked| (asked == name).then(|| value.to_owned())).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Config, "{name}");
            assert!(error.to_string().starts_with(&format!("{name}: ")), "{error}");
        }
        assert!(layers(|asked| (asked == RATE).then(String::new)).unwrap().is_empty());
    }
}
