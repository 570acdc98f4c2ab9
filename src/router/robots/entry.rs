//! Interprets the response to a robots.txt request, and how long it is valid (RFC 9309, section 2.3). Pure.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use url::Url;

use super::Rules;
use crate::exchange::error::Error;
use crate::exchange::error_kind::ErrorKind;

/// The robots.txt of one origin.
#[derive(Clone, Debug)]
pub(crate) enum RobotsEntry {
    /// Its rules. A missing file allows everything.
    Rules(Rules),
    /// It could not be fetched, so the whole site is treated as disallowed until it can. Contains the reason.
    Unreachable(String),
}

impl RobotsEntry {
    /// Interprets a response with this status and body.
    pub(super) fn from_response(status: StatusCode, body: &[u8]) -> Self {
        match status.as_u16() {
            200..300 => Self::Rules(Rules::parse(body)),
            // 429 says nothing about the file itself.
            429 | 500.. => Self::Unreachable(format!("the server answered with status {}", status.as_u16())),
            _ => Self::Rules(Rules::allow_all()),
        }
    }

    /// Interprets a request without a response. `Err` when the failure is not the site's.
    pub(super) fn from_error(error: Error) -> Result<Self, Error> {
        match error.kind() {
            // Too many redirects, a redirect loop or a forbidden target: treated as a missing file.
            ErrorKind::Redirect => Ok(Self::Rules(Rules::allow_all())),
            ErrorKind::Dns
            | ErrorKind::Connect
            | ErrorKind::Tls
            | ErrorKind::Timeout
            | ErrorKind::Protocol
            | ErrorKind::Decode => Ok(Self::Unreachable(error.chain())),
            _ => Err(error),
        }
    }

    /// Checks whether `url` may be fetched. `file` is the URL of the robots.txt.
    ///
    /// # Errors
    /// [`ErrorKind::Robots`] naming the rule and the file.
    pub(crate) fn check(&self, url: &Url, file: &Url) -> Result<(), Error> {
        let message = match self {
            Self::Rules(rules) => match rules.find_disallow(url) {
                None => return Ok(()),
                Some(rule) => format!("robots.txt disallows the URL: {rule} in {file}"),
            },
            Self::Unreachable(reason) => {
                format!(
                    "could not fetch robots.txt, so the whole site is treated as disallowed: {file}: {reason}"
                )
            }
        };
        let error = Error::new(ErrorKind::Robots, message)
            .with_hint("skip the check with `--robots ignore`; the trace shows it");
        Err(match self {
            Self::Rules(_) => error,
            // The source tells the caller that the failure may be temporary.
            Self::Unreachable(reason) => error.with_source(Error::new(ErrorKind::Connect, reason.as_str())),
        })
    }

    /// The `Crawl-delay` of the file, or zero.
    pub(crate) fn crawl_delay(&self) -> Duration {
        match self {
            Self::Rules(rules) => rules.crawl_delay().unwrap_or_default(),
            Self::Unreachable(_) => Duration::ZERO,
        }
    }
}

/// How long a response with these headers is valid.
pub(super) fn lifetime(headers: &HeaderMap) -> Duration {
    let lines = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    for directive in lines.flat_map(|line| line.split(',')).map(str::trim) {
        if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache") {
            return MIN_LIFETIME;
        }
        if let Some((name, age)) = directive.split_once('=')
            && name.trim().eq_ignore_ascii_case("max-age")
            && let Ok(seconds) = age.trim().trim_matches('"').parse()
        {
            return Duration::from_secs(seconds).clamp(MIN_LIFETIME, MAX_LIFETIME);
        }
    }
    DEFAULT_LIFETIME
}

/// The lifetime of a file that states none.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);
/// The minimum lifetime, whatever the file states.
pub(super) const MIN_LIFETIME: Duration = Duration::from_secs(60);
/// The maximum lifetime, whatever the file states (RFC 9309, section 2.4).
pub(super) const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_decides_between_rules_allow_all_and_disallow_all() {
        let url: Url = "https://a.example/x".parse().unwrap();
        let file: Url = "https://a.example/robots.txt".parse().unwrap();
        let forbidding = b"User-agent: *\nDisallow: /x";
        for (status, allowed) in [
            (200, false),
            (206, false),
            (304, true),
            (401, true),
            (403, true),
            (404, true),
            (410, true),
            (429, false),
            (500, false),
            (503, false),
            (599, false),
        ] {
            let entry = RobotsEntry::from_response(StatusCode::from_u16(status).unwrap(), forbidding);
            let result = entry.check(&url, &file);
            assert_eq!(result.is_ok(), allowed, "{status}");
            if let Err(error) = result {
                assert_eq!(error.kind(), ErrorKind::Robots);
                let message = error.to_string();
                let expected_text = if status < 300 {
                    "`Disallow: /x` (User-agent: *)".to_owned()
                } else {
                    status.to_string()
                };
                assert!(
                    message.contains(&expected_text) && message.contains("https://a.example/robots.txt"),
                    "{message}"
                );
                assert!(error.hint().is_some_and(|hint| hint.contains("--robots ignore")));
            }
        }
    }

    #[test]
    fn an_unreachable_site_disallows_everything_and_a_proxy_failure_is_an_error() {
        for (kind, expected) in [
            (ErrorKind::Connect, Some(false)),
            (ErrorKind::Timeout, Some(false)),
            (ErrorKind::Protocol, Some(false)),
            (ErrorKind::Redirect, Some(true)),
            (ErrorKind::Proxy, None),
            (ErrorKind::Blocked, None),
        ] {
            let allowed = match RobotsEntry::from_error(Error::new(kind, "broken")) {
                Ok(RobotsEntry::Rules(_)) => Some(true),
                Ok(RobotsEntry::Unreachable(_)) => Some(false),
                Err(error) => {
                    assert_eq!(error.kind(), kind);
                    None
                }
            };
            assert_eq!(allowed, expected, "{kind}");
        }
    }

    #[test]
    fn the_lifetime_is_one_hour_or_the_stated_one_within_limits() {
        for (value, seconds) in [
            (None, 3600),
            (Some("max-age=7200"), 7200),
            (Some("public, Max-Age = \"600\""), 600),
            (Some("max-age=1"), 60),
            (Some("max-age=31536000"), 24 * 3600),
            (Some("max-age=soon"), 3600),
            (Some("no-cache, max-age=7200"), 60),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::CACHE_CONTROL, value.parse().unwrap());
            }
            assert_eq!(lifetime(&headers).as_secs(), seconds, "{value:?}");
        }
    }
}
