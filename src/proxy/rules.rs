//! The rules that select a proxy for a URL.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use url::Url;

use super::{NoProxy, Proxy};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::text::hex;
use crate::text::redact::Secret;

/// Selects the proxy for a URL: one for http, one for https, none for the no-proxy hosts. All requests to a site over
/// one scheme use the same proxy. Default: direct connections.
///
/// ```
/// let rules = rungs::ProxyRules::through("http://gate.example:7000".parse()?).no_proxy("intranet.example");
/// let proxy = |url: &str| rules.proxy(&url.parse().unwrap()).map(ToString::to_string);
/// assert_eq!(proxy("https://shop.example/").as_deref(), Some("http://gate.example:7000"));
/// assert_eq!(proxy("https://www.intranet.example/"), None);
/// # Ok::<(), rungs::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProxyRules {
    http: Option<Proxy>,
    https: Option<Proxy>,
    no_proxy: NoProxy,
}

impl ProxyRules {
    /// Rules that use `proxy` for every URL.
    #[must_use]
    pub fn through(proxy: Proxy) -> Self {
        Self { http: Some(proxy.clone()), https: Some(proxy), no_proxy: NoProxy::default() }
    }

    /// Replaces the no-proxy list: hosts that are connected to directly. See [`NoProxy::new`].
    #[must_use]
    pub fn no_proxy(mut self, list: &str) -> Self {
        self.no_proxy = NoProxy::new(list);
        self
    }

    /// Replaces the no-proxy list.
    #[must_use]
    pub(crate) fn with_no_proxy(mut self, no_proxy: NoProxy) -> Self {
        self.no_proxy = no_proxy;
        self
    }

    /// Reads the rules from the environment, as curl does: `http_proxy`, `https_proxy` or `HTTPS_PROXY`, for both
    /// `all_proxy` or `ALL_PROXY`, and `no_proxy` or `NO_PROXY`. `HTTP_PROXY` is ignored, because a web server sets
    /// it from a request header. The lower-case name takes precedence. An empty variable counts as not set.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the variable that is not a proxy URL.
    pub fn from_env() -> Result<Self> {
        let read = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self::from_variables(&read)
    }

    /// Returns the no-proxy list of the environment.
    #[must_use]
    pub fn no_proxy_from_env() -> Option<String> {
        let read = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        first_set(&read, &NO_PROXY).map(|(_, list)| list)
    }

    fn from_variables(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let proxy = |names: &[&'static str]| -> Result<Option<Proxy>> {
            let Some((name, text)) = first_set(variable, names).or_else(|| first_set(variable, &ALL_PROXY))
            else {
                return Ok(None);
            };
            text.parse::<Proxy>().map(Some).map_err(|error| {
                let hint = error.hint().map(ToOwned::to_owned).unwrap_or_default();
                let message = format!("the environment variable {name} is not a proxy URL");
                Error::new(ErrorKind::Config, message).with_source(error).with_hint(hint)
            })
        };
        let no_proxy =
            first_set(variable, &NO_PROXY).map(|(_, list)| NoProxy::new(&list)).unwrap_or_default();
        Ok(Self { http: proxy(&HTTP_PROXY)?, https: proxy(&HTTPS_PROXY)?, no_proxy })
    }

    /// Sets these credentials on every proxy that has none.
    #[must_use]
    pub fn or_credentials(mut self, user: &str, password: &Secret) -> Self {
        for proxy in [&mut self.http, &mut self.https] {
            *proxy = proxy.take().map(|proxy| proxy.or_credentials(user, password.clone()));
        }
        self
    }

    /// Sends the credentials of all HTTP proxies as Digest authentication.
    #[must_use]
    pub fn with_digest(mut self) -> Self {
        for proxy in [&mut self.http, &mut self.https] {
            *proxy = proxy.take().map(Proxy::with_digest);
        }
        self
    }

    /// Returns the proxy for `url`; `None` for a direct connection.
    #[must_use]
    pub fn proxy(&self, url: &Url) -> Option<&Proxy> {
        self.proxy_to(url.scheme() == "https", url.host_str().unwrap_or_default())
    }

    /// Returns the proxy for a host, over https or http.
    pub(crate) fn proxy_to(&self, tls: bool, host: &str) -> Option<&Proxy> {
        let proxy = if tls { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.no_proxy.covers(host))
    }

    /// Returns an identifier of these rules, `direct` without a proxy. It covers the credentials, because a session in
    /// a proxy's user name selects another exit address. It does not reveal them: testing one guess takes some
    /// thousand hashes.
    pub(crate) fn id(&self) -> String {
        if self.is_direct() {
            return "direct".to_owned();
        }
        let mut text = String::new();
        for proxy in [&self.http, &self.https] {
            let Some(proxy) = proxy else {
                text.push('-');
                continue;
            };
            let (user, password) =
                proxy.credentials().map_or(("", ""), |(user, password)| (user, password.expose()));
            let parts = (proxy.scheme().name(), proxy.host(), proxy.port(), user, password);
            // Debug quotes strings, so two different lists of parts never give the same text.
            let _ = write!(text, "{parts:?}");
        }
        let _ = write!(text, "{:?}", self.no_proxy);
        let mut hash = Sha256::digest(text.as_bytes());
        for _ in 0..HASH_ROUNDS {
            hash = Sha256::digest(hash);
        }
        hex::encode(&hash[..16])
    }

    /// Whether no URL goes through a proxy.
    #[must_use]
    pub const fn is_direct(&self) -> bool {
        self.http.is_none() && self.https.is_none()
    }
}

impl From<Option<Proxy>> for ProxyRules {
    fn from(proxy: Option<Proxy>) -> Self {
        proxy.map(Self::through).unwrap_or_default()
    }
}

/// The first of these variables that is set, with its name.
fn first_set(
    variable: &dyn Fn(&str) -> Option<String>,
    names: &[&'static str],
) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| Some((*name, variable(name).filter(|value| !value.is_empty())?)))
}

/// The number of extra hash rounds of [`ProxyRules::id`].
const HASH_ROUNDS: u32 = 4096;
const HTTP_PROXY: [&str; 1] = ["http_proxy"];
const HTTPS_PROXY: [&str; 2] = ["https_proxy", "HTTPS_PROXY"];
const ALL_PROXY: [&str; 2] = ["all_proxy", "ALL_PROXY"];
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<ProxyRules> {
        let find = |name: &str| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        };
        ProxyRules::from_variables(&find)
    }

    #[test]
    fn the_environment_is_read_as_by_curl() {
        for (variables, url, proxy) in [
            (vec![("http_proxy", "a:1")], "http://s.example/", Some("http://a:1")),
            (vec![("http_proxy", "a:1")], "https://s.example/", None),
            (vec![("HTTP_PROXY", "a:1")], "http://s.example/", None),
            (vec![("HTTPS_PROXY", "a:1")], "https://s.example/", Some("http://a:1")),
            (vec![("HTTPS_PROXY", "a:1"), ("https_proxy", "b:1")], "https://s.example/", Some("http://b:1")),
            (vec![("ALL_PROXY", "socks5h://a:1")], "http://s.example/", Some("socks5h://a:1")),
            (vec![("ALL_PROXY", "a:1"), ("http_proxy", "b:1")], "http://s.example/", Some("http://b:1")),
            (vec![("ALL_PROXY", "a:1"), ("http_proxy", "")], "http://s.example/", Some("http://a:1")),
            (vec![("all_proxy", "a:1"), ("NO_PROXY", "s.example")], "http://s.example/", None),
            (
                vec![("all_proxy", "a:1"), ("no_proxy", "t"), ("NO_PROXY", "*")],
                "http://s/",
                Some("http://a:1"),
            ),
            (vec![], "http://s.example/", None),
        ] {
            let rules = read(&variables).unwrap();
            let got = rules.proxy(&url.parse().unwrap()).map(ToString::to_string);
            assert_eq!(got.as_deref(), proxy, "{variables:?} {url}");
        }
    }

    #[test]
    fn different_rules_have_different_ids_without_credentials() {
        let ids: Vec<String> =
            ["http://a:1", "http://u:hunter2@a:1", "http://u-session-2:hunter2@a:1", "socks5://a:1"]
                .iter()
                .map(|text| ProxyRules::through(text.parse().unwrap()).id())
                .chain([
                    ProxyRules::default().id(),
                    ProxyRules::through("http://a:1".parse().unwrap()).no_proxy("b").id(),
                ])
                .collect();
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[..at].contains(id), "{ids:?}");
            assert!(!id.contains("hunter2"));
        }
        assert_eq!(ids[0], ProxyRules::through("http://a:1".parse().unwrap()).id());
        assert_eq!(ProxyRules::default().no_proxy("b").id(), "direct", "there is no proxy to bypass");
    }

    #[test]
    fn a_wrong_variable_is_named_and_its_password_is_not() {
        let error = read(&[("HTTPS_PROXY", "gopher://u:hunter2@a:1")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.chain().contains("HTTPS_PROXY") && !error.chain().contains("hunter2"));
    }
}
