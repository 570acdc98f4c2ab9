//! Proxies: addresses, credentials, and the rules that select a proxy for a URL.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::text::redact::Secret;

mod dialect;
mod list;
mod no_proxy;
mod rules;
pub(crate) mod session;
mod target_error;

pub use self::dialect::{CredentialRequest, Dialect, GatewayRotation, GeoTarget};
pub use self::no_proxy::NoProxy;
pub use self::rules::ProxyRules;

pub(crate) use self::target_error::{is_caused_by, is_target_error, target_error};

/// One proxy server. `Display` and `Debug` never show its credentials.
///
/// ```
/// let proxy: rungs::Proxy = "socks5h://user:pass@gate.example:1080".parse()?;
/// assert_eq!(proxy.to_string(), "socks5h://***@gate.example:1080");
/// # Ok::<(), rungs::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    scheme: ProxyScheme,
    host: String,
    port: u16,
    credentials: Option<(String, Secret)>,
    uses_digest: bool,
}

/// The protocol of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyScheme {
    /// HTTP, with a CONNECT tunnel for https sites. The proxy resolves names.
    Http,
    /// HTTP inside TLS. The proxy resolves names.
    Https,
    /// SOCKS4, with a user but no password. rungs resolves names, to IPv4 addresses.
    Socks4,
    /// SOCKS4a. The proxy resolves names.
    Socks4a,
    /// SOCKS5. rungs resolves names.
    Socks5,
    /// SOCKS5. The proxy resolves names.
    Socks5h,
}

impl ProxyScheme {
    /// The scheme of a proxy URL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks4 => "socks4",
            Self::Socks4a => "socks4a",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }

    /// Whether this is SOCKS, which tunnels every request.
    #[must_use]
    pub const fn is_socks(self) -> bool {
        matches!(self, Self::Socks4 | Self::Socks4a | Self::Socks5 | Self::Socks5h)
    }

    /// Whether this is SOCKS4 or SOCKS4a.
    #[must_use]
    pub const fn is_socks4(self) -> bool {
        matches!(self, Self::Socks4 | Self::Socks4a)
    }

    /// Whether rungs resolves host names, not the proxy.
    #[must_use]
    pub const fn resolves_locally(self) -> bool {
        matches!(self, Self::Socks4 | Self::Socks5)
    }

    /// The port if the URL has none, as in curl.
    const fn default_port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http | Self::Socks4 | Self::Socks4a | Self::Socks5 | Self::Socks5h => 1080,
        }
    }
}

impl Proxy {
    /// The protocol.
    #[must_use]
    pub const fn scheme(&self) -> ProxyScheme {
        self.scheme
    }

    /// The host name or address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// User name and password, percent-decoded, if the proxy has any.
    #[must_use]
    pub fn credentials(&self) -> Option<(&str, &Secret)> {
        self.credentials.as_ref().map(|(user, password)| (user.as_str(), password))
    }

    /// Sends the credentials of an HTTP proxy as Digest authentication, when it requests them. Default: Basic.
    #[must_use]
    pub const fn with_digest(mut self) -> Self {
        self.uses_digest = true;
        self
    }

    /// Whether the credentials are sent as Digest authentication.
    #[must_use]
    pub const fn uses_digest(&self) -> bool {
        self.uses_digest
    }

    /// The whole URL with credentials, percent-encoded so that curl can parse it.
    ///
    /// ```
    /// let proxy: rungs::Proxy = "http://jane;x:p%40ss@gate.example:7000".parse()?;
    /// assert_eq!(proxy.url().expose(), "http://jane%3Bx:p%40ss@gate.example:7000");
    /// # Ok::<(), rungs::Error>(())
    /// ```
    #[must_use]
    pub fn url(&self) -> Secret {
        let encode = |text: &str| utf8_percent_encode(text, &CREDENTIALS_ENCODE_SET).to_string();
        let credentials = self
            .credentials()
            .map(|(user, password)| format!("{}:{}@", encode(user), encode(password.expose())));
        Secret::new(self.to_url_string(&credentials.unwrap_or_default()))
    }

    fn to_url_string(&self, credentials: &str) -> String {
        let scheme = self.scheme.name();
        if self.host.contains(':') {
            format!("{scheme}://{credentials}[{}]:{}", self.host, self.port)
        } else {
            format!("{scheme}://{credentials}{}:{}", self.host, self.port)
        }
    }

    /// Sets the credentials unless the proxy has some. The credentials of the URL take precedence, as in curl.
    #[must_use]
    pub fn or_credentials(mut self, user: impl Into<String>, password: Secret) -> Self {
        self.credentials.get_or_insert_with(|| (user.into(), password));
        self
    }
}

impl FromStr for Proxy {
    type Err = Error;

    /// Parses `[scheme://][user[:password]@]host[:port]` as curl does. The scheme is http, https, socks4, socks4a, socks5
    /// or socks5h. Default: http. Default port: 443 for https, else 1080.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the text has another form.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = |problem: &str| {
            Error::new(ErrorKind::Config, format!("the proxy URL {problem}")).with_hint(
                "write it as http://user:password@host:port, or with https, socks4, socks4a, socks5 or socks5h in place of http",
            )
        };
        let (name, rest) = text.split_once("://").unwrap_or(("http", text));
        let scheme = match name.to_ascii_lowercase().as_str() {
            "http" => ProxyScheme::Http,
            "https" => ProxyScheme::Https,
            "socks4" => ProxyScheme::Socks4,
            "socks4a" => ProxyScheme::Socks4a,
            "socks5" => ProxyScheme::Socks5,
            "socks5h" => ProxyScheme::Socks5h,
            other => {
                // Other text before `://` may be a password.
                let plain = other.len() <= 20 && other.bytes().all(|byte| byte.is_ascii_alphanumeric());
                let shown = if plain { format!(" `{other}`") } else { String::new() };
                return Err(invalid(&format!("has a scheme{shown} that is not supported")));
            }
        };
        // Parsed as an http URL: `Url` checks less for other schemes.
        let url = Url::parse(&format!("http://{rest}"))
            .map_err(|cause| invalid("is malformed").with_source(cause))?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("has a path after the port"));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| invalid("has no host"))?;
        let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let credentials = (!url.username().is_empty() || url.password().is_some())
            .then(|| (decode(url.username()), Secret::new(decode(url.password().unwrap_or_default()))));
        let port = if has_explicit_port(rest) { url.port().unwrap_or(80) } else { scheme.default_port() };
        Ok(Self {
            scheme,
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            credentials,
            uses_digest: false,
        })
    }
}

/// Whether the authority has a port. `Url` drops `:80` of an http URL, so this looks at the text.
fn has_explicit_port(rest: &str) -> bool {
    let authority = rest.trim_end_matches('/');
    let host = authority.rsplit('@').next().unwrap_or(authority);
    host.rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_url_string(if self.credentials.is_some() { "***@" } else { "" }))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// The characters that are percent-encoded in the credentials of a URL: all that a parser could misread.
const CREDENTIALS_ENCODE_SET: AsciiSet =
    NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'*');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_and_ports_are_parsed_as_by_curl() {
        for (text, scheme, host, port) in [
            ("gate.example", "http", "gate.example", 1080),
            ("http://gate.example:80", "http", "gate.example", 80),
            ("HTTP://u:p@[::1]:3128/", "http", "::1", 3128),
            ("https://gate.example", "https", "gate.example", 443),
            ("https://gate.example:80", "https", "gate.example", 80),
            ("socks5://gate.example", "socks5", "gate.example", 1080),
            ("socks4://gate.example", "socks4", "gate.example", 1080),
            ("SOCKS4A://u@gate.example:9", "socks4a", "gate.example", 9),
            ("socks5h://u@gate.example:9050", "socks5h", "gate.example", 9050),
            ("u:p@gate.example:1", "http", "gate.example", 1),
        ] {
            let proxy: Proxy = text.parse().unwrap();
            assert_eq!((proxy.scheme().name(), proxy.host(), proxy.port()), (scheme, host, port), "{text}");
        }
    }

    #[test]
    fn credentials_are_decoded_and_never_printed() {
        let proxy: Proxy = "http://user-jane:p%40ss@gate.example:7000".parse().unwrap();
        let (user, password) = proxy.credentials().unwrap();
        assert_eq!((user, password.expose()), ("user-jane", "p@ss"));
        assert!(!format!("{proxy:?} {proxy}").contains("p@ss"));
    }

    #[test]
    fn the_url_of_a_proxy_parses_to_the_same_proxy() {
        for text in [
            "http://gate.example:80",
            "https://u:p@[::1]:443",
            "socks5h://a%3Ab%40c%2F%25%20%2B%3B:%3A%40%2F%3F%23%C3%BC@gate.example:9",
            "http://u:@gate.example:7000",
        ] {
            let proxy: Proxy = text.parse().unwrap();
            assert_eq!(proxy.url().expose().parse::<Proxy>().unwrap(), proxy, "{text}");
            assert_eq!(proxy.url().expose(), text);
        }
    }

    #[test]
    fn a_wrong_proxy_url_is_a_config_error_without_the_password() {
        for text in [
            "ftp://u:hunter2@gate.example:1",
            "socks6://u:hunter2@gate.example:1",
            "http://u:hunter2@:1",
            "http://u:hunter2@gate.example/x",
            "socks5://u:hunter2@gate.example:99999",
            "u:hunter2://gate.example",
        ] {
            let error = text.parse::<Proxy>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{text}");
            assert!(!error.chain().contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn credentials_of_the_url_take_precedence() {
        let with = |text: &str| {
            let proxy = text.parse::<Proxy>().unwrap().or_credentials("jane", Secret::new("s3cret"));
            let (user, password) = proxy.credentials().unwrap();
            (user.to_owned(), password.expose().to_owned())
        };
        assert_eq!(with("http://gate.example"), ("jane".to_owned(), "s3cret".to_owned()));
        assert_eq!(with("http://joe:x@gate.example"), ("joe".to_owned(), "x".to_owned()));
    }
}
