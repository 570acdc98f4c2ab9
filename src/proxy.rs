//! A proxy's address and credentials.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::error::{Error, Result};
use crate::kind::ErrorKind;
use crate::redact::Secret;

/// A proxy to go through. `Display` and `Debug` never show its credentials.
///
/// ```
/// let proxy: rungs::Proxy = "http://user:pass@gate.example:7000".parse()?;
/// assert_eq!(proxy.to_string(), "http://***@gate.example:7000");
/// # Ok::<(), rungs::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    host: String,
    port: u16,
    credentials: Option<(String, Secret)>,
}

impl Proxy {
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

    /// User and password, percent-decoded, when there are any.
    #[must_use]
    pub fn credentials(&self) -> Option<(&str, &Secret)> {
        self.credentials.as_ref().map(|(user, password)| (user.as_str(), password))
    }
}

impl FromStr for Proxy {
    type Err = Error;

    /// Reads `http://[user[:password]@]host[:port]`; the scheme may be left out, as in curl, and the
    /// port is then 1080, as in curl.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |what: &str| {
            Error::new(ErrorKind::Config, format!("the proxy URL {what}"))
                .with_hint("write it as http://user:password@host:port")
        };
        let spelled = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&spelled).map_err(|cause| wrong("is malformed").with_source(cause))?;
        if url.scheme() != "http" {
            return Err(wrong(&format!("has the scheme `{}`, which is not supported", url.scheme())));
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("has a path behind the port"));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("names no host"))?;
        let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let credentials = (!url.username().is_empty() || url.password().is_some())
            .then(|| (decode(url.username()), Secret::new(decode(url.password().unwrap_or_default()))));
        let port = if spelled_port(&spelled) { url.port_or_known_default().unwrap_or(80) } else { 1080 };
        Ok(Self { host: host.trim_matches(['[', ']']).to_owned(), port, credentials })
    }
}

/// Whether the authority names a port: `Url` drops `:80` of an http URL, so ask the text.
fn spelled_port(text: &str) -> bool {
    let authority = text.split("://").nth(1).unwrap_or(text).trim_end_matches('/');
    let host = authority.rsplit('@').next().unwrap_or(authority);
    host.rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mask = if self.credentials.is_some() { "***@" } else { "" };
        if self.host.contains(':') {
            write!(f, "http://{mask}[{}]:{}", self.host, self.port)
        } else {
            write!(f, "http://{mask}{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_curl_reads_them() {
        for (text, host, port) in [
            ("gate.example", "gate.example", 1080),
            ("http://gate.example:80", "gate.example", 80),
            ("http://u:p@[::1]:3128/", "::1", 3128),
        ] {
            let proxy: Proxy = text.parse().unwrap();
            assert_eq!((proxy.host(), proxy.port()), (host, port), "{text}");
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
    fn a_wrong_proxy_url_is_a_config_error_without_the_password() {
        for text in
            ["ftp://u:hunter2@gate.example:1", "http://u:hunter2@:1", "http://u:hunter2@gate.example/x"]
        {
            let error = text.parse::<Proxy>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{text}");
            assert!(!error.chain().contains("hunter2"), "{text}");
        }
    }
}
